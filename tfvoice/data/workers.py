"""Worker processes of commands that write shards."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool

from tfvoice.errors import TfvoiceError


class WorkerError(TfvoiceError):
    """A worker process that died."""


class Workers:
    """A process pool that yields results in order and never holds more than a few of them.

    Args:
      count: processes; with one, everything happens in this process.
    """

    def __init__(self, count: int):
        self._window = 4 * count
        self._pool = None
        if count > 1:
            # Forking a process with threads, such as TensorFlow's, can deadlock.
            context = multiprocessing.get_context("spawn")
            self._pool = futures.ProcessPoolExecutor(count, context, initializer=end_with_parent)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def ordered(self, function: Callable, arguments: Iterable[tuple]) -> Iterator:
        """Yields `function(*each)` for each of `arguments`, in their order."""
        if self._pool is None:
            yield from (function(*each) for each in arguments)
            return
        pending: deque[futures.Future] = deque()
        try:
            for each in arguments:
                pending.append(self._pool.submit(function, *each))
                if len(pending) >= self._window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise WorkerError(
                "a worker process died, perhaps out of memory. Finished shards are kept: run the same command "
                "again, with fewer --workers."
            ) from None


def end_with_parent() -> None:
    """Makes a worker ignore Ctrl-C, which its parent handles, and exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

"""Worker processes of commands that write shards."""

import itertools
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tfvoice.errors import TfvoiceError

_POLL_SECONDS = 0.1

Item = TypeVar("Item")


class WorkerError(TfvoiceError):
    """A worker process that died."""


class Stopped(Exception):
    """The command is ending, and its background tasks with it."""


class Workers:
    """A process pool for many small tasks, whose results are needed in order, and for a few long ones.

    Args:
      count: processes; with one, everything happens in this process.
      on_report: takes what long tasks `report`, added up, some times a second.
    """

    def __init__(self, count: int, on_report: Callable[[float], object] = lambda amount: None):
        self._window = 4 * count
        self._on_report = on_report
        self._reported = 0.0
        self._background = 0
        self._finished: queue.SimpleQueue[futures.Future] = queue.SimpleQueue()
        self._pool = None
        if count > 1:
            # Forking a process with threads, such as TensorFlow's, can deadlock.
            context = multiprocessing.get_context("spawn")
            self._stop, self._total = context.Event(), context.Value("d")
            shared = (self._stop, self._total)
            self._pool = futures.ProcessPoolExecutor(count, context, initializer=_start, initargs=shared)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        if self._pool:
            if kind:
                self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable, *arguments) -> None:
        """Starts a long task that returns nothing; what it raises, `ordered` and `join` raise."""
        if self._pool is None:
            function(*arguments)
            return
        self._background += 1
        self._submit(function, arguments).add_done_callback(self._finished.put)

    def join(self) -> None:
        """Waits for all tasks of `submit`."""
        while self._background:
            self._poll(_POLL_SECONDS)

    def ordered(self, function: Callable, arguments: Iterable[tuple]) -> Iterator:
        """Yields `function(*each)` for each of `arguments`, in their order; never holds more than a few results."""
        if self._pool is None:
            yield from (function(*each) for each in arguments)
            return
        pending: deque[futures.Future] = deque()
        for each in arguments:
            pending.append(self._submit(function, each))
            if len(pending) >= self._window:
                yield self._result(pending.popleft())
        while pending:
            yield self._result(pending.popleft())

    def _submit(self, function: Callable, arguments: tuple) -> futures.Future:
        try:
            return self._pool.submit(function, *arguments)
        except BrokenProcessPool:
            raise _died() from None

    def _result(self, future: futures.Future):
        while not future.done():
            futures.wait([future], _POLL_SECONDS)
            self._poll()
        return _result(future)

    def _poll(self, seconds: float = 0) -> None:
        """Waits for a background task to end, raises what it has raised, and passes on what tasks have reported."""
        try:
            while True:
                future = self._finished.get(bool(seconds), seconds)
                self._background -= 1
                _result(future)
                seconds = 0
        except queue.Empty:
            pass
        total = self._total.value
        if total > self._reported:
            self._on_report(total - self._reported)
            self._reported = total


def _result(future: futures.Future):
    try:
        return future.result()
    except BrokenProcessPool:
        raise _died() from None


def report(amount: float) -> None:
    """Adds to what the tasks of this pool have done; a long task calls it some times a second.

    Raises:
      Stopped: the task should end.
    """
    if _stop.is_set():
        raise Stopped
    with _total.get_lock():
        _total.value += amount


def end_with_parent() -> None:
    """Makes a worker ignore Ctrl-C, which its parent handles, and exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start(stop, total) -> None:
    global _stop, _total
    _stop, _total = stop, total
    end_with_parent()


def _died() -> WorkerError:
    return WorkerError(
        "a worker process died, perhaps out of memory. Finished shards are kept: run the same command again, with "
        "fewer --workers."
    )


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields lists of `size` items; the last one may be shorter."""
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk

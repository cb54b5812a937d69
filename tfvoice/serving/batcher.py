"""Dynamic batching: requests that arrive while a batch is computed form the next batch.

There is no timer: an idle server computes a request at once, and the busier it is, the fuller the batches are.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple


class QueueFull(Exception):
    """The queue has no room for this many more items."""


class _Item(NamedTuple):
    value: Any
    bucket: Hashable
    result: asyncio.Future


class Batcher:
    """Collects items into batches and calls a function on them in worker threads.

    Args:
      function: takes a list of values, returns as many results.
      batch_size: the most items of a batch.
      max_waiting: the most items that wait, beyond those of the batches that are being computed.
      workers: how many batches are computed concurrently.

    Attributes:
      capacity: the most items that can be reserved at a time.
    """

    def __init__(self, function: Callable[[list], list], batch_size: int, max_waiting: int, workers: int = 1):
        self._function, self._batch_size, self._workers = function, batch_size, workers
        self.capacity, self._reserved = max_waiting + batch_size * workers, 0
        self._queue: deque[_Item] = deque()
        self._executor = ThreadPoolExecutor(workers, "batches")
        self._tasks: set[asyncio.Task] = set()

    @property
    def waiting(self) -> int:
        """The number of items that wait for a batch."""
        return len(self._queue)

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Reserves room for `count` items, all of them or none, from before they are decoded until they are answered.

        Raises:
          QueueFull: there is not enough room.
        """
        if self._reserved + count > self.capacity:
            raise QueueFull
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count

    async def submit(self, items: list[tuple[Any, Hashable]]) -> list:
        """Returns the results of items for which room is reserved.

        Cancelling the caller removes those of its items that still wait.

        Args:
          items: pairs of a value and its bucket; all items of a batch have the same bucket.
        """
        loop = asyncio.get_running_loop()
        submitted = [_Item(value, bucket, loop.create_future()) for value, bucket in items]
        self._queue.extend(submitted)
        # Surplus workers exit immediately.
        for _ in range(min(self._workers - len(self._tasks), len(submitted))):
            self._tasks.add(asyncio.create_task(self._work()))
        return await asyncio.gather(*(item.result for item in submitted))

    async def _work(self) -> None:
        try:
            await self._compute_batches()
        finally:
            # In the same iteration of the event loop that saw the empty queue, so that an item submitted in the next
            # one starts a new worker.
            self._tasks.discard(asyncio.current_task())

    async def _compute_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                results = await loop.run_in_executor(self._executor, self._function, [item.value for item in batch])
                if len(results) != len(batch):
                    raise ValueError(f"{len(results)} results for {len(batch)} items")
            except Exception as error:
                for item in batch:
                    if not item.result.done():
                        item.result.set_exception(error)
                continue
            for item, result in zip(batch, results, strict=True):
                # A client that disconnected has cancelled its item.
                if not item.result.done():
                    item.result.set_result(result)

    def _next_batch(self) -> list[_Item]:
        """The oldest item and, in order, others of its bucket; cancelled items are dropped."""
        waiting = [item for item in self._queue if not item.result.done()]
        batch = [item for item in waiting if item.bucket == waiting[0].bucket][: self._batch_size]
        taken = set(map(id, batch))
        self._queue = deque(item for item in waiting if id(item) not in taken)
        return batch

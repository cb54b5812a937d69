"""Requests that come one by one, answered in batches: who waits while a batch is computed goes into the next one.

There is no timer: an idle server answers at once, and the busier it is, the fuller the batches are.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple


class Full(Exception):
    """There is no room for so many items more."""


class _Waiting(NamedTuple):
    item: Any
    size: int
    answer: asyncio.Future


class Batcher:
    """Calls a function on batches, in threads of its own.

    Args:
      function: takes a list of items, returns as many results.
      rows: of a batch, at most.
      waiting: items that may be there, at most, beyond those of the batches that are computed.
      at_once: batches that are computed at the same time, at most.

    Attributes:
      most: items that may be there.
    """

    def __init__(self, function: Callable[[list], list], rows: int, waiting: int, at_once: int = 1):
        self._function, self._rows, self._at_once = function, rows, at_once
        self.most, self._inside = waiting + rows * at_once, 0
        self._queue: deque[_Waiting] = deque()
        self._executor = ThreadPoolExecutor(at_once, "batches")
        self._tasks: set[asyncio.Task] = set()

    @property
    def waiting(self) -> int:
        """How many items wait for a batch."""
        return len(self._queue)

    @contextlib.contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Keeps room for so many items, all of them or none, from before they are made until they are answered.

        Raises:
          Full: there is none.
        """
        if self._inside + count > self.most:
            raise Full
        self._inside += count
        try:
            yield
        finally:
            self._inside -= count

    async def submit(self, items: list[tuple[Any, int]]) -> list:
        """The results of items that have `room`; each comes with its size, and those of a batch have the same.

        Where the caller is cancelled, those that still wait are forgotten.
        """
        loop = asyncio.get_running_loop()
        mine = [_Waiting(item, size, loop.create_future()) for item, size in items]
        self._queue.extend(mine)
        # Who finds nothing left is done at once.
        for _ in range(min(self._at_once - len(self._tasks), len(mine))):
            self._tasks.add(asyncio.create_task(self._work()))
        return await asyncio.gather(*(one.answer for one in mine))

    async def _work(self) -> None:
        try:
            await self._until_nobody_waits()
        finally:
            # In the same turn in which nobody waited: who comes in the next one needs another worker.
            self._tasks.discard(asyncio.current_task())

    async def _until_nobody_waits(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next():
            try:
                results = await loop.run_in_executor(self._executor, self._function, [one.item for one in batch])
                if len(results) != len(batch):
                    raise ValueError(f"{len(results)} results for {len(batch)} items")
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            for one, result in zip(batch, results, strict=True):
                # A client that has gone has cancelled its answer.
                if not one.answer.done():
                    one.answer.set_result(result)

    def _next(self) -> list[_Waiting]:
        """The oldest item, and in order others of its size."""
        waiting = [one for one in self._queue if not one.answer.done()]
        batch = [one for one in waiting if one.size == waiting[0].size][: self._rows]
        taken = set(map(id, batch))
        self._queue = deque(one for one in waiting if id(one) not in taken)
        return batch

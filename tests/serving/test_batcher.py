"""Batches: everybody gets their own answer, nobody waits for company, and the queue has an end."""

import asyncio
import threading
import time

import pytest

from tfvoice.serving.batcher import Batcher, Full


def test_everybody_gets_their_own_answer_in_full_batches():
    sizes = []
    batcher = Batcher(lambda items: sizes.append(len(items)) or time.sleep(0.01) or [2 * x for x in items], 4, 100)

    async def ask():
        return [found for (found,) in await asyncio.gather(*(batcher.submit([(item, 1)]) for item in range(17)))]

    assert asyncio.run(ask()) == [2 * item for item in range(17)]
    assert sum(sizes) == 17 and max(sizes) == 4 and len(sizes) <= 6


def test_a_batch_has_one_size_that_of_its_oldest():
    batches = []
    batcher = Batcher(lambda items: batches.append(items) or items, 8, 100)
    sizes = [2, 8, 1, 2, 8]
    assert asyncio.run(batcher.submit([(size, size) for size in sizes])) == sizes
    assert batches == [[2, 2], [8, 8], [1]]


def test_batches_are_computed_at_the_same_time():
    both = threading.Barrier(2)
    batcher = Batcher(lambda items: both.wait(10) is not None and items, 2, 100, at_once=2)

    async def ask():
        return await asyncio.gather(*(batcher.submit([(item, 1), (item, 1)]) for item in range(6)))

    assert asyncio.run(ask()) == [[item, item] for item in range(6)]


def test_one_request_fills_several_batches_at_the_same_time():
    both = threading.Barrier(2)
    batcher = Batcher(lambda items: both.wait(10) is not None and items, 2, 100, at_once=2)
    assert asyncio.run(batcher.submit([(item, item // 2) for item in range(8)])) == list(range(8))


def test_results_that_are_too_few_are_an_error_and_others_go_on():
    batcher = Batcher(lambda items: items[: 2 - items[0]], 2, 10)
    with pytest.raises(ValueError, match="1 results for 2 items"):
        asyncio.run(batcher.submit([(1, 1), (1, 1)]))
    assert asyncio.run(batcher.submit([(0, 1), (0, 1)])) == [0, 0]


def test_there_is_room_for_so_many_until_they_are_answered():
    # Two that wait, and one that is computed.
    batcher = Batcher(lambda items: items, 1, 2)
    with batcher.room(1), batcher.room(1):
        # All of them or none.
        with pytest.raises(Full), batcher.room(2):
            pass
        with batcher.room(1), pytest.raises(Full), batcher.room(1):
            pass
    with pytest.raises(ValueError), batcher.room(3):
        raise ValueError
    with batcher.room(3):
        assert asyncio.run(batcher.submit([(item, 1) for item in range(3)])) == [0, 1, 2]


def test_who_comes_as_the_last_worker_ends_is_answered(monkeypatch):
    batcher, late = Batcher(lambda items: items, 1, 10), []
    following = batcher._next

    def spied():
        found = following()
        if not found and not late:
            # It begins in the next turn of the loop, before anything that the end of the worker sets off.
            late.append(asyncio.ensure_future(batcher.submit([(2, 1)])))
        return found

    monkeypatch.setattr(batcher, "_next", spied)

    async def ask():
        await batcher.submit([(1, 1)])
        while not late:
            await asyncio.sleep(0)
        return await asyncio.wait_for(late[0], 5)

    assert asyncio.run(ask()) == [2]


def test_an_error_reaches_those_of_its_batch_alone():
    def function(items):
        if 1 in items:
            raise ValueError("one")
        return items

    batcher = Batcher(function, 1, 10)

    async def ask():
        return await asyncio.gather(*(batcher.submit([(item, 1)]) for item in range(3)), return_exceptions=True)

    first, error, last = asyncio.run(ask())
    assert (first, str(error), last) == ([0], "one", [2])


def test_who_has_gone_is_not_computed():
    go, seen = threading.Event(), []
    batcher = Batcher(lambda items: (go.wait() and seen.extend(items)) or items, 1, 10)

    async def ask():
        tasks = [asyncio.create_task(batcher.submit([(item, 1)])) for item in range(3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ask())
    assert found[0] == [0] and isinstance(found[1], asyncio.CancelledError) and found[2] == [2]
    assert seen == [0, 2]

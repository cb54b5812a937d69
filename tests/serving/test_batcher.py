"""Dynamic batching: each item gets its own result, no item waits for a timer, and the queue is bounded."""

import asyncio
import threading
import time

import pytest

from tfvoice.serving.batcher import Batcher, QueueFull


def test_each_item_gets_its_own_result_in_full_batches():
    sizes = []
    batcher = Batcher(lambda items: sizes.append(len(items)) or time.sleep(0.01) or [2 * x for x in items], 4, 100)

    async def submit_all():
        return [result for (result,) in await asyncio.gather(*(batcher.submit([(item, 1)]) for item in range(17)))]

    assert asyncio.run(submit_all()) == [2 * item for item in range(17)]
    assert sum(sizes) == 17 and max(sizes) == 4 and len(sizes) <= 6


def test_a_batch_has_one_bucket_that_of_its_oldest_item():
    batches = []
    batcher = Batcher(lambda items: batches.append(items) or items, 8, 100)
    buckets = [2, 8, 1, 2, 8]
    assert asyncio.run(batcher.submit([(bucket, bucket) for bucket in buckets])) == buckets
    assert batches == [[2, 2], [8, 8], [1]]


def test_workers_compute_batches_concurrently():
    both = threading.Barrier(2)
    batcher = Batcher(lambda items: both.wait(10) is not None and items, 2, 100, workers=2)

    async def submit_all():
        return await asyncio.gather(*(batcher.submit([(item, 1), (item, 1)]) for item in range(6)))

    assert asyncio.run(submit_all()) == [[item, item] for item in range(6)]


def test_the_batches_of_one_request_are_computed_concurrently():
    both = threading.Barrier(2)
    batcher = Batcher(lambda items: both.wait(10) is not None and items, 2, 100, workers=2)
    assert asyncio.run(batcher.submit([(item, item // 2) for item in range(8)])) == list(range(8))


def test_too_few_results_are_an_error_of_that_batch_alone():
    batcher = Batcher(lambda items: items[: 2 - items[0]], 2, 10)
    with pytest.raises(ValueError, match="1 results for 2 items"):
        asyncio.run(batcher.submit([(1, 1), (1, 1)]))
    assert asyncio.run(batcher.submit([(0, 1), (0, 1)])) == [0, 0]


def test_reservations_never_exceed_the_capacity():
    # Two that wait, and one that is computed.
    batcher = Batcher(lambda items: items, 1, 2)
    with batcher.reserve(1), batcher.reserve(1):
        # All of them or none.
        with pytest.raises(QueueFull), batcher.reserve(2):
            pass
        with batcher.reserve(1), pytest.raises(QueueFull), batcher.reserve(1):
            pass
    with pytest.raises(ValueError), batcher.reserve(3):
        raise ValueError
    with batcher.reserve(3):
        assert asyncio.run(batcher.submit([(item, 1) for item in range(3)])) == [0, 1, 2]


def test_an_item_submitted_as_the_last_worker_exits_is_computed(monkeypatch):
    batcher, late = Batcher(lambda items: items, 1, 10), []
    next_batch = batcher._next_batch

    def spy():
        batch = next_batch()
        if not batch and not late:
            # It starts in the next iteration of the loop, before anything that the end of the worker triggers.
            late.append(asyncio.ensure_future(batcher.submit([(2, 1)])))
        return batch

    monkeypatch.setattr(batcher, "_next_batch", spy)

    async def submit_both():
        await batcher.submit([(1, 1)])
        while not late:
            await asyncio.sleep(0)
        return await asyncio.wait_for(late[0], 5)

    assert asyncio.run(submit_both()) == [2]


def test_an_exception_reaches_only_the_items_of_its_batch():
    def function(items):
        if 1 in items:
            raise ValueError("one")
        return items

    batcher = Batcher(function, 1, 10)

    async def submit_all():
        return await asyncio.gather(*(batcher.submit([(item, 1)]) for item in range(3)), return_exceptions=True)

    first, error, last = asyncio.run(submit_all())
    assert (first, str(error), last) == ([0], "one", [2])


def test_cancelled_items_are_not_computed():
    go, computed = threading.Event(), []
    batcher = Batcher(lambda items: (go.wait() and computed.extend(items)) or items, 1, 10)

    async def submit_all():
        tasks = [asyncio.create_task(batcher.submit([(item, 1)])) for item in range(3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(submit_all())
    assert results[0] == [0] and isinstance(results[1], asyncio.CancelledError) and results[2] == [2]
    assert computed == [0, 2]

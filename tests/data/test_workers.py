import os

import pytest

from tfvoice.data.workers import WorkerError, Workers


def test_a_worker_that_dies_gets_a_sentence():
    with Workers(2) as pool, pytest.raises(WorkerError, match=r"a worker process died.*fewer --workers"):
        list(pool.ordered(os._exit, [(1,)]))


def test_results_keep_their_order_and_only_a_few_are_held():
    taken = []

    def arguments():
        for number in range(100):
            taken.append(number)
            yield (number, 2)

    with Workers(2) as pool:
        results = pool.ordered(pow, arguments())
        assert [next(results) for _ in range(10)] == [number**2 for number in range(10)]
        assert len(taken) < 20
        assert list(results) == [number**2 for number in range(10, 100)]

import os
import time

import pytest

from tfvoice.data import workers
from tfvoice.data.workers import WorkerError, Workers, report


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


def test_what_a_long_task_raises_ends_the_short_ones():
    with Workers(2) as pool, pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x")
        list(pool.ordered(time.sleep, [(0.05,)] * 1000))


def test_a_long_task_reports_and_is_waited_for():
    amounts = []
    with Workers(2, amounts.append) as pool:
        for number in range(3):
            pool.submit(report, number)
        assert list(pool.ordered(pow, [(2, 3)])) == [8]
        pool.join()
    assert sum(amounts) == 3


def report_without_end():
    while True:
        workers.report(1.0)
        time.sleep(0.01)


def test_long_tasks_end_with_the_command():
    with pytest.raises(KeyboardInterrupt), Workers(2) as pool:
        pool.submit(report_without_end)
        raise KeyboardInterrupt


def test_with_one_worker_everything_happens_in_this_process():
    called = []
    with Workers(1) as pool:
        pool.submit(called.append, 1)
        assert list(pool.ordered(called.append, [(2,)])) == [None] and called == [1, 2]
        pool.join()

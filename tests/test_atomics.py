"""Two threads wait for each other: what one wrote is seen by the other, and one that has ended holds none up."""

import threading

import numpy as np

from tfvoice import atomics
from tfvoice.compiled import compiled

PING, PONG, ENDED = range(3)


@compiled
def wait(counters, index, value):
    return atomics.wait_until(counters, index, value, ENDED)


@compiled
def publish(counters, index, value):
    atomics.publish(counters, index, value)


@compiled
def serve(counters, values, rounds):
    for number in range(rounds):
        if atomics.wait_until(counters, PING, number + 1, ENDED) < 0:
            return
        values[1] = values[0] + 1
        atomics.publish(counters, PONG, number + 1)


@compiled
def call(counters, values, rounds):
    for number in range(rounds):
        values[0] = values[1] + 1
        atomics.publish(counters, PING, number + 1)
        if atomics.wait_until(counters, PONG, number + 1, ENDED) < 0:
            return


def test_each_thread_sees_what_the_other_wrote_before_it_published():
    counters, values, rounds = atomics.counters(3), np.zeros(2, np.int64), 300
    # Compiled before there are threads.
    for function in (serve, call):
        function(counters, values, 0)
    server = threading.Thread(target=serve, args=(counters, values, rounds))
    server.start()
    call(counters, values, rounds)
    server.join()
    assert values.tolist() == [2 * rounds - 1, 2 * rounds]


def test_a_value_that_is_there_is_not_waited_for():
    counters = atomics.counters(3)
    publish(counters, PING, 5)
    assert wait(counters, PING, 5) == 0 and wait(counters, PING, 2) == 0


def test_the_end_of_the_other_thread_ends_a_wait_for_what_never_comes():
    counters = atomics.counters(3)
    publish(counters, PING, 5)
    publish(counters, ENDED, 1)
    assert wait(counters, PING, 6) == -1
    assert wait(counters, PING, 5) == 0

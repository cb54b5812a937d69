"""Handlers of signals."""

import signal

import pytest

from tfvoice.handlers import handler


def test_a_handler_is_there_inside_the_with_and_the_one_before_it_after_an_error_too():
    before, seen = signal.getsignal(signal.SIGUSR1), []
    with pytest.raises(ValueError), handler(signal.SIGUSR1, lambda number, _: seen.append(number)):
        signal.raise_signal(signal.SIGUSR1)
        raise ValueError
    assert seen == [signal.SIGUSR1] and signal.getsignal(signal.SIGUSR1) is before

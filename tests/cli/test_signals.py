"""Signals: the first request is noted, the second acts as usual, and handlers are restored."""

import signal

import pytest

from tfvoice.cli.signals import StopRequest
from tfvoice.handlers import handler


class Terminated(Exception):
    """Raised by the handler of SIGTERM that these tests install."""


@pytest.fixture(autouse=True)
def usual_handlers():
    """SIGINT raises KeyboardInterrupt and SIGTERM `Terminated`; checks that both are restored."""

    def terminate(*_):
        raise Terminated

    with handler(signal.SIGINT, signal.default_int_handler), handler(signal.SIGTERM, terminate):
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is terminate


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("second", "usual"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_signal_requests_a_stop_and_the_second_one_acts_as_usual(first, second, usual):
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(first)
        assert stop.requested
        with pytest.raises(usual):
            signal.raise_signal(second)


def test_signals_act_as_usual_after_the_context():
    with StopRequest() as stop:
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not stop.requested


def test_handlers_are_restored_after_an_exception():
    with pytest.raises(ValueError), StopRequest():
        raise ValueError

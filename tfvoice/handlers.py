"""Handlers of signals, which are those from before again afterwards."""

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handler(number: int, handle: Callable | int) -> Iterator[None]:
    """Context manager: `handle` is the handler of a signal."""
    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)

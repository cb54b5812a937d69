"""Small functions that XLA compiles into one pass, but for a graph that is to run where there is no XLA."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_plain = contextvars.ContextVar("plain", default=False)
_whole = contextvars.ContextVar("whole", default=False)


def compiled(function: Callable) -> Callable:
    """Decorates a function of tensors: compiled by XLA, except while `plain` holds."""
    by_xla = tf.function(function, jit_compile=True, reduce_retracing=True)

    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments) if _plain.get() else by_xla(*arguments)

    return call


def whole(function: Callable) -> Callable:
    """Decorates what XLA is to compile as a whole, so that no operation is in it that XLA does not know."""

    @functools.wraps(function)
    def call(*arguments):
        with _within(_whole):
            return function(*arguments)

    return call


def is_whole() -> bool:
    """Whether what is traced now is part of such a function."""
    return _whole.get()


def plain() -> contextlib.AbstractContextManager[None]:
    """Whatever is traced within holds TensorFlow's own operations alone."""
    return _within(_plain)


@contextlib.contextmanager
def _within(variable: contextvars.ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)

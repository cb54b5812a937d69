"""Small functions compiled by XLA, except in graphs that must run where XLA is missing."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_disabled = contextvars.ContextVar("disabled", default=False)
_in_jit_scope = contextvars.ContextVar("in_jit_scope", default=False)


def jit_compiled(function: Callable) -> Callable:
    """Decorates a function of tensors: XLA compiles it, except when it is traced within `disabled`."""
    by_xla = tf.function(function, jit_compile=True, reduce_retracing=True)

    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments) if _disabled.get() else by_xla(*arguments)

    return call


def jit_scope(function: Callable) -> Callable:
    """Decorates a function that XLA compiles as a whole: layers then use only operations that XLA supports."""

    @functools.wraps(function)
    def call(*arguments):
        with _set(_in_jit_scope):
            return function(*arguments)

    return call


def in_jit_scope() -> bool:
    """Whether a `jit_scope` function is being traced."""
    return _in_jit_scope.get()


def disabled() -> contextlib.AbstractContextManager[None]:
    """Within the `with`, `jit_compiled` functions are traced as plain TensorFlow operations, as for export."""
    return _set(_disabled)


@contextlib.contextmanager
def _set(variable: contextvars.ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)

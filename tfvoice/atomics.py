"""Counters by which two threads of functions that Numba compiles wait for each other, without the system's help.

A thread that waits spins, since what it waits for is microseconds away; after a while it yields, so that on a busy
machine the other thread comes to run.
"""

import platform

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tfvoice.compiled import compiled

# Values that different threads write are so far apart, in units of 8 bytes, that no two are in one line of the cache:
# prefetchers take lines of 64 bytes in pairs.
STRIDE = 16
# Tests of a counter before the thread yields, some 50 microseconds.
SPINS = 2000
_BYTES = 8
_IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
_HAS_YIELD = binding.address_of_symbol("sched_yield") is not None


@intrinsic
def load_acquire(_, array, index):
    """An element of an int64 array; what the other thread wrote before it is visible from then on."""

    def generate(context, builder, signature, arguments):
        place = _element(context, builder, signature, arguments)
        return builder.load_atomic(place, "acquire", _BYTES)

    return types.int64(array, index), generate


@intrinsic
def store_release(_, array, index, value):
    """Changes an element of an int64 array; what was written before is visible to threads that see the new value."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], _element(context, builder, signature, arguments), "release", _BYTES)
        return context.get_dummy_value()

    return types.void(array, index, types.int64), generate


@intrinsic
def relax(_, spins):
    """What a thread does between two tests of a counter: nothing, in a way that spares the core, or it yields."""

    def generate(context, builder, signature, arguments):
        if _IS_X86:
            pause = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, pause, "llvm.x86.sse2.pause"), [])
        if _HAS_YIELD:
            with builder.if_then(builder.icmp_signed(">", arguments[0], ir.IntType(64)(SPINS)), likely=False):
                function = ir.FunctionType(ir.IntType(32), [])
                builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _element(context, builder, signature, arguments):
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


def counters(count: int) -> np.ndarray:
    """Counters that are 0, at the multiples of `STRIDE` of the array."""
    return np.zeros(count * STRIDE, np.int64)


@compiled(forceinline=True)
def wait_until(counters, index, value, stop):
    """Waits until a counter has reached a value.

    Args:
      counters: from `counters`.
      index, stop: numbers of the counter, and of one that is not 0 once the other thread has ended.
      value: the value.

    Returns:
      How often it was tested; -1 where the counter will never reach it.
    """
    spins = 0
    while load_acquire(counters, index * STRIDE) < value:
        # It may have been reached just before the end.
        if load_acquire(counters, stop * STRIDE) and load_acquire(counters, index * STRIDE) < value:
            return -1
        spins += 1
        relax(spins)
    return spins


@compiled(forceinline=True)
def publish(counters, index, value):
    """Sets a counter; what this thread wrote before is visible to the one that waits for it."""
    store_release(counters, index * STRIDE, value)

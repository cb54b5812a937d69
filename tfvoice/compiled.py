"""Functions that Numba compiles, which librosa brings along."""

import functools
import sys
from collections.abc import Callable

import numba
import numpy as np
from numba.core import event


def compiled(function: Callable | None = None, /, **options) -> Callable:
    """Decorates a function that Numba compiles at its first call; the result is kept on disk where that is possible.

    `@compiled(fastmath={"contract"})` passes options to Numba.

    NumPy's version is a part of the name that it is kept under: NumPy 1 cannot load what was compiled with NumPy 2, and
    Numba does not look at that where environments share the files of the package.
    """
    if function is None:
        return functools.partial(compiled, **options)
    function.__qualname__ += f"_numpy_{'_'.join(np.__version__.split('.')[:2])}"
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:
        # Neither the package nor the user's cache folder can be written to, as in many containers.
        return numba.njit(nogil=True, **options)(function)


def announce() -> None:
    """Has the first compilation of this process say so on the standard error, because the user waits for it."""
    event.register("numba:compile", _Announcement())


class _Announcement(event.Listener):
    """A listener of Numba, which does not compile what it finds on the disk."""

    said = False

    def on_start(self, event) -> None:
        """A function is about to be compiled."""
        if not _Announcement.said:
            _Announcement.said = True
            print("Compiling for this machine, once; this takes some seconds.", file=sys.stderr, flush=True)

    def on_end(self, event) -> None:
        """It has been compiled."""

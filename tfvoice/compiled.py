"""Functions that Numba compiles, which librosa brings along."""

import atexit
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import llvmlite.binding
import numba
import numpy as np
from numba.core import event

from tfvoice import storage

_COMPLETE = "complete"


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


def load_librosa() -> ModuleType:
    """librosa, safe to be loaded by several processes at once: see `load`."""
    return load("librosa", "librosa.core.pitch", "librosa.feature.spectral")


def load(package: str, *modules: str) -> ModuleType:
    """Imports modules of a package that has Numba compile functions on import and keep them on disk.

    Two processes that compile the functions of `numba.guvectorize` at once mix up their files, and every later process
    that calls them crashes (github.com/numba/numba/issues/10128). So the files are kept apart from those of other
    programs, and the first process compiles alone while others wait for it.

    Returns:
      The package.
    """
    if not {package, *modules} <= sys.modules.keys():
        folder = _folder(package)
        complete = folder / _COMPLETE
        alone = contextlib.nullcontext() if complete.exists() else storage.locked_file(folder / "lock")
        with alone, _kept_in(folder):
            for module in modules:
                importlib.import_module(module)
            complete.touch()
    return importlib.import_module(package)


@contextlib.contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Has Numba keep in a folder what modules compile that are imported during the `with`."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _folder(package: str) -> Path:
    """Where the functions of a package are kept for this processor and these versions."""
    source = Path(importlib.util.find_spec(package).origin)
    machine = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    versions = platform.python_version(), numba.__version__, np.__version__, source.stat().st_mtime_ns
    digest = hashlib.sha256(repr((*machine, *versions, source)).encode()).hexdigest()[:16]
    for parent in _parents():
        folder = parent / f"{package}-{digest}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            # Numba wants to write, too.
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    folder = Path(tempfile.mkdtemp(prefix="tfvoice-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _parents() -> Iterator[Path]:
    """As Numba: the folder that the user names, beside the package, and that of the user's caches."""
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
    yield Path(__file__).parent / "__pycache__"
    with contextlib.suppress(RuntimeError):
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfvoice"


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

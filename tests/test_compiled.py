"""Functions that Numba compiles."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
from numba.core import caching, dispatcher

from tfvoice.compiled import compiled

ROOT = Path(__file__).parent.parent


def test_a_result_is_kept_for_one_version_of_numpy():
    """Two environments that share the package would otherwise load what they cannot read."""

    def double(x):
        return 2 * x

    function = compiled(double)
    assert function(21) == 42
    assert function.py_func.__qualname__.endswith("_numpy_" + "_".join(np.__version__.split(".")[:2]))


def test_functions_compile_where_no_folder_for_the_result_can_be_written_to(monkeypatch):
    def no_locator(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(caching, "FunctionCache", no_locator)
    monkeypatch.setattr(dispatcher, "FunctionCache", no_locator)

    def triple(x):
        return 3 * x

    assert compiled(triple)(14) == 42


def test_the_first_compilation_is_said_once_where_that_is_asked_for():
    code = textwrap.dedent("""
        import sys
        from tfvoice import compiled
        if sys.argv[1:]:
            compiled.announce()
        import numba
        for factor in (2, 3):
            assert numba.njit(lambda x: factor * x)(4) == 4 * factor
    """)

    def said(*arguments):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0
        return done.stderr

    assert said("yes") == "Compiling for this machine, once; this takes some seconds.\n" and said() == ""

"""Functions that Numba compiles."""

import numpy as np
from numba.core import caching, dispatcher

from tfvoice.compiled import compiled


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

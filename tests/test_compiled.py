"""Functions that Numba compiles."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching, dispatcher

from tfvoice import compiled as compiled_module
from tfvoice.compiled import compiled, load, load_librosa

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


@pytest.fixture
def vectors(tmp_path):
    """A package whose module compiles two functions on import, as librosa's do."""
    package = tmp_path / "packages" / "vectors"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    function = """
        @numba.guvectorize(["void(float32[:], float32[:])", "void(float64[:], float64[:])"], "(n)->(n)", cache=True)
        def {}(x, y):
            for i in range(len(x)):
                y[i] = {} * x[i]
    """
    functions = [textwrap.dedent(function).format(*each) for each in (("doubled", 2), ("tripled", 3))]
    (package / "products.py").write_text("import numba\n" + "".join(functions))
    return package


CALL = """
import sys, time, numpy as np
from tfvoice import compiled
time.sleep(float(sys.argv[1]))
vectors = compiled.load("vectors", "vectors.products")
assert vectors.products.tripled(np.ones(3)).tolist() == [3, 3, 3]
assert vectors.products.doubled(np.ones(3, np.float32)).tolist() == [2, 2, 2]
"""


def run(vectors, kept, delay=0.0):
    environment = {**os.environ, "PYTHONPATH": f"{vectors.parent}:{ROOT}", "NUMBA_CACHE_DIR": str(kept)}
    return subprocess.Popen([sys.executable, "-c", CALL, str(delay)], env=environment)


def test_processes_that_load_a_package_at_once_compile_it_one_after_the_other(vectors, tmp_path):
    """Without that, every other try ends in a segmentation fault: of these processes, or of all later ones."""
    for kept in (tmp_path / "first", tmp_path / "second"):
        together = [run(vectors, kept, delay) for delay in (0.0, 0.2, 0.4)]
        assert [process.wait() for process in together] == [0, 0, 0]
        (folder,) = kept.iterdir()
        files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
        # For each function and type the code and the call from NumPy, and their indexes.
        assert len(files) == 2 * (2 + 2 + 2)
        assert run(vectors, kept).wait() == 0
        assert files == {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
        # Nothing of it is where other programs keep theirs.
        assert not list(vectors.rglob("*.nb?"))


def test_a_package_loads_where_nothing_can_be_written(vectors, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiled_module, "_parents", lambda: iter([tmp_path / "file"]))
    monkeypatch.syspath_prepend(str(vectors.parent))
    before = numba.config.CACHE_DIR
    assert load("vectors", "vectors.products").products.doubled(np.ones(2)).tolist() == [2, 2]
    assert before == numba.config.CACHE_DIR


def test_librosa_has_what_is_used_of_it():
    assert callable(load_librosa().pyin)
    assert {"librosa.core.pitch", "librosa.feature.spectral"} <= sys.modules.keys()

"""Importing the package, installed or not, changes nothing in the process."""

import importlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import tfvoice

ROOT = Path(tfvoice.__file__).parents[1]

# Imports the first list of modules, and prints what changes while it imports the second one.
COMPARE = """
import importlib, json, logging, os, random, signal, sys, threading, warnings

others, modules = json.loads(sys.stdin.read())
for name in others:
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # a name that some package only puts into sys.modules

def state():
    numpy = sys.modules.get("numpy")
    return {
        "environment": dict(os.environ),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "random": random.getstate(),
        "numpy.random": repr(numpy and numpy.random.get_state()),
        "threads": threading.enumerate(),
        "warnings": list(warnings.filters),
    }

before = state()
for name in modules:
    importlib.import_module(name)
print(json.dumps([key for key, value in state().items() if value != before[key]]))
if "tensorflow" in sys.modules:
    # Refused once the devices are initialised.
    sys.modules["tensorflow"].config.threading.set_inter_op_parallelism_threads(1)
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}


def python(code, stdin="", path=ROOT):
    """Runs code in a process with a clean environment; returns what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=stdin, cwd=ROOT, env=ENVIRONMENT | {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def import_each(modules):
    """Imports modules here; returns those that can be imported."""
    imported = []
    for name in modules:
        try:
            importlib.import_module(name)
            imported.append(name)
        except ModuleNotFoundError as error:
            assert error.name.split(".")[0] != "tfvoice", error  # else an extra that is not installed
    return imported


def is_foreign(name, module):
    """Whether a module is neither ours nor one of our tests, which import ours."""
    file = getattr(module, "__file__", None) or ""
    return name.split(".")[0] != "tfvoice" and not file.startswith(str(ROOT / "tests"))


def test_importing_every_module_changes_nothing_in_the_process():
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "tfvoice").rglob("*.py"))]
    modules = [".".join(path.parts).removesuffix(".__init__") for path in paths if "cli" not in path.parts]
    imported = import_each(modules)
    others = [name for name, module in sorted(sys.modules.items()) if is_foreign(name, module)]
    assert {"tfvoice", "tfvoice.tasks", "tfvoice.training.trainer", "tfvoice.export.export"} <= set(imported)
    # What TensorFlow and others change when they are imported is not ours.
    assert python(COMPARE, stdin=json.dumps([others, imported])) == []


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("import os; os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')", "environment"),
        ("import logging; logging.basicConfig()", "logging"),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "signals"),
        ("import random; random.seed(1)", "random"),
        ("import numpy; numpy.random.seed(1)", "numpy.random"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "threads"),
        ("import warnings; warnings.simplefilter('ignore')", "warnings"),
    ],
)
def test_a_module_that_changes_the_process_is_found(tmp_path, code, changed):
    (tmp_path / "intrusive.py").write_text(code)
    others = ["numpy", "numpy.random"]
    assert python(COMPARE, stdin=json.dumps([others, ["intrusive"]]), path=tmp_path) == [changed]


def test_public_names_are_imported_when_they_are_used():
    assert python("import json, sys, tfvoice; print(json.dumps('tensorflow' in sys.modules))") is False
    for name in tfvoice.__all__:
        assert getattr(tfvoice, name) is not None
    assert set(dir(tfvoice)) == set(tfvoice.__all__)
    with pytest.raises(AttributeError, match=r"has no attribute 'Recogniser'; it has Alphabet, CORPORA, "):
        tfvoice.Recogniser  # noqa: B018


def test_the_version_is_that_of_the_installed_package(monkeypatch):
    assert tfvoice.__version__ == metadata.version("tfvoice")

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert tfvoice.__version__ == "(not installed)"

"""Laws of tfvoice_serve."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

import tfvoice
from tfvoice.cli import flags, serve
from tfvoice.serving import service

ROOT = Path(flags.__file__).parents[2]


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, serve.main, "tfvoice_serve")


def test_the_help_is_a_command_to_paste_and_needs_no_tensorflow():
    loaded = "import sys; from tfvoice.cli import serve; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch):
    found = []
    web = pytest.importorskip("tfvoice.serving.app", reason="needs the extra serve", exc_type=ImportError)
    monkeypatch.setattr(web, "serve", lambda *given: found.append(given))
    assert command("--model=m")[0] == 0
    given = ("--host=0.0.0.0", "--port=80", "--max_seconds=9", "--max_mib=2", "--max_waiting=3", "--batch_size=4")
    assert command("--model=m", *given)[0] == 0
    assert found == [("m", "127.0.0.1", 8501, service.Limits()), ("m", "0.0.0.0", 80, service.Limits(9.0, 2.0, 3, 4))]


def test_what_is_not_installed_is_named(command, monkeypatch):
    monkeypatch.delitem(sys.modules, "tfvoice.serving.app", raising=False)
    monkeypatch.delattr(tfvoice, "web", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, _, err = command("--model=m")
    assert status == 1 and "Serving needs prometheus_client; install it with pip install 'tfvoice[serve]'." in err


def test_what_is_no_model_is_told(command, tmp_path):
    pytest.importorskip("kserve", reason="needs the extra serve")
    status, _, err = command(f"--model={tmp_path}")
    assert status == 1 and "holds no exported model; make one with tfvoice_export" in err
    assert len(err.splitlines()) == 1

"""Laws of tfvoice_serve."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice.cli import flags, serve
from tfvoice.serving import service

ROOT = Path(flags.__file__).parents[2]
EXTRA = ("fastapi", "uvicorn", "prometheus_client")


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, serve.main, "tfvoice_serve")


def test_importing_the_command_does_not_import_tensorflow():
    code = "import sys; from tfvoice.cli import serve; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch):
    calls = []
    app = pytest.importorskip("tfvoice.serving.app", reason="needs the extra serve", exc_type=ImportError)
    monkeypatch.setattr(app, "serve", lambda *arguments: calls.append(arguments))
    assert command("--model=m")[0] == 0
    others = ("--host=0.0.0.0", "--port=80", "--max_seconds=9", "--max_mib=2", "--max_waiting=3", "--batch_size=4")
    others += ("--grpc_port=8500", "--voice=v", "--voice=w", "--max_characters=7")
    assert command("--model=m", *others)[0] == 0
    assert command("--voice=v")[0] == 0
    assert calls == [
        ("m", "127.0.0.1", 8501, service.ServerLimits(), None, []),
        ("m", "0.0.0.0", 80, service.ServerLimits(9.0, 2.0, 3, 4, 7), 8500, ["v", "w"]),
        (None, "127.0.0.1", 8501, service.ServerLimits(), None, ["v"]),
    ]


def test_a_server_needs_a_recogniser_or_a_voice(command):
    status, _, err = command()
    assert status == 1 and "give --model=DIR to transcribe, --voice=DIR to speak, or both" in err
    status, _, err = command("--voice=v", "--grpc_port=1")
    assert status == 1 and "--grpc_port serves a recogniser; add --model=DIR" in err


@pytest.mark.parametrize("package", EXTRA)
def test_a_missing_package_of_the_extra_is_named(command, monkeypatch, package):
    for present in EXTRA:
        pytest.importorskip(present, reason="needs the extra serve")
    for module in ("app", "limits"):
        monkeypatch.delitem(sys.modules, f"tfvoice.serving.{module}", raising=False)
        monkeypatch.delattr(f"tfvoice.serving.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    status, _, err = command("--model=m")
    assert status == 1 and f"Serving needs {package}; install it with pip install 'tfvoice[serve]'." in err


def test_a_folder_without_a_model_is_an_error_in_one_sentence(command, tmp_path):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    status, _, err = command(f"--model={tmp_path}")
    assert status == 1 and "holds no exported model; make one with tfvoice_export" in err
    assert len(err.splitlines()) == 1
    status, _, err = command(f"--voice={tmp_path}")
    assert status == 1 and "holds no voice; name a folder of tfvoice_train --model=deep_voice" in err
    assert len(err.splitlines()) == 1

"""tfvoice_export: its flags and its errors."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice.cli import export as export_
from tfvoice.export import export

ROOT = Path(export_.__file__).parents[2]


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, export_.main, "tfvoice_export")


def test_the_help_needs_no_tensorflow():
    code = "import sys; from tfvoice.cli import export; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(export, "export", lambda *arguments: calls.append(arguments) or tmp_path)
    (tmp_path / "file").write_bytes(bytes(2**21))
    status, out, _ = command("--run=r", "--output=o/1")
    assert (status, out) == (0, f"{tmp_path}: 2.0 MiB; see {tmp_path}/model_card.md\n")
    assert command("--run=r", "--output=o/1", "--checkpoint=last", "--overwrite", "--format=tflite")[0] == 0
    assert calls == [("r", "o/1", "best", False, "saved_model"), ("r", "o/1", "last", True, "tflite")]


def test_a_folder_without_a_run_is_an_error(command):
    status, _, err = command("--run=nowhere", "--output=o/1")
    assert status == 1 and "nowhere: is not the folder of a run" in err and len(err.splitlines()) == 1

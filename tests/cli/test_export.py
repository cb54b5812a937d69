"""Laws of tfvoice_export."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tfvoice.cli import export as command_
from tfvoice.cli import flags
from tfvoice.export import export

ROOT = Path(flags.__file__).parents[2]


@pytest.fixture
def command(in_process):
    return functools.partial(in_process, command_.main, "tfvoice_export")


def test_the_help_is_a_command_to_paste_and_needs_no_tensorflow():
    loaded = "import sys; from tfvoice.cli import export; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0


def test_flags_reach_the_library(command, monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(export, "export", lambda *given: found.append(given) or tmp_path)
    (tmp_path / "file").write_bytes(bytes(2**21))
    status, out, _ = command("--run=r", "--output=o/1")
    assert (status, out) == (0, f"{tmp_path}: 2.0 MiB; see {tmp_path}/model_card.md\n")
    assert command("--run=r", "--output=o/1", "--checkpoint=last", "--overwrite", "--format=tflite")[0] == 0
    assert found == [("r", "o/1", "best", False, "saved_model"), ("r", "o/1", "last", True, "tflite")]


def test_what_is_no_run_is_told(command):
    status, _, err = command("--run=nowhere", "--output=o/1")
    assert status == 1 and "nowhere: is not the folder of a run" in err and len(err.splitlines()) == 1

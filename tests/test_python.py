"""The Python of the documents runs, block after block, in a folder that has the run and the data that it names."""

import re
import shutil
import textwrap
from pathlib import Path

import pytest
import soundfile

from tfvoice import checkpoints, storage, tasks
from tfvoice.audio import io

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch, words_run, converted, clips):
    """A folder with `runs/vctk`, `records` and `talk.wav`."""
    shutil.copytree(words_run.run_dir, tmp_path / "runs" / "vctk")
    (tmp_path / "records").symlink_to(converted)
    samples = io.read(sorted((clips / "wav48" / "p900").iterdir())[0], 16000)
    soundfile.write(tmp_path / "talk.wav", samples, 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_document_runs(folder, capsys):
    names = {}
    for block in BLOCKS:
        # A small network is enough for a test.
        code = block.replace('"model.stacks=1", ', '"model.stacks=1", "model.dilations=[1]", "training.xla=off", ')
        exec(compile(code, str(DOCUMENT), "exec"), names)
    transcript = names["transcript"]
    assert transcript.text and transcript.words and capsys.readouterr().out.startswith(transcript.text)
    origin = storage.read_json(folder / "runs" / "tuned" / "experiment.json")["info"]["init_from"]
    assert origin["run"] == str((folder / "runs" / "mine").resolve())
    assert [weight.shape for weight in names["same"].weights] == [weight.shape for weight in names["model"].weights]
    assert names["probabilities"].output_shape == (None, None, 29)
    # A uniform baseline costs 8 bits.
    assert float(names["loss"]) < 7.5 and names["waves"].shape == (1, 8000)
    assert tasks.load("runs/keras").model.count_params() == names["model"].count_params()
    assert checkpoints.restore(folder / "runs/keras/checkpoints/best.safetensors", {}) == {}


def test_the_python_of_the_readme_runs(folder, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^From Python.*?\n\n((?:    .*\n)+)", text, re.MULTILINE)[1]
    assert len(block.splitlines()) == 10
    soundfile.write(folder / "talk.mp3", *soundfile.read(folder / "talk.wav"), format="MP3")
    (folder / "my_records").symlink_to(folder / "records")
    # One epoch is enough for a test.
    code = textwrap.dedent(block).replace("training.epochs=10", "training.epochs=1")
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 3
    assert tasks.load("runs/mine").config.training.epochs == 1

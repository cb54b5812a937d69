"""The page of a generator lets one listen to it, and shows what the report holds."""

import json
import re
import shutil

import numpy as np
import pytest
from pages import audio_of, external_links

from tfvoice import checkpoints, tasks
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.generation import evaluate
from tfvoice.generation.generator import Generator

LINES = [
    {"step": 10, "minutes": 1.0, "train_loss": 9.0, "valid_loss": 8.0},
    {"step": 20, "minutes": 2.0, "train_loss": 7.0, "valid_loss": 6.0},
]


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    """A run with samples of its validations."""
    small = ("model.units=4", "model.embedding=4", "quantization.levels=64")
    settings = tasks.resolve("sample_rnn", None, small)
    run = Generator.new(tmp_path_factory.mktemp("runs") / "piano", settings, converted, {"data": str(converted)})
    run.write()
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    (run.run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (run.run_dir / "samples").mkdir()
    for step in range(10, 110, 10):
        name = run.run_dir / "samples" / f"step-{step:07d}"
        name.with_suffix(".png").write_bytes(b"picture")
        audio_io.write(f"{name}-0.wav", np.full(1600, step / 200, np.float32), 16000)
    return run.run_dir


def test_samples_of_the_run_and_of_its_validations_can_be_played(run, monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "_SECONDS", 0.5)
    report, path = evaluate.evaluate_run(run)
    page = path.read_text(encoding="utf-8")
    assert external_links(page) == [] and f"<b>{report['bits_per_sample']:.3f}</b>" in page and "<svg" in page
    steps = re.findall(r"<h3>step (\d+)</h3>", page)
    assert steps == ["10", "30", "50", "60", "80", "100"]
    audio = audio_of(page)
    assert len(audio) == 4 + len(steps)
    levels = [np.median(samples) for samples, _ in audio[4:]]
    np.testing.assert_allclose(levels, [int(step) / 200 for step in steps], atol=0.05)
    # Called like a formula that matplotlib cannot set.
    other = shutil.copytree(run, tmp_path / "x$^$y")
    _, path = evaluate.evaluate_run(run, compare=(str(other),))
    compared = path.read_text(encoding="utf-8")
    assert "Comparison" not in page and "Comparison" in compared
    # The last samples of the other run can be played too.
    level = next(np.median(samples) for samples, _ in audio_of(compared))
    assert level == pytest.approx(0.5, abs=0.05) and "step 100</span>" in compared and "x$^$y" in compared


def test_a_recogniser_cannot_be_compared_with_a_generator(run, recognizer_run, tmp_path):
    folder = shutil.copytree(recognizer_run.run_dir, tmp_path / "asr")
    (folder / "report").mkdir()
    (folder / "report" / "eval-test.json").write_text('{"wer": {"rate": 0.5}, "results": []}')
    with pytest.raises(TfvoiceError, match="is a run of wavenet_asr, which is measured by other metrics"):
        evaluate.evaluate_run(run, compare=(str(folder),))

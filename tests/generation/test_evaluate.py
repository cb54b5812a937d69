"""A generator is judged by bits per sample, and by numbers in which noise is seen."""

import json
import re

import numpy as np
import pytest

from tfvoice import checkpoints, tasks
from tfvoice.errors import TfvoiceError
from tfvoice.generation import evaluate, scoring
from tfvoice.generation.generator import Generator
from tfvoice.generation.task import GENERATION

SMALL = ("model.units=6", "model.frame_sizes=[2,8]", "model.embedding=4", "quantization.levels=64")


@pytest.fixture(scope="module")
def run(tmp_path_factory, converted):
    """A run of fresh weights."""
    made = Generator.new(
        tmp_path_factory.mktemp("runs") / "run",
        tasks.resolve("sample_rnn", None, SMALL),
        converted,
        {"data": str(converted)},
    )
    made.write()
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made.run_dir


def test_a_uniform_network_costs_all_bits_and_its_samples_are_noise(run, converted, monkeypatch):
    monkeypatch.setattr(evaluate, "_SECONDS", 0.5)
    report, path = evaluate.evaluate_run(run, split="test")
    assert path == run / "report" / "eval-test.html" and path.is_file()
    assert json.loads(path.with_suffix(".json").read_text()) == report
    low, high = report["interval_95"]
    assert low <= report["bits_per_sample"] <= high and report["bits_per_sample"] == pytest.approx(6, abs=0.1)
    clips = [scoring.ScoredClip(**one) for one in report["results"]]
    assert scoring.bits_per_sample(clips) == report["bits_per_sample"] and len(clips) == report["clips"] == 3
    samples, data, noise = (report["statistics"][name] for name in ("samples", "data", "white noise"))
    assert samples["flatness"] == pytest.approx(noise["flatness"], abs=0.03) and data["flatness"] < 0.2
    assert abs(samples["log_mel_distance_db"] - noise["log_mel_distance_db"]) < 1
    assert data["log_mel_distance_db"] < samples["log_mel_distance_db"] / 2
    text = evaluate.as_text(report, worst=1)
    assert "test: 3 clips" in text and "uniform baseline: 6.00" in text
    assert re.search(r"samples +[\d.]+ dB +-[\d.]+ dB", text) and text.count("bits per sample: ") == 1


def test_two_halves_of_the_data_are_near_each_other():
    random = np.random.default_rng(0)
    data = np.cumsum(random.normal(0, 0.01, 64000)).astype(np.float32)
    data = (data - data.mean()) / 10
    table = evaluate.statistics(data[:32000], data, 16000)
    assert table["samples"]["log_mel_distance_db"] < 2 < table["white noise"]["log_mel_distance_db"]


def test_a_decoder_is_refused(run):
    with pytest.raises(TfvoiceError, match="generates audio, so that there is no text to decode; leave --decoder out"):
        GENERATION.evaluate(run, None, "test", "best", (), {"name": "beam"})

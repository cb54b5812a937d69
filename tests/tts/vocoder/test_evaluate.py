"""Evaluation of a vocoder: report, page, comparison."""

import json
import shutil

import pytest

from tfvoice.tts.vocoder import evaluate
from tfvoice.tts.vocoder.metrics import CopyErrors
from tfvoice.tts.vocoder.task import VOCODER


@pytest.fixture(scope="module")
def evaluated(vocoder_run, tmp_path_factory):
    """A copy of the run, its report and its page."""
    folder = shutil.copytree(vocoder_run.run_dir, tmp_path_factory.mktemp("evaluated") / "run")
    return folder, *evaluate.evaluate_run(folder, split="test")


def test_the_report_covers_the_whole_split(evaluated):
    folder, report, page = evaluated
    assert report == json.loads((folder / "report" / "eval-test.json").read_text())
    assert report["utterances"] == len(report["results"]) == len(report["copies"]) == 3
    low, high = report["interval_95"]
    assert low <= report["bits_per_sample"] <= high and report["times_real_time"] > 0
    assert page == folder / "report" / "eval-test.html"


def test_the_page_plays_recordings_and_copies(evaluated):
    text = evaluated[2].read_text()
    assert text.count("<audio") == 6 and text.count("<img") == 3 and "mel-cepstral distortion" in text


def test_runs_are_compared_in_the_page(evaluated, tmp_path):
    folder, _, _ = evaluated
    other = shutil.copytree(folder, tmp_path / "other")
    _, page = evaluate.evaluate_run(folder, split="test", compare=(str(other),))
    assert "<td>other</td>" in page.read_text()


def test_the_texts_name_bits_and_errors(evaluated):
    _, report, _ = evaluated
    text = VOCODER.format_report(report, 2)
    assert "bits per sample  [" in text and "mel-cepstral distortion" in text
    assert VOCODER.format_result(report).endswith("; 3 utterances")
    assert VOCODER.format_result({"bits_per_sample": 1}) == ""


def test_errors_that_no_utterance_has_are_none():
    none = evaluate.summarise([CopyErrors(1.0, float("nan"), 0.5)])
    assert none["f0_hz"] is None and none["distortion_db"] == {"mean": 1.0, "interval_95": [1.0, 1.0]}

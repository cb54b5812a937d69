"""Evaluation of duration and F0: report, page, comparison, and what is refused."""

import json
import shutil

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.duration_f0 import evaluate
from tfvoice.tts.duration_f0.task import DURATION_F0


@pytest.fixture(scope="module")
def evaluated(duration_f0_run, tmp_path_factory):
    """A copy of the run, its report and its page."""
    folder = shutil.copytree(duration_f0_run.run_dir, tmp_path_factory.mktemp("evaluated") / "run")
    return folder, *evaluate.evaluate_run(folder, split="test")


def test_the_report_covers_the_whole_split(evaluated, aligned_records):
    folder, report, page = evaluated
    assert report == json.loads((folder / "report" / "eval-test.json").read_text())
    assert report["utterances"] == len(report["results"]) == 3
    for error in report["prosody_errors"].values():
        assert error["interval_95"][0] <= error["mean"] <= error["interval_95"][1]
    assert page == folder / "report" / "eval-test.html"


def test_the_page_shows_errors_and_contours(evaluated):
    _, report, page = evaluated
    text = page.read_text()
    assert "Predicted against true durations" in text and text.count("<img") == 1 + report["utterances"]
    assert f"{report['prosody_errors']['f0_hz']['mean']:.1f} Hz" in text


def test_runs_are_compared_in_the_page(evaluated, tmp_path):
    folder, _, _ = evaluated
    other = shutil.copytree(folder, tmp_path / "other")
    _, page = evaluate.evaluate_run(folder, split="test", compare=(str(other),))
    assert "<td>other</td>" in page.read_text()


def test_the_texts_name_the_errors_with_intervals(evaluated):
    _, report, _ = evaluated
    text = DURATION_F0.format_report(report, 2)
    assert "F0, voiced frames" in text and len(text.splitlines()) == 9
    line = DURATION_F0.format_result(report)
    assert line.startswith("mean absolute errors: duration ") and line.endswith("; 3 utterances")
    assert DURATION_F0.format_result({"other": 1}) == ""


def test_what_cannot_be_evaluated_is_refused(evaluated, converted):
    folder, _, _ = evaluated
    with pytest.raises(TfvoiceError, match="these records are plain"):
        evaluate.evaluate_run(folder, converted)
    with pytest.raises(TfvoiceError, match="predicts no text that could be decoded; leave --decoder out"):
        DURATION_F0.evaluate(folder, None, "test", "best", (), {"decoder": "lm"})

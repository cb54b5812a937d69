"""Evaluation of a voice: its parts, its intelligibility, the page."""

import json
import shutil

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.voice import evaluate
from tfvoice.tts.voice.task import VOICE


@pytest.fixture(scope="module")
def folder(voice_run, aligned_records, tmp_path_factory):
    """A copy of the voice with aligned records."""
    folder = shutil.copytree(voice_run.run_dir, tmp_path_factory.mktemp("evaluated") / "noise")
    shutil.copytree(aligned_records, folder / "aligned")
    return folder


@pytest.fixture(scope="module")
def evaluated(folder, words_run):
    """The report and the page."""
    return VOICE.evaluate(folder, None, "test", "best", (), {}, words_run.run_dir)


def test_the_report_covers_parts_and_intelligibility(folder, evaluated, words_run):
    report, page = evaluated
    assert report == json.loads((folder / "report" / "eval-test.json").read_text())
    assert page == folder / "report" / "eval-test.html" and report["utterances"] == len(report["results"]) == 3
    assert 0 < report["bits_per_sample"] < 20 and report["prosody_errors"]["duration_ms"]["mean"] > 0
    assert report["copy_errors"]["distortion_db"]["mean"] > 0 and report["times_real_time"] > 0
    assert report["recognizer"] == words_run.run_dir.name
    for rates in report["intelligibility"].values():
        low, high = rates["cer"]["interval_95"]
        assert low <= rates["cer"]["rate"] <= high
    assert list(report["results"][0]["transcripts"]) == ["recording", "copy", "synthesis"]


def test_the_page_plays_each_sentence_three_times(evaluated):
    text = evaluated[1].read_text()
    assert text.count("<audio") == 9 and text.count("<img") == 9 and "Intelligibility" in text


def test_texts_have_all_numbers(evaluated):
    text = VOICE.format_report(evaluated[0], 2)
    assert "bits per sample  [" in text and "copy synthesis           CER" in text and "the first sound after" in text
    line = VOICE.format_result(evaluated[0])
    assert "CER of recordings" in line and line.endswith("; 3 sentences") and VOICE.format_result({"wer": 1}) == ""


def test_without_a_recogniser_the_rest_is_measured_and_voices_are_compared(folder, evaluated, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    report, page = evaluate.evaluate_run(other, split="valid")
    assert report[
        "intelligibility"
    ] == {} and "name a run of a recogniser with --recognizer=RUN" in VOICE.format_report(report, 0)
    assert "Intelligibility" not in page.read_text()
    _, page = evaluate.evaluate_run(other, split="test", compare=(str(folder),))
    assert "<td>noise</td>" in page.read_text()


def test_what_cannot_be_evaluated_gets_a_sentence(folder, voice_run, converted):
    with pytest.raises(TfvoiceError, match="there is no text to decode"):
        VOICE.evaluate(folder, None, "test", "best", (), {"decoder": "lm"})
    with pytest.raises(TfvoiceError, match="its data, None, is not on this machine; name it with --data=DIR"):
        VOICE.evaluate(voice_run.run_dir, None, "test", "best", (), {})
    with pytest.raises(TfvoiceError, match="these records are plain, and aligned ones are needed"):
        VOICE.evaluate(folder, converted, "test", "best", (), {})

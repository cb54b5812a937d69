"""The page of a vocoder's report without a voice to compare."""

import numpy as np

from tfvoice.tts.vocoder import report as report_
from tfvoice.tts.vocoder.evaluate import Copy
from tfvoice.tts.vocoder.metrics import CopyErrors


def test_a_page_without_f0_says_so(vocoder_run, tmp_path, monkeypatch):
    monkeypatch.setattr(vocoder_run, "run_dir", tmp_path)
    (tmp_path / "report").mkdir()
    wave = np.zeros(2000, np.float32)
    copy = Copy("a/1", "Yes & no.", wave, wave[:1990], CopyErrors(1.0, float("nan"), 0.5))
    error = {"mean": 1.0, "interval_95": [1.0, 1.0]}
    report = {
        "split": "test", "data": "x", "checkpoint": "best", "utterances": 1, "audio_seconds": 2.0, "levels": 32,
        "bits_per_sample": 3.0, "interval_95": [2.0, 4.0], "times_real_time": 5.0, "results": [{"id": "a/1"}],
        "copy_errors": {"distortion_db": error, "f0_hz": None, "voicing": error},
    }  # fmt: skip
    text = report_.write(vocoder_run, [copy], report, []).read_text()
    assert "Yes &amp; no." in text and "<td>none</td>" in text and "3.000" in text

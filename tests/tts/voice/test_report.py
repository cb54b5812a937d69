"""The page of a voice that could not speak a sentence."""

import aligned_records
import numpy as np

from tfvoice.tts.vocoder.metrics import CopyErrors
from tfvoice.tts.voice import report as report_
from tfvoice.tts.voice.evaluate import SpokenUtterance


def test_a_page_without_synthesis_and_without_f0(voice_run, tmp_path, monkeypatch):
    monkeypatch.setattr(voice_run, "run_dir", tmp_path)
    (tmp_path / "report").mkdir()
    wave, alignment = np.zeros(8000, np.float32), aligned_records.alignment("a/1", 8000, 16000)
    waves = {"recording": wave, "copy": wave, "synthesis": wave[:0]}
    alignments = {"recording": alignment, "copy": alignment, "synthesis": None}
    spoken = SpokenUtterance("a/1", "Yes & no.", waves, alignments, CopyErrors(1.0, float("nan"), 0.5), None)
    error = {"mean": 1.0, "interval_95": [1.0, 1.0]}
    report = {
        "split": "test", "data": "x", "checkpoint": "best", "utterances": 1, "audio_seconds": 2.0, "levels": 256,
        "bits_per_sample": 3.0, "interval_95": [2.0, 4.0], "times_real_time": 5.0, "first_sound_seconds": 0.2,
        "recognizer": None, "intelligibility": {},
        "copy_errors": {"distortion_db": error, "f0_hz": None, "voicing": error},
        "prosody_errors": dict.fromkeys(("duration_ms", "speech_ms", "silence_ms", "f0_hz", "voicing"), error),
        "results": [{"id": "a/1", "text": "Yes & no.", "distortion_db": 1.0, "transcripts": {}}],
    }  # fmt: skip
    text = report_.write(voice_run, [spoken], report, []).read_text()
    assert "Yes &amp; no." in text and "<td>none</td>" in text and text.count("<audio") == 2

"""Errors of prosody that are known beforehand."""

import numpy as np
import pytest

from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.tts.duration_f0 import metrics, prosody
from tfvoice.tts.duration_f0.prosody import PhonemeProsody

ALIGNMENT = PhonemeAlignment(
    ["sil", "AA1", "S"], np.array([640, 1920, 2560]), np.repeat([0, 200, 0], [10, 20, 10]).astype(np.float32), 64
)


def errors_of(**changes):
    reference = prosody.measure(ALIGNMENT, 16000, 5).prosody
    return metrics.errors(ALIGNMENT, reference, reference._replace(**changes))


def test_the_truth_has_no_error():
    means = metrics.means([errors_of()])
    assert means == {"duration_ms": 0, "speech_ms": 0, "silence_ms": 0, "f0_hz": 0, "voicing": 1}


def test_errors_are_means_over_phonemes_and_voiced_frames():
    found = errors_of(
        seconds=np.array([0.05, 0.07, 0.04]), voiced=np.array([0.4, 0.4, 0.4]), f0_hz=np.full((3, 5), 190.0)
    )
    means = metrics.means([found, errors_of()])
    assert found.f0_hz.count == 20 and found.silence_ms.count == 1
    expected = {"duration_ms": 20 / 6, "speech_ms": 10 / 4, "silence_ms": 10 / 2, "f0_hz": 5, "voicing": 5 / 6}
    assert means == pytest.approx(expected, rel=1e-4)


def test_f0_counts_whatever_voicing_is_predicted():
    assert errors_of(voiced=np.zeros(3)).f0_hz == (0, 20)


def test_intervals_hold_the_means():
    random = np.random.default_rng(0)
    found = [errors_of(seconds=random.uniform(0.01, 0.1, 3), f0_hz=random.uniform(150, 250, (3, 5))) for _ in range(30)]
    means, intervals = metrics.means(found), metrics.intervals(found)
    assert means.keys() == intervals.keys()
    assert all(low <= means[name] <= high for name, (low, high) in intervals.items())


def test_what_does_not_occur_has_no_error():
    silent = PhonemeAlignment(["AA1"], np.array([64]), np.zeros(1, np.float32), 64)
    reference = PhonemeProsody(np.array([0.004]), np.zeros(1), np.zeros((1, 5)))
    means = metrics.means([metrics.errors(silent, reference, reference)])
    assert means["silence_ms"] == means["f0_hz"] == 0

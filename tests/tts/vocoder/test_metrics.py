"""Laws of the comparison of a copy with its recording."""

import numpy as np
import pytest
import scipy.fft

from tfvoice.tts.vocoder import metrics

RATE = 16000


def voice(f0_hz, seconds=0.6, tilt=1.0):
    """Harmonics of a voice, as loud as 1 / n ** tilt."""
    time = np.arange(round(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * f0_hz * n * time) / n**tilt for n in range(1, 20)]
    return (0.1 * np.sum(waves, axis=0)).astype(np.float32)


def test_a_recording_is_its_own_best_copy_at_any_loudness():
    errors = metrics.copy_errors(voice(120), voice(120), RATE)
    assert errors == (0.0, 0.0, 0.0)
    assert metrics.mel_cepstral_distortion_db(voice(120), 0.5 * voice(120), RATE) < 0.01


def test_f0_and_voicing_are_compared_frame_by_frame():
    errors = metrics.copy_errors(voice(120), voice(132), RATE)
    assert errors.f0_hz == pytest.approx(12, abs=1.5) and errors.voicing < 0.1
    silent = metrics.copy_errors(voice(120), np.zeros_like(voice(120)), RATE)
    assert np.isnan(silent.f0_hz) and silent.voicing > 0.9


def test_distortion_is_that_of_the_cepstrum_by_another_transform():
    recording, copy = voice(120), voice(120, tilt=1.5)
    logs = [metrics._log_mel(samples, RATE) for samples in (recording, copy)]
    # SciPy's type 2 without normalisation is 2 sums; a coefficient is 2 / bands of a sum.
    cepstra = [scipy.fft.dct(log, axis=0)[1:25] / 80 for log in logs]
    loud = logs[0].max(axis=0) > logs[0].max() - 40 * np.log(10) / 20
    expected = 10 / np.log(10) * np.sqrt(2 * ((cepstra[0] - cepstra[1])[:, loud] ** 2).sum(axis=0)).mean()
    found = metrics.mel_cepstral_distortion_db(recording, copy, RATE)
    assert found == pytest.approx(expected, rel=1e-6) and 1 < found < 20

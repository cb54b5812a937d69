"""Statistics of signals with known values."""

import numpy as np
import pytest

from tfvoice.generation import metrics

RATE = 16000
RANDOM = np.random.default_rng(0)
TIME = np.arange(2 * RATE) / RATE
NOISE = RANDOM.normal(0, 0.1, len(TIME)).astype(np.float32)
TONE = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)


def test_the_level_of_a_tone_and_of_noise():
    assert metrics.measure(TONE, RATE).level_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert metrics.measure(NOISE, RATE).level_db == pytest.approx(-20, abs=0.1)


def test_silent_frames_are_counted_and_left_out_of_the_spectrum():
    half = np.concatenate([TONE, np.zeros_like(TONE)])
    statistics = metrics.measure(half, RATE)
    assert statistics.silence == pytest.approx(0.5, abs=0.02)
    assert metrics.log_mel_distance_db(statistics, metrics.measure(TONE, RATE)) < 1
    silence = metrics.measure(np.zeros(100, np.float32), RATE)
    assert silence.silence == 1 and silence.flatness == 0 and np.isfinite(silence.log_mel_db).all()


def test_clipped_samples_are_counted():
    assert metrics.measure(np.clip(4 * TONE, -1, 1), RATE).clipping == pytest.approx(2 / 3, abs=0.01)
    assert metrics.measure(TONE, RATE).clipping == 0


def test_flatness_of_noise_and_of_a_tone():
    # Geometric over arithmetic mean of an exponential variable: exp(-Euler's constant).
    assert metrics.measure(NOISE, RATE).flatness == pytest.approx(np.exp(-np.euler_gamma), abs=0.02)
    assert metrics.measure(TONE, RATE).flatness < 0.01


def test_statistics_do_not_depend_on_the_block_size(monkeypatch):
    long = np.concatenate([TONE, np.zeros_like(TONE), NOISE, TONE / 8 + NOISE])
    whole = metrics.measure(long, RATE)
    monkeypatch.setattr(metrics, "_BLOCK", 100)
    in_blocks = metrics.measure(long, RATE)
    assert in_blocks[:-1] == pytest.approx(whole[:-1], rel=1e-6)
    np.testing.assert_allclose(in_blocks.log_mel_db, whole.log_mel_db, rtol=1e-5)


def test_the_log_mel_distance_is_independent_of_loudness():
    noise, quieter = metrics.measure(NOISE, RATE), metrics.measure(NOISE / 4, RATE)
    assert metrics.log_mel_distance_db(noise, quieter) < 0.01
    assert metrics.log_mel_distance_db(noise, metrics.measure(NOISE[::-1].copy(), RATE)) < 1
    assert metrics.log_mel_distance_db(noise, metrics.measure(np.cumsum(NOISE) / 30, RATE)) > 5

"""Numbers of signals whose numbers are known."""

import numpy as np
import pytest

from tfvoice.generation import metrics

RATE = 16000
RANDOM = np.random.default_rng(0)
TIME = np.arange(2 * RATE) / RATE
NOISE = RANDOM.normal(0, 0.1, len(TIME)).astype(np.float32)
TONE = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)


def test_levels():
    assert metrics.of(TONE, RATE).level_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert metrics.of(NOISE, RATE).level_db == pytest.approx(-20, abs=0.1)


def test_silence_is_counted_and_its_colour_is_not():
    half = np.concatenate([TONE, np.zeros_like(TONE)])
    found = metrics.of(half, RATE)
    assert found.silence == pytest.approx(0.5, abs=0.02)
    assert metrics.log_mel_distance_db(found, metrics.of(TONE, RATE)) < 1
    nothing = metrics.of(np.zeros(100, np.float32), RATE)
    assert nothing.silence == 1 and nothing.flatness == 0 and np.isfinite(nothing.log_mel_db).all()


def test_clipping_is_counted():
    assert metrics.of(np.clip(4 * TONE, -1, 1), RATE).clipping == pytest.approx(2 / 3, abs=0.01)
    assert metrics.of(TONE, RATE).clipping == 0


def test_noise_is_flat_and_a_tone_is_not():
    # The mean of a logarithm of an exponential variable: exp(-Euler's constant).
    assert metrics.of(NOISE, RATE).flatness == pytest.approx(np.exp(-np.euler_gamma), abs=0.02)
    assert metrics.of(TONE, RATE).flatness < 0.01


def test_long_recordings_are_measured_in_blocks(monkeypatch):
    long = np.concatenate([TONE, np.zeros_like(TONE), NOISE, TONE / 8 + NOISE])
    whole = metrics.of(long, RATE)
    monkeypatch.setattr(metrics, "_BLOCK", 100)
    found = metrics.of(long, RATE)
    assert found[:-1] == pytest.approx(whole[:-1], rel=1e-6)
    np.testing.assert_allclose(found.log_mel_db, whole.log_mel_db, rtol=1e-5)


def test_the_distance_is_one_of_colour_and_not_of_loudness():
    one, quieter = metrics.of(NOISE, RATE), metrics.of(NOISE / 4, RATE)
    assert metrics.log_mel_distance_db(one, quieter) < 0.01
    assert metrics.log_mel_distance_db(one, metrics.of(NOISE[::-1].copy(), RATE)) < 1
    assert metrics.log_mel_distance_db(one, metrics.of(np.cumsum(NOISE) / 30, RATE)) > 5

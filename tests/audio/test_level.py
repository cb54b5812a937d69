"""Laws of the level of a recording."""

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, speech

from tfvoice.audio import level


def of_stream(samples, size):
    now = level.start()
    for start in range(0, len(samples), size):
        now = level.update(now, samples[start : start + size], False, RATE)
    return now, level.update(now, np.zeros(0, np.float32), True, RATE)


@pytest.mark.parametrize("size", [1, 799, 800, 2500])
def test_the_level_of_a_stream_does_not_depend_on_the_chunks(size):
    samples = speech(1.05 if size > 1 else 0.15)
    samples[-200:] = 0.9 * np.sign(samples[-200:])
    pieces = [samples[start : start + RATE // 10].std() for start in range(0, len(samples), RATE // 10)]
    before, after = of_stream(samples, size)
    assert float(before.peak) == pytest.approx(max(pieces[:-1]), rel=1e-6)
    assert float(after.peak) == pytest.approx(max(pieces), rel=1e-6) and max(pieces) == pieces[-1]


@pytest.mark.parametrize("count", [0, 1, 799, 800, 801, 4000, 4300])
def test_the_peak_of_a_row_is_that_of_its_samples_alone(count):
    random = np.random.default_rng(1)
    samples = (random.standard_normal(count) * np.linspace(0.01, 0.2, count) + 0.3).astype(np.float32)
    padded = np.concatenate([samples, random.standard_normal(500)])[np.newaxis].astype(np.float32)
    found = level.peak(tf.constant(padded), tf.constant([count]), 8000)
    expected = max((samples[start : start + 800].std() for start in range(0, count, 800)), default=0.0)
    np.testing.assert_allclose(found, [expected], rtol=1e-4, atol=1e-7)


def test_an_offset_is_silence_and_a_single_word_is_not():
    silent = np.stack([np.zeros(8000), np.full(8000, 0.1), 2.0**-15 * np.random.default_rng(0).standard_normal(8000)])
    found = level.peak(tf.constant(silent, tf.float32), tf.fill([3], 8000), RATE).numpy()
    assert np.all(found < level.SILENCE)
    silent[:, 7700:] += speech(1)[:300]
    assert np.all(level.peak(tf.constant(silent, tf.float32), tf.fill([3], 8000), RATE).numpy() > level.SILENCE)

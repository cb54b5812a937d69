"""Resampling in the graph, compared with soxr."""

import numpy as np
import pytest
import soxr
import tensorflow as tf

from tfvoice.audio.resample import resample

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]


@pytest.fixture(scope="module")
def graphs():
    """One graph for each target rate; the rate of the source is an input."""
    signature = [tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)]
    return {
        to_hz: tf.function(lambda samples, from_hz, to_hz=to_hz: resample(samples, from_hz, to_hz), signature)
        for to_hz in (8000, 11025, 16000)
    }


def noise(rate_hz, highest_hz, seconds=1.0):
    """Noise from 20 Hz to a frequency, that starts and ends in silence."""
    count = round(seconds * rate_hz) + 7
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(frequencies > highest_hz) | (frequencies < 20)] = 0
    wave = np.fft.irfft(spectrum, count) * np.hanning(count)
    return (wave / np.abs(wave).max() / 2).astype(np.float32)


@pytest.mark.parametrize("from_hz", RATES)
@pytest.mark.parametrize("to_hz", [8000, 11025, 16000])
def test_the_pass_band_equals_soxr(graphs, from_hz, to_hz):
    wave = noise(from_hz, 0.9 * min(from_hz, to_hz) / 2)
    result = graphs[to_hz](wave, from_hz).numpy()
    expected = soxr.resample(wave, from_hz, to_hz, quality="VHQ")
    assert result.shape == expected.shape
    error = np.sum(np.square(result - expected)) / np.sum(np.square(expected))
    assert from_hz == to_hz or 10 * np.log10(error) < -70


@pytest.mark.parametrize("from_hz", [22050, 24000, 44100, 48000])
def test_downsampling_does_not_alias(graphs, from_hz):
    tone = np.sin(2 * np.pi * 8200 * np.arange(from_hz) / from_hz) * np.hanning(from_hz)
    assert np.abs(graphs[16000](tone.astype(np.float32), from_hz)).max() < 1e-5


def test_samples_at_the_target_rate_stay_as_they_are(graphs):
    wave = noise(16000, 8000)
    np.testing.assert_array_equal(graphs[16000](wave, 16000), wave)


def test_a_constant_stays_constant_and_an_empty_input_empty(graphs):
    result = graphs[16000](np.full(44100, 0.5, np.float32), 44100).numpy()
    np.testing.assert_allclose(result[200:-200], 0.5, rtol=1e-5)
    assert graphs[16000](np.zeros(0, np.float32), 44100).shape == (0,)


def test_rates_without_a_common_factor_are_an_error(graphs):
    with pytest.raises(tf.errors.InvalidArgumentError, match="too little in common"):
        graphs[16000](np.zeros(100, np.float32), 44101)

"""Levels: inverses to half a step, ends and silence, and the values of an independent implementation."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import config
from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig

CONFIGS = [
    QuantizationConfig(kind=kind, levels=n) for kind in ("mu_law", "linear") for n in (2, 3, 16, 255, 256, 65536)
]
each = pytest.mark.parametrize("chosen", CONFIGS, ids=lambda chosen: f"{chosen.kind}-{chosen.levels}")


def companded(chosen, samples):
    """Where a sample lies among the levels, -1 to 1, in float64."""
    if chosen.kind == "linear":
        return samples
    mu = chosen.levels - 1
    return np.sign(samples) * np.log(1 + mu * np.abs(samples)) / np.log(1 + mu)


@each
def test_every_level_comes_back(chosen):
    levels = np.arange(chosen.levels)
    np.testing.assert_array_equal(quantize.encode(chosen, quantize.decode(chosen, levels)), levels)


@each
def test_a_sample_comes_back_to_half_a_step(chosen):
    samples = np.concatenate([np.linspace(-1, 1, 20001), np.random.default_rng(0).normal(0, 0.01, 2000)])
    back = quantize.decode(chosen, quantize.encode(chosen, samples)).numpy().astype(np.float64)
    error = np.abs(companded(chosen, back) - companded(chosen, samples))
    # float32 tells apart about 2^-24 of the range.
    assert error.max() <= 1 / (chosen.levels - 1) + 3e-7


@each
def test_the_ends_and_silence(chosen):
    assert quantize.encode(chosen, [-1.0, 1.0]).numpy().tolist() == [0, chosen.levels - 1]
    assert quantize.decode(chosen, [0, chosen.levels - 1]).numpy().tolist() == pytest.approx([-1.0, 1.0], abs=1e-6)
    assert int(quantize.encode(chosen, 0.0)) == chosen.silence


def test_silence_is_silent():
    assert abs(float(quantize.decode(QuantizationConfig(), 128))) < 1e-4
    assert float(quantize.decode(QuantizationConfig(levels=255), 127)) == 0.0


def test_what_lies_beyond_is_clipped():
    assert quantize.encode(QuantizationConfig(), [-3.0, 1.5]).numpy().tolist() == [0, 255]


@each
def test_levels_rise_with_the_samples(chosen):
    levels = quantize.encode(chosen, np.linspace(-1, 1, 5000)).numpy()
    assert (np.diff(levels) >= 0).all()


def test_mu_law_is_that_of_librosa():
    samples = np.linspace(-1, 1, 4001)
    mine = quantize.encode(QuantizationConfig(), samples).numpy()
    theirs = librosa.mu_compress(samples, mu=255, quantize=False)
    np.testing.assert_allclose(mine, (theirs + 1) / 2 * 255, atol=0.5 + 1e-4)
    values = quantize.decode(QuantizationConfig(), np.arange(256)).numpy()
    expanded = librosa.mu_expand(np.linspace(-1, 1, 256), mu=255, quantize=False)
    np.testing.assert_allclose(values, expanded, atol=1e-6)


@pytest.mark.parametrize("kind", ["mu_law", "linear"])
def test_the_same_in_a_graph(kind):
    chosen = QuantizationConfig(kind=kind)
    samples = np.random.default_rng(1).uniform(-1, 1, 1000).astype(np.float32)
    graph = tf.function(lambda x: quantize.encode(chosen, x))
    np.testing.assert_array_equal(graph(samples), quantize.encode(chosen, samples))


@pytest.mark.parametrize("levels", [1, 0, 65537, 2.5])
def test_levels_that_do_not_fit(levels):
    with pytest.raises(config.ConfigError, match="levels"):
        config.build(QuantizationConfig, {"levels": levels})

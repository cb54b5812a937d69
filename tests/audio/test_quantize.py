"""Quantisation: inverses to half a step, ends and silence, and the values of librosa."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import config
from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.compiled import load_librosa

CONFIGS = [
    QuantizationConfig(kind=kind, levels=n) for kind in ("mu_law", "linear") for n in (2, 3, 16, 255, 256, 65536)
]
each_config = pytest.mark.parametrize("quantization", CONFIGS, ids=lambda config: f"{config.kind}-{config.levels}")


def companded(quantization, samples):
    """The companded sample, -1 to 1, in float64."""
    if quantization.kind == "linear":
        return samples
    mu = quantization.levels - 1
    return np.sign(samples) * np.log(1 + mu * np.abs(samples)) / np.log(1 + mu)


@each_config
def test_every_level_round_trips(quantization):
    levels = np.arange(quantization.levels)
    np.testing.assert_array_equal(quantize.encode(quantization, quantize.decode(quantization, levels)), levels)


@each_config
def test_a_sample_round_trips_to_half_a_step(quantization):
    samples = np.concatenate([np.linspace(-1, 1, 20001), np.random.default_rng(0).normal(0, 0.01, 2000)])
    decoded = quantize.decode(quantization, quantize.encode(quantization, samples)).numpy().astype(np.float64)
    error = np.abs(companded(quantization, decoded) - companded(quantization, samples))
    # float32 resolves about 2^-24 of the range.
    assert error.max() <= 1 / (quantization.levels - 1) + 3e-7


@each_config
def test_the_ends_of_the_range_and_silence(quantization):
    assert quantize.encode(quantization, [-1.0, 1.0]).numpy().tolist() == [0, quantization.levels - 1]
    ends = quantize.decode(quantization, [0, quantization.levels - 1]).numpy().tolist()
    assert ends == pytest.approx([-1.0, 1.0], abs=1e-6)
    assert int(quantize.encode(quantization, 0.0)) == quantization.silence


def test_the_silence_level_decodes_to_zero():
    assert abs(float(quantize.decode(QuantizationConfig(), 128))) < 1e-4
    assert float(quantize.decode(QuantizationConfig(levels=255), 127)) == 0.0


def test_samples_outside_the_range_are_clipped():
    assert quantize.encode(QuantizationConfig(), [-3.0, 1.5]).numpy().tolist() == [0, 255]


@each_config
def test_levels_increase_with_the_samples(quantization):
    levels = quantize.encode(quantization, np.linspace(-1, 1, 5000)).numpy()
    assert (np.diff(levels) >= 0).all()


def test_mu_law_equals_librosa():
    samples = np.linspace(-1, 1, 4001)
    levels = quantize.encode(QuantizationConfig(), samples).numpy()
    librosa = load_librosa()
    compressed = librosa.mu_compress(samples, mu=255, quantize=False)
    np.testing.assert_allclose(levels, (compressed + 1) / 2 * 255, atol=0.5 + 1e-4)
    values = quantize.decode(QuantizationConfig(), np.arange(256)).numpy()
    expanded = librosa.mu_expand(np.linspace(-1, 1, 256), mu=255, quantize=False)
    np.testing.assert_allclose(values, expanded, atol=1e-6)


@pytest.mark.parametrize("kind", ["mu_law", "linear"])
def test_eager_and_graph_agree(kind):
    quantization = QuantizationConfig(kind=kind)
    samples = np.random.default_rng(1).uniform(-1, 1, 1000).astype(np.float32)
    graph = tf.function(lambda x: quantize.encode(quantization, x))
    np.testing.assert_array_equal(graph(samples), quantize.encode(quantization, samples))


@pytest.mark.parametrize("levels", [1, 0, 65537, 2.5])
def test_an_invalid_number_of_levels_is_an_error(levels):
    with pytest.raises(config.ConfigError, match="levels"):
        config.build(QuantizationConfig, {"levels": levels})

"""The kernel is the network: it draws what the logits of the whole sequence say, in any pieces."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, Vocoder, VocoderConfig
from tfvoice.tts.vocoder import kernel, synthesis

CONFIG = VocoderConfig(layers=4, residual=8, skip=12, conditioner=4)
LEVELS, FRAMES, SAMPLED = 16, 3, 40


@pytest.fixture(scope="module")
def model():
    model = Vocoder(CONFIG, 5, LEVELS)
    model.build(None)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.4, weight.shape))
    return model


def run(model, biases, noise, pieces, temperature=1.0):
    levels = np.random.default_rng(4).integers(0, LEVELS, 2 + FRAMES * FRAME_SAMPLES).astype(np.int32)
    dilations = np.array(CONFIG.dilations)
    memory, places = np.zeros([dilations.sum(), CONFIG.residual], np.float32), np.zeros(CONFIG.layers, np.int64)
    for start, end in pieces:
        kernel.advance(
            levels, start, end, SAMPLED, noise[start:end], np.float32(1 / temperature), biases, FRAME_SAMPLES,
            *synthesis.weights(model), dilations, memory, places,
        )  # fmt: skip
    return levels


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_every_draw_is_that_of_the_logits_of_the_whole_sequence(model, temperature):
    samples = FRAMES * FRAME_SAMPLES
    biases = np.random.default_rng(1).normal(size=(FRAMES, 4, 16)).astype(np.float32)
    noise = np.random.default_rng(2).random(samples, np.float32)
    levels = run(model, biases + model.wavenet.gate_biases.numpy(), noise, [(0, samples)], temperature)
    logits = model(tf.constant(levels[np.newaxis]), tf.constant(biases[np.newaxis]))[0].numpy().astype(np.float64)
    shares = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
    cumulative = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
    for sample in range(SAMPLED, samples):
        level, low = levels[2 + sample], 0.0
        low = cumulative[sample, level - 1] if level else 0.0
        assert low - 1e-4 <= noise[sample] <= cumulative[sample, level] + 1e-4
    given = np.random.default_rng(4).integers(0, LEVELS, 2 + samples)
    np.testing.assert_array_equal(levels[: 2 + SAMPLED], given[: 2 + SAMPLED])
    assert len(set(levels[2 + SAMPLED :].tolist())) > 4


def test_in_pieces_it_gives_the_same(model):
    samples = FRAMES * FRAME_SAMPLES
    biases = np.random.default_rng(1).normal(size=(FRAMES, 4, 16)).astype(np.float32)
    noise = np.random.default_rng(2).random(samples, np.float32)
    whole = run(model, biases, noise, [(0, samples)])
    np.testing.assert_array_equal(run(model, biases, noise, [(0, 7), (7, 64), (64, 65), (65, samples)]), whole)


def test_the_functions_of_the_gates_are_as_exact_as_float32():
    x = np.linspace(-20, 20, 20_001).astype(np.float32)
    found = np.array([kernel.tanh(value) for value in x])
    assert np.abs(found - np.tanh(x.astype(np.float64))).max() < 1e-6
    x = np.linspace(-80, 0, 20_001).astype(np.float32)
    found, expected = np.array([kernel.exp(value) for value in x]), np.exp(x.astype(np.float64))
    assert np.abs(found / expected - 1).max() < 1e-5
    assert kernel.exp(np.float32(-1e9)) < 2e-38 and kernel.exp(np.float32(0)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 4, 6, 8])
def test_a_product_of_any_size_is_added(rows):
    random = np.random.default_rng(rows)
    inputs, weights = random.normal(size=rows).astype(np.float32), random.normal(size=(rows, 5)).astype(np.float32)
    sums = np.ones(5, np.float32)
    kernel.add_product(inputs, weights, sums)
    np.testing.assert_allclose(sums, 1 + inputs @ weights, rtol=1e-5)


def test_a_draw_at_the_ends_of_the_distribution_is_possible():
    logits = np.array([-100.0, 0.0, 1.0, -100.0], np.float32)
    assert kernel.draw(logits.copy(), np.float32(1), np.float32(0)) == 1
    assert kernel.draw(logits.copy(), np.float32(1), np.float32(1)) == 2

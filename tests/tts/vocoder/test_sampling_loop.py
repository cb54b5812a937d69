"""Sampling in a graph: step by step it is the network, and it draws what the logits and the random numbers say."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, Vocoder, VocoderConfig
from tfvoice.tts.vocoder import sampling_loop, synthesis

CONFIG = VocoderConfig(layers=11, residual=4, skip=6, conditioner=4)
LEVELS, FRAMES = 16, 70


@pytest.fixture(scope="module")
def net():
    model = Vocoder(CONFIG, 5, LEVELS)
    model.build(None)
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.4, weight.shape))
    return model.wavenet


@pytest.fixture(scope="module")
def biases():
    return tf.constant(np.random.default_rng(1).normal(size=(FRAMES, CONFIG.layers, 8)), tf.float32)


def sample(net, biases, first, start, seed=3):
    run = tf.function(lambda seed: sampling_loop.sample_levels(net, 8, biases, first, start, 0.8, seed))
    return run(tf.constant(seed)).numpy()


def test_step_by_step_the_logits_are_those_of_the_whole_sequence(net, biases):
    frames = 20
    levels = np.random.default_rng(2).integers(0, LEVELS, 2 + frames * FRAME_SAMPLES).astype(np.int32)
    whole = net(tf.constant(levels[np.newaxis, :-1]), biases[np.newaxis, :frames])[0]
    step, dilations = tf.function(net.step), CONFIG.dilations
    inputs = np.zeros([frames * FRAME_SAMPLES, CONFIG.layers, CONFIG.residual], np.float32)
    for number in range(frames * FRAME_SAMPLES):
        past = [
            inputs[number - dilation, layer] if dilation <= number else np.zeros(CONFIG.residual, np.float32)
            for layer, dilation in enumerate(dilations)
        ]
        logits, inputs[number] = step(
            tf.constant(levels[number : number + 2]), biases[number // FRAME_SAMPLES], tf.constant(np.stack(past))
        )
        np.testing.assert_allclose(logits, whole[number], atol=1e-4)


def test_each_draw_is_that_of_the_logits_of_the_whole_sequence(net, biases):
    drawn, before = sample(net, biases, 1, 2), np.full(2 + FRAME_SAMPLES, 8, np.int32)
    levels = np.concatenate([before, drawn])
    logits = net(tf.constant(levels[np.newaxis, :-1]), biases[np.newaxis, 1:])[0].numpy().astype(np.float64) / 0.8
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    cumulative = np.pad(np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1), [(0, 0), (1, 0)])
    noise = synthesis.uniform_noise(3, 2 * FRAME_SAMPLES, FRAMES * FRAME_SAMPLES)
    rows = np.arange(FRAME_SAMPLES, len(cumulative))
    assert len(drawn) == (FRAMES - 2) * FRAME_SAMPLES == len(rows) and len(set(drawn.tolist())) > 4
    assert (cumulative[rows, drawn] - 1e-4 <= noise).all()
    assert (noise <= cumulative[rows, drawn + 1] + 1e-4).all()


def test_a_seed_gives_the_same_samples_and_another_one_others(net, biases):
    short = biases[:8]
    one = sample(net, short, 0, 1)
    np.testing.assert_array_equal(one, sample(net, short, 0, 1))
    assert (one != sample(net, short, 0, 1, seed=4)).any()

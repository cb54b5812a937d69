"""The sampling loop: frequencies of levels, random numbers by key, and the graph equal to the sampler."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.generation import sampling_loop
from tfvoice.generation.sample import Sampler, SamplingOptions


def test_the_graph_samples_what_the_sampler_samples(generator_run):
    sampler = Sampler(generator_run)
    waves = sampler.sample(3, 4200, SamplingOptions((0.8,), seed=5))
    graph = tf.function(lambda *inputs: sampling_loop.sample_levels(generator_run.model, 16, *inputs))
    inputs = (tf.constant(value) for value in (3, 4200, 0.8, 5))
    levels = graph(*inputs).numpy()
    # A random number that is equal to a cumulative probability but for rounding gives either level, and the sequences
    # diverge from there.
    same = levels == quantize.encode(sampler.quantization, waves).numpy()
    assert same.shape == (3, 4200) and same[:, :500].all() and len(np.unique(levels)) > 8


def test_frequencies_of_levels_are_their_probabilities():
    logits = np.array([0.0, 1.0, -1.0, 2.0], np.float32)
    uniform = (np.arange(20_000) + 0.5) / 20_000
    levels = sampling_loop.sample_categorical(
        tf.constant(np.tile(logits, (20_000, 1))), tf.constant(uniform, tf.float32)
    ).numpy()
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(levels, minlength=4) / 20_000, expected, atol=2e-4)


@pytest.mark.parametrize("count", [2, 7, 24, 256])
def test_levels_invert_the_cumulative_distribution(count):
    random = np.random.default_rng(count)
    logits = random.normal(0, 2, [500, count]).astype(np.float32)
    uniform = random.uniform(size=500).astype(np.float32)
    probabilities = np.exp(logits.astype(np.float64))
    cumulative = np.cumsum(probabilities / probabilities.sum(axis=1, keepdims=True), axis=1)
    expected = (cumulative <= uniform[:, np.newaxis]).sum(axis=1)
    levels = sampling_loop.sample_categorical(tf.constant(logits), tf.constant(uniform)).numpy()
    assert (levels == expected).mean() > 0.995


@pytest.mark.parametrize("top_p, nucleus", [(0.5, {3}), (0.7, {1, 3}), (0.95, {0, 1, 3}), (1e-9, {3})])
def test_the_nucleus_is_the_smallest_set_of_that_probability(top_p, nucleus):
    logits = tf.constant(np.tile(np.array([0.0, 1.0, -1.0, 2.0], np.float32), (1000, 1)))
    uniform = tf.constant(np.linspace(0, 1, 1000), tf.float32)
    assert set(sampling_loop.sample_categorical(logits, uniform, top_p).numpy().tolist()) == nucleus


def test_random_numbers_of_0_and_1_give_possible_levels():
    logits = tf.constant([[-1e9, 0.0, 0.0, -1e9]] * 2)
    assert sampling_loop.sample_categorical(logits, tf.constant([0.0, 1.0])).numpy().tolist() == [1, 2]


def test_random_numbers_depend_on_seed_sequence_and_block_alone():
    noise = {
        (seed, sequence, block): sampling_loop.uniform_noise(64, seed, [sequence], block).numpy().tobytes()
        for seed in range(3)
        for sequence in range(3)
        for block in range(3)
    }
    assert len(set(noise.values())) == 27
    together = tf.function(sampling_loop.uniform_noise)(64, tf.constant(2), tf.range(3), tf.constant(1)).numpy()
    for sequence in range(3):
        assert together[:, sequence].tobytes() == noise[2, sequence, 1]
    np.testing.assert_array_equal(sampling_loop.uniform_noise(64, 2, range(3), 1), together)

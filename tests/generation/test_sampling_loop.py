"""The loop that draws: levels as often as they are likely, and in a graph what `sampling` draws."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.generation import sampling_loop
from tfvoice.generation.sample import Draw, Sampler


def test_a_graph_draws_what_the_sampler_draws(generator_run):
    sampler = Sampler(generator_run)
    waves = sampler.collect(3, 4200, Draw((0.8,), seed=5))
    graph = tf.function(lambda *given: sampling_loop.levels(generator_run.model, 16, *given))
    given = (tf.constant(value) for value in (3, 4200, 0.8, 5))
    found = graph(*given).numpy()
    # Where a random number falls between two levels to the last bit, rounding decides, and what follows is another.
    same = found == quantize.encode(sampler.quantization, waves).numpy()
    assert same.shape == (3, 4200) and same[:, :500].all() and len(np.unique(found)) > 8


def test_levels_come_as_often_as_they_are_likely():
    logits = np.array([0.0, 1.0, -1.0, 2.0], np.float32)
    uniform = (np.arange(20_000) + 0.5) / 20_000
    drawn = sampling_loop.choose(tf.constant(np.tile(logits, (20_000, 1))), tf.constant(uniform, tf.float32)).numpy()
    wanted = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, wanted, atol=2e-4)


@pytest.mark.parametrize("count", [2, 7, 24, 256])
def test_levels_beyond_a_sum_are_those_of_the_cumulative_distribution(count):
    random = np.random.default_rng(count)
    logits = random.normal(0, 2, [500, count]).astype(np.float32)
    uniform = random.uniform(size=500).astype(np.float32)
    shares = np.exp(logits.astype(np.float64))
    cumulative = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
    wanted = (cumulative <= uniform[:, np.newaxis]).sum(axis=1)
    assert (sampling_loop.choose(tf.constant(logits), tf.constant(uniform)).numpy() == wanted).mean() > 0.995


@pytest.mark.parametrize("top_p, left", [(0.5, {3}), (0.7, {1, 3}), (0.95, {0, 1, 3}), (1e-9, {3})])
def test_the_nucleus_is_the_fewest_levels_of_that_share(top_p, left):
    logits = tf.constant(np.tile(np.array([0.0, 1.0, -1.0, 2.0], np.float32), (1000, 1)))
    uniform = tf.constant(np.linspace(0, 1, 1000), tf.float32)
    assert set(sampling_loop.choose(logits, uniform, top_p).numpy().tolist()) == left


def test_ends_of_the_random_numbers_give_levels_that_can_be():
    logits = tf.constant([[-1e9, 0.0, 0.0, -1e9]] * 2)
    assert sampling_loop.choose(logits, tf.constant([0.0, 1.0])).numpy().tolist() == [1, 2]

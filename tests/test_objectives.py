"""Bits are those of the logits, over what counts."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import objectives


def test_bits_are_those_of_the_softmax_over_what_counts():
    random = np.random.default_rng(0)
    logits = random.standard_normal((3, 5, 7))
    levels = random.integers(0, 7, (3, 5))
    found = objectives.bits(tf.constant(logits, tf.float32), tf.constant(levels, tf.int32), tf.constant([5, 2, 0]))
    logs = np.log2(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    each = -np.take_along_axis(logs, levels[..., None], -1)[..., 0]
    np.testing.assert_allclose(found, [each[0].sum(), each[1, :2].sum(), 0], rtol=1e-5)


def test_knowing_nothing_costs_the_bits_of_the_levels():
    found = objectives.bits(tf.zeros([1, 4, 256]), tf.constant([[0, 9, 255, 3]]), tf.constant([4]))
    assert float(found[0]) == pytest.approx(32.0)

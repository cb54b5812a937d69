"""Dropout masks: a function of the key, different for every layer and step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import keys
from tfvoice.layers.dropout import dropout

ONES = tf.ones([50, 40])


def mask(key, layer, rate=0.5):
    return dropout(ONES, rate, key, layer).numpy() > 0


def test_a_share_of_the_values_is_zeroed_and_the_others_are_scaled():
    outputs = dropout(ONES, 0.2, keys.from_seed(1), 0).numpy()
    assert set(np.unique(outputs)) == {0, np.float32(1.25)}
    assert (outputs == 0).mean() == pytest.approx(0.2, abs=0.03)
    assert outputs.mean() == pytest.approx(1, abs=0.04)


def test_the_mask_is_a_function_of_key_and_layer():
    key = keys.from_seed(3)
    np.testing.assert_array_equal(mask(key, 2), mask(key, 2))
    np.testing.assert_array_equal(mask(key, 2), tf.function(mask_in_graph)(key) > 0)


def mask_in_graph(key):
    return dropout(ONES, 0.5, key, 2)


def test_masks_of_neighbouring_layers_and_epochs_differ():
    """Keys that were sums gave layer i + 1 the mask that layer i had an epoch later."""
    masks = {
        (epoch, position, layer): mask(tf.constant([epoch, position]), layer)
        for epoch in range(3)
        for position in range(3)
        for layer in range(4)
    }
    assert len({values.tobytes() for values in masks.values()}) == len(masks)
    # Half of two independent masks agree; equal or complementary ones are far from it.
    first = masks.pop((0, 0, 0))
    assert all(0.45 < (first == other).mean() < 0.55 for other in masks.values())


def test_without_a_key_the_global_generator_decides():
    keras.utils.set_random_seed(5)
    first, second = mask(None, 0), mask(None, 0)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(mask(None, 0), first)
    assert (first != second).any()
    compiled = tf.function(lambda: dropout(ONES, 0.5, None, 0))
    assert (compiled() != compiled()).numpy().any(), "a mask for each call, not for each trace"


def test_a_rate_of_zero_needs_no_key():
    assert dropout(ONES, 0.0, None, 0) is ONES

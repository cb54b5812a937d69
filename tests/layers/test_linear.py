"""Weight normalisation: nothing at the start, the equations of the paper, and gradients of finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers.linear import Linear, affine

INPUTS = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def made(**options):
    layer = Linear(5, **options)
    layer(INPUTS)
    return layer


def test_it_is_a_product_and_a_sum():
    layer = made()
    layer.bias.assign(np.arange(5.0))
    wanted = INPUTS.astype(np.float64) @ np.array(layer.kernel, np.float64) + np.arange(5)
    np.testing.assert_allclose(layer(INPUTS), wanted, atol=1e-6)
    np.testing.assert_allclose(layer(INPUTS[0]), wanted[0], atol=1e-6)


def test_only_the_product_is_made_in_another_type():
    matrix, bias = tf.constant(np.eye(4), tf.float32), tf.constant([1e-4] * 4)
    found = affine(tf.constant(INPUTS), matrix, bias, "bfloat16")
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, tf.cast(tf.cast(INPUTS, tf.bfloat16), tf.float32) + bias)


def test_weights():
    assert [tuple(weight.shape) for weight in made().weights] == [(4, 5), (5,)]
    assert [tuple(weight.shape) for weight in made(weight_norm=True, use_bias=False).weights] == [(4, 5), (5,)]


@pytest.mark.parametrize("initializer", ["lecun_uniform", "he_normal", "orthogonal"])
def test_normalisation_changes_nothing_at_the_start(initializer):
    layer = made(weight_norm=True, initializer=initializer)
    np.testing.assert_allclose(layer.matrix(), layer.kernel, rtol=1e-6)
    np.testing.assert_allclose(layer.gain, np.linalg.norm(layer.kernel, axis=0), rtol=1e-6)


def test_the_gain_is_the_length_and_the_matrix_only_a_direction():
    layer = made(weight_norm=True)
    layer.kernel.assign(7 * np.array(layer.kernel))
    layer.gain.assign([1, 2, 3, 4, 5])
    np.testing.assert_allclose(np.linalg.norm(layer.matrix(), axis=0), [1, 2, 3, 4, 5], rtol=1e-6)


def test_gradients_are_those_of_differentiating_the_equation():
    layer = made(weight_norm=True)
    layer.gain.assign([1, 2, 3, 4, 5])
    upstream = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    kernel, gain = tf.convert_to_tensor(layer.kernel), tf.convert_to_tensor(layer.gain)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.matrix() * upstream)
    mine = tape.gradient(loss, [layer.kernel.value, layer.gain.value])
    with tf.GradientTape() as tape:
        tape.watch([kernel, gain])
        loss = tf.reduce_sum(kernel * gain / tf.norm(kernel, axis=0) * upstream)
    for one, other in zip(mine, tape.gradient(loss, [kernel, gain]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_column_of_zeros_stays_one():
    layer = made(weight_norm=True, initializer="zeros")
    assert not np.any(layer(INPUTS))

"""Dense layers: products in the compute dtype, and weight normalisation as in the paper."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers.linear import Linear, affine

INPUTS = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def built(**options):
    layer = Linear(5, **options)
    layer(INPUTS)
    return layer


def test_the_output_is_a_product_and_a_sum():
    layer = built()
    layer.bias.assign(np.arange(5.0))
    expected = INPUTS.astype(np.float64) @ np.array(layer.kernel, np.float64) + np.arange(5)
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-6)
    np.testing.assert_allclose(layer(INPUTS[0]), expected[0], atol=1e-6)


def test_only_the_product_is_in_the_compute_dtype():
    matrix, bias = tf.constant(np.eye(4), tf.float32), tf.constant([1e-4] * 4)
    outputs = affine(tf.constant(INPUTS), matrix, bias, "bfloat16")
    assert outputs.dtype == tf.float32
    np.testing.assert_array_equal(outputs, tf.cast(tf.cast(INPUTS, tf.bfloat16), tf.float32) + bias)


def test_weights_have_the_documented_shapes():
    assert [tuple(weight.shape) for weight in built().weights] == [(4, 5), (5,)]
    assert [tuple(weight.shape) for weight in built(weight_norm=True, use_bias=False).weights] == [(4, 5), (5,)]


@pytest.mark.parametrize("initializer", ["lecun_uniform", "he_normal", "orthogonal"])
def test_weight_normalisation_does_not_change_the_initial_map(initializer):
    layer = built(weight_norm=True, initializer=initializer)
    np.testing.assert_allclose(layer.effective_kernel(), layer.kernel, rtol=1e-6)
    np.testing.assert_allclose(layer.gain, np.linalg.norm(layer.kernel, axis=0), rtol=1e-6)


def test_the_gain_is_the_norm_of_a_column_whatever_that_of_the_kernel():
    layer = built(weight_norm=True)
    layer.kernel.assign(7 * np.array(layer.kernel))
    layer.gain.assign([1, 2, 3, 4, 5])
    np.testing.assert_allclose(np.linalg.norm(layer.effective_kernel(), axis=0), [1, 2, 3, 4, 5], rtol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_equal_automatic_differentiation_of_the_equation(training):
    layer = built(weight_norm=True)
    layer.gain.assign([1, 2, 3, 4, 5])
    upstream = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    kernel, gain = tf.convert_to_tensor(layer.kernel), tf.convert_to_tensor(layer.gain)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.effective_kernel(training) * upstream)
    gradients = tape.gradient(loss, [layer.kernel.value, layer.gain.value])
    with tf.GradientTape() as tape:
        tape.watch([kernel, gain])
        loss = tf.reduce_sum(kernel * gain / tf.norm(kernel, axis=0) * upstream)
    for actual, desired in zip(gradients, tape.gradient(loss, [kernel, gain]), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=1e-4, atol=1e-5)


def test_a_column_of_zeros_stays_zero():
    layer = built(weight_norm=True, initializer="zeros")
    assert not np.any(layer(INPUTS))


def test_a_mixed_policy_rounds_the_product_and_not_the_bias():
    exact, mixed = built(dtype="float32"), built(dtype="mixed_bfloat16")
    mixed.kernel.assign(exact.kernel)
    product = mixed(INPUTS)
    assert product.dtype == tf.float32 and mixed.kernel.dtype == "float32"
    assert 0 < np.abs(product - exact(INPUTS)).max() < 0.1
    mixed.bias.assign(np.full(5, 1 + 2**-20))
    np.testing.assert_array_equal(mixed(INPUTS), product + np.float32(1 + 2**-20))

"""Convolution and batch normalisation over time: equal to NumPy, and padding counts only where it is meant to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import lengths
from tfvoice.layers import convolution
from tfvoice.layers.convolution import BatchNormalization, Convolution1D, Convolution2D

LENGTHS = np.array([9, 4, 0], np.int32)


def values(shape=(3, 9, 5), seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolve(inputs, kernel, stride, dilation):
    """The sum over taps, tap by tap, in float64."""
    taps, _, filters = kernel.shape
    batch, time, _ = inputs.shape
    outputs = np.zeros([batch, -(-time // stride), filters])
    for position in range(outputs.shape[1]):
        for tap in range(taps):
            source = position * stride + (tap - taps // 2) * dilation
            if 0 <= source < time:
                outputs[:, position] += inputs[:, source].astype(np.float64) @ kernel[tap]
    return outputs


@pytest.mark.parametrize("time", [1, 8, 13])
@pytest.mark.parametrize(("taps", "stride", "dilation"), [(1, 1, 1), (7, 1, 4), (5, 2, 1), (5, 3, 1), (3, 2, 3)])
def test_convolution_1d_equals_the_sum_over_taps(taps, stride, dilation, time):
    layer = Convolution1D(4, taps, stride, dilation, use_bias=True)
    inputs = values([2, time, 5])
    layer.build(inputs.shape)
    layer.bias.assign([1.0, 2.0, 3.0, 4.0])
    expected = convolve(inputs, layer.kernel.numpy(), stride, dilation) + np.arange(1, 5)
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 4), (3, 1), (2, 2)])
def test_gradients_of_convolution_1d_are_its_transpose(stride, dilation):
    """<conv(x), y> is linear in x and in the kernel, so each gradient gives the product back."""
    layer, inputs = Convolution1D(4, 5, stride, dilation), tf.constant(values())
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        product = tf.reduce_sum(outputs * values(outputs.shape, seed=1))
    by_inputs, by_kernel = tape.gradient(product, [inputs, layer.kernel.value])
    np.testing.assert_allclose(tf.reduce_sum(by_inputs * inputs), product, rtol=1e-4)
    np.testing.assert_allclose(tf.reduce_sum(by_kernel * layer.kernel.value), product, rtol=1e-4)


@pytest.mark.parametrize("time", [1, 8, 13])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 4), (2, 3)])
def test_dilation_without_a_dilated_kernel_gives_the_same_outputs_and_gradients(monkeypatch, stride, dilation, time):
    layer, inputs = Convolution1D(4, 5, stride, dilation), tf.constant(values([2, time, 5]))

    def outputs_and_gradients():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(tf.square(outputs))
        return [outputs, *tape.gradient(loss, [inputs, layer.kernel.value])]

    expected = outputs_and_gradients()
    monkeypatch.setattr(convolution, "_has_dilated_gradient", lambda dtype: False)
    for actual, desired in zip(outputs_and_gradients(), expected, strict=True):
        assert actual.shape == desired.shape
        np.testing.assert_allclose(actual, desired, atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_exist_for_every_dtype_policy(policy):
    layer = Convolution1D(4, 5, dilation=2, dtype=policy)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 5])])
    def gradient(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        return tape.gradient(loss, layer.kernel.value)

    layer.build((None, None, 5))
    result = gradient(values())
    assert result.shape == (5, 5, 4) and np.isfinite(result).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_trailing_zeros_do_not_change_the_frames_before_them(stride):
    layer, inputs = Convolution1D(4, 5, stride), values([1, 10, 5])
    alone = layer(inputs).numpy()
    for more in range(1, 8):
        padded = layer(np.pad(inputs, [(0, 0), (0, more), (0, 0)]))
        assert padded.shape[1] == -(-(10 + more) // stride)
        np.testing.assert_allclose(padded[:, : alone.shape[1]], alone, atol=1e-6)


@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 2**-7), ("mixed_float16", 2**-10)])
def test_a_mixed_policy_rounds_products_and_keeps_weights_and_outputs_float32(policy, error):
    exact, mixed = Convolution1D(8, 5, use_bias=True), Convolution1D(8, 5, use_bias=True, dtype=policy)
    inputs = values([2, 50, 64])
    expected = exact(inputs).numpy()
    mixed.build(inputs.shape)
    mixed.kernel.assign(exact.kernel)
    outputs = mixed(inputs)
    assert outputs.dtype == tf.float32 and mixed.kernel.dtype == "float32"
    assert 0 < np.abs(outputs - expected).max() < 4 * error * np.abs(expected).max()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(mixed(inputs))
    assert tape.gradient(loss, mixed.kernel.value).dtype == tf.float32
    # A bias that bfloat16 and float16 cannot represent is added exactly.
    mixed.bias.assign(np.full(8, 1 + 2**-20))
    np.testing.assert_array_equal(mixed(inputs), outputs + np.float32(1 + 2**-20))


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("taps", "strides", "time"), [((3, 5), (2, 2), 8), ((3, 5), (1, 2), 7), ((1, 3), (1, 1), 3)])
def test_convolution_2d_equals_the_sum_over_taps(taps, strides, time, padded):
    inputs = values((2, time, 9, 3))
    layer = Convolution2D(4, taps, strides, padded)
    outputs = layer(inputs).numpy()
    layer.bias.assign(values((4,), 2))
    kernel, padding = layer.kernel.numpy().astype(np.float64), [size // 2 if padded else 0 for size in taps]
    extended = np.pad(inputs.astype(np.float64), [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)])
    steps = [range(0, extended.shape[axis + 1] - taps[axis] + 1, strides[axis]) for axis in range(2)]
    expected = np.stack(
        [
            [np.einsum("btfc,tfcd->bd", extended[:, t : t + taps[0], f : f + taps[1]], kernel) for f in steps[1]]
            for t in steps[0]
        ]
    ).transpose(2, 0, 1, 3)
    assert outputs.shape == expected.shape and (not padded or outputs.shape[1] == -(-time // strides[0]))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(layer(inputs), expected + layer.bias.numpy(), atol=1e-5)


def normalise(inputs, gamma, beta, mean, variance, epsilon):
    return gamma * (inputs - mean) / np.sqrt(variance + epsilon) + beta


def valid_mask():
    return lengths.mask(tf.constant(LENGTHS), 9)


def layer_with_values(epsilon=1e-3):
    layer = BatchNormalization(momentum=0.9, epsilon=epsilon)
    layer.build((None, None, 5))
    for number, weight in enumerate(layer.weights):
        weight.assign(np.abs(values([5], seed=number)) + 0.5)
    return layer, [weight.numpy().astype(np.float64) for weight in layer.weights]


@pytest.mark.parametrize("masked", [True, False])
def test_training_uses_the_moments_of_the_valid_frames_and_updates_the_moving_ones(masked):
    layer, (gamma, beta, moving_mean, moving_variance) = layer_with_values()
    inputs = values() * 3 + 1
    counted = inputs[valid_mask().numpy()[..., 0] > 0] if masked else inputs.reshape(-1, 5)
    mean, variance = counted.astype(np.float64).mean(0), counted.astype(np.float64).var(0)
    outputs = layer(inputs, valid=valid_mask() if masked else None, training=True)
    np.testing.assert_allclose(outputs, normalise(inputs, gamma, beta, mean, variance, 1e-3), atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * moving_mean + 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * moving_variance + 0.1 * variance, atol=1e-5)


def test_inference_uses_the_moving_statistics_and_does_not_update_them():
    layer, (gamma, beta, mean, variance) = layer_with_values()
    inputs = values()
    outputs = layer(inputs, valid=valid_mask(), training=False)
    np.testing.assert_allclose(outputs, normalise(inputs, gamma, beta, mean, variance, 1e-3), atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, mean.astype(np.float32))
    np.testing.assert_array_equal(layer.moving_variance, variance.astype(np.float32))


def test_padding_does_not_change_masked_moments():
    inputs, valid = values(), valid_mask()
    first, second = layer_with_values()[0], layer_with_values()[0]
    outputs = first(inputs, valid=valid, training=True)
    noisy = np.where(valid > 0, inputs, 1e3)
    noisy_outputs = second(noisy, valid=valid, training=True)
    np.testing.assert_array_equal(outputs * valid, noisy_outputs * valid)
    longer = BatchNormalization(0.9, 1e-3)
    longer.build((None, None, 5))
    for target, source in zip(longer.weights, layer_with_values()[0].weights, strict=True):
        target.assign(source)
    padded = longer(
        np.pad(inputs, [(0, 2), (0, 7), (0, 0)]), lengths.mask(tf.constant([*LENGTHS, 0, 0]), 16), training=True
    )
    np.testing.assert_allclose(padded[:3, :9] * valid, outputs * valid, atol=1e-5)
    for actual, desired in zip(longer.weights, first.weights, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-6)


def test_a_batch_without_valid_frames_does_not_update_the_moving_statistics():
    """A replica gets one if the last batch of an epoch has fewer utterances than there are replicas."""
    layer, before = layer_with_values()
    outputs = layer(values(), valid=tf.zeros([3, 9, 1]), training=True)
    assert np.isfinite(outputs).all()
    for weight, previous in zip(layer.weights, before, strict=True):
        np.testing.assert_allclose(weight, previous, rtol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_the_gradient_of_batch_normalisation_equals_finite_differences(masked):
    layer, (gamma, beta, *_) = layer_with_values()
    valid = valid_mask().numpy() if masked else np.ones([3, 9, 1])
    inputs, weights = values(), values(seed=5) * valid

    def loss_of(inputs):
        count = valid.sum()
        mean = (inputs * valid).sum((0, 1)) / count
        variance = (np.square(inputs - mean) * valid).sum((0, 1)) / count
        return (normalise(inputs, gamma, beta, mean, variance, 1e-3) * weights).sum()

    tensor = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = tf.reduce_sum(layer(tensor, valid=tf.constant(valid) if masked else None, training=True) * weights)
    gradient = tape.gradient(loss, tensor).numpy()
    expected = np.zeros_like(inputs, np.float64)
    for index in np.ndindex(*inputs.shape):
        step = np.zeros_like(expected)
        step[index] = 1e-5
        expected[index] = (loss_of(inputs + step) - loss_of(inputs - step)) / 2e-5
    np.testing.assert_allclose(gradient, expected, atol=1e-4)
    assert not masked or (gradient[valid[..., 0] == 0] == 0).all()


@pytest.fixture
def global_policy():
    """Sets the global dtype policy to mixed_bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def test_the_default_policy_is_the_global_one(global_policy):
    inputs = values()
    layer, exact = Convolution1D(4, 3), Convolution1D(4, 3, dtype="float32")
    assert (layer.compute_dtype, exact.compute_dtype) == ("bfloat16", "float32")
    outputs = layer(inputs)
    exact.build(inputs.shape)
    exact.kernel.assign(layer.kernel)
    assert outputs.dtype == exact(inputs).dtype == tf.float32 and layer.kernel.dtype == "float32"
    assert 0 < np.abs(outputs - exact(inputs)).max() < 0.1


def test_batch_normalisation_is_float32_under_any_global_policy(global_policy):
    layer = BatchNormalization()
    outputs = layer(tf.constant(values()), training=True)
    assert layer.compute_dtype == "float32" and {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(outputs, BatchNormalization()(values(), training=True), atol=0)
    assert outputs.dtype == tf.float32

"""Laws of convolution and normalisation over time: equal to NumPy, and padding counts only where it is told to."""

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


def convolved(inputs, kernel, stride, dilation):
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
def test_a_convolution_is_a_sum_over_taps(taps, stride, dilation, time):
    layer = Convolution1D(4, taps, stride, dilation, use_bias=True)
    inputs = values([2, time, 5])
    layer.build(inputs.shape)
    layer.bias.assign([1.0, 2.0, 3.0, 4.0])
    expected = convolved(inputs, layer.kernel.numpy(), stride, dilation) + np.arange(1, 5)
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 4), (3, 1), (2, 2)])
def test_a_convolution_is_trained_by_its_transpose(stride, dilation):
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
def test_where_no_kernel_has_a_dilated_gradient_the_result_is_the_same(monkeypatch, stride, dilation, time):
    layer, inputs = Convolution1D(4, 5, stride, dilation), tf.constant(values([2, time, 5]))

    def outputs_and_gradients():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(tf.square(outputs))
        return [outputs, *tape.gradient(loss, [inputs, layer.kernel.value])]

    expected = outputs_and_gradients()
    monkeypatch.setattr(convolution, "_has_dilated_gradient", lambda dtype: False)
    for one, other in zip(outputs_and_gradients(), expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("product_dtype", ["float32", "bfloat16", "float16"])
def test_every_product_type_can_be_trained(product_dtype):
    layer = Convolution1D(4, 5, dilation=2, product_dtype=product_dtype)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 5])])
    def gradient(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        return tape.gradient(loss, layer.kernel.value)

    layer.build((None, None, 5))
    found = gradient(values())
    assert found.shape == (5, 5, 4) and np.isfinite(found).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_zeros_after_the_end_change_nothing_before_it(stride):
    layer, inputs = Convolution1D(4, 5, stride), values([1, 10, 5])
    alone = layer(inputs).numpy()
    for more in range(1, 8):
        padded = layer(np.pad(inputs, [(0, 0), (0, more), (0, 0)]))
        assert padded.shape[1] == -(-(10 + more) // stride)
        np.testing.assert_allclose(padded[:, : alone.shape[1]], alone, atol=1e-6)


@pytest.mark.parametrize(("product_dtype", "error"), [("bfloat16", 2**-7), ("float16", 2**-10)])
def test_short_products_are_close_and_everything_else_is_float32(product_dtype, error):
    exact, short = Convolution1D(8, 5), Convolution1D(8, 5, product_dtype=product_dtype)
    inputs = values([2, 50, 64])
    wanted = exact(inputs).numpy()
    short.build(inputs.shape)
    short.kernel.assign(exact.kernel)
    found = short(inputs)
    assert found.dtype == tf.float32 and short.kernel.dtype == "float32"
    assert 0 < np.abs(found - wanted).max() < 4 * error * np.abs(wanted).max()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(short(inputs))
    assert tape.gradient(loss, short.kernel.value).dtype == tf.float32


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("taps", "strides", "time"), [((3, 5), (2, 2), 8), ((3, 5), (1, 2), 7), ((1, 3), (1, 1), 3)])
def test_a_convolution_over_time_and_frequency_is_a_sum_over_taps(taps, strides, time, padded):
    inputs = values((2, time, 9, 3))
    layer = Convolution2D(4, taps, strides, padded)
    found = layer(inputs).numpy()
    layer.bias.assign(values((4,), 2))
    kernel, reach = layer.kernel.numpy().astype(np.float64), [size // 2 if padded else 0 for size in taps]
    outside = np.pad(inputs.astype(np.float64), [(0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)])
    steps = [range(0, outside.shape[axis + 1] - taps[axis] + 1, strides[axis]) for axis in range(2)]
    expected = np.stack(
        [
            [np.einsum("btfc,tfcd->bd", outside[:, t : t + taps[0], f : f + taps[1]], kernel) for f in steps[1]]
            for t in steps[0]
        ]
    ).transpose(2, 0, 1, 3)
    assert found.shape == expected.shape and (not padded or found.shape[1] == -(-time // strides[0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(layer(inputs), expected + layer.bias.numpy(), atol=1e-5)


def normalised(inputs, gamma, beta, mean, variance, epsilon):
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
def test_training_uses_and_records_the_moments_of_what_counts(masked):
    layer, (gamma, beta, moving_mean, moving_variance) = layer_with_values()
    inputs = values() * 3 + 1
    counted = inputs[valid_mask().numpy()[..., 0] > 0] if masked else inputs.reshape(-1, 5)
    mean, variance = counted.astype(np.float64).mean(0), counted.astype(np.float64).var(0)
    found = layer(inputs, valid=valid_mask() if masked else None, training=True)
    np.testing.assert_allclose(found, normalised(inputs, gamma, beta, mean, variance, 1e-3), atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, 0.9 * moving_mean + 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * moving_variance + 0.1 * variance, atol=1e-5)


def test_inference_uses_the_moving_statistics_and_records_nothing():
    layer, (gamma, beta, mean, variance) = layer_with_values()
    inputs = values()
    found = layer(inputs, valid=valid_mask(), training=False)
    np.testing.assert_allclose(found, normalised(inputs, gamma, beta, mean, variance, 1e-3), atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, mean.astype(np.float32))
    np.testing.assert_array_equal(layer.moving_variance, variance.astype(np.float32))


def test_padding_has_no_part_in_masked_moments():
    inputs, valid = values(), valid_mask()
    first, second = layer_with_values()[0], layer_with_values()[0]
    one = first(inputs, valid=valid, training=True)
    noisy = np.where(valid > 0, inputs, 1e3)
    other = second(noisy, valid=valid, training=True)
    np.testing.assert_array_equal(one * valid, other * valid)
    longer = BatchNormalization(0.9, 1e-3)
    longer.build((None, None, 5))
    for mine, its in zip(longer.weights, layer_with_values()[0].weights, strict=True):
        mine.assign(its)
    padded = longer(
        np.pad(inputs, [(0, 2), (0, 7), (0, 0)]), lengths.mask(tf.constant([*LENGTHS, 0, 0]), 16), training=True
    )
    np.testing.assert_allclose(padded[:3, :9] * valid, one * valid, atol=1e-5)
    for mine, its in zip(longer.weights, first.weights, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


def test_a_batch_without_any_frame_is_not_recorded():
    """A replica gets one where the last batch of an epoch has fewer utterances than there are replicas."""
    layer, before = layer_with_values()
    found = layer(values(), valid=tf.zeros([3, 9, 1]), training=True)
    assert np.isfinite(found).all()
    for weight, kept in zip(layer.weights, before, strict=True):
        np.testing.assert_allclose(weight, kept, rtol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
def test_the_gradient_is_that_of_finite_differences(masked):
    layer, (gamma, beta, *_) = layer_with_values()
    valid = valid_mask().numpy() if masked else np.ones([3, 9, 1])
    inputs, weights = values(), values(seed=5) * valid

    def by_hand(inputs):
        count = valid.sum()
        mean = (inputs * valid).sum((0, 1)) / count
        variance = (np.square(inputs - mean) * valid).sum((0, 1)) / count
        return (normalised(inputs, gamma, beta, mean, variance, 1e-3) * weights).sum()

    tensor = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = tf.reduce_sum(layer(tensor, valid=tf.constant(valid) if masked else None, training=True) * weights)
    found = tape.gradient(loss, tensor).numpy()
    expected = np.zeros_like(inputs, np.float64)
    for place in np.ndindex(*inputs.shape):
        step = np.zeros_like(expected)
        step[place] = 1e-5
        expected[place] = (by_hand(inputs + step) - by_hand(inputs - step)) / 2e-5
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not masked or (found[valid[..., 0] == 0] == 0).all()


def test_both_layers_keep_float32_under_any_global_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        for layer in (Convolution1D(4, 3), BatchNormalization()):
            assert layer(values()).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy(before)

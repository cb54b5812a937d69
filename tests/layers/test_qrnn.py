"""Laws of quasi-recurrent layers: the equations, padding, directions, gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers.qrnn import Qrnn


@pytest.fixture(params=[False, True], ids=["forward", "backward"])
def layer(request):
    layer = Qrnn(5, request.param)
    layer.build((None, None, 3))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(random.normal(0, 0.7, weight.shape))
    return layer


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(2, 9, 3)).astype(np.float32)


def by_hand(layer, row):
    """The equations of the paper in float64, step by step."""
    kernel, bias = (np.asarray(weight, np.float64) for weight in layer.weights)
    steps = row[::-1] if layer.backward else row
    before, state, outputs = np.zeros(row.shape[1]), np.zeros(layer.units), []
    for step in steps.astype(np.float64):
        z, f, o = np.split(before @ kernel[0] + step @ kernel[1] + bias, 3)
        f, o = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
        state = f * state + (1 - f) * np.tanh(z)
        outputs.append(o * state)
        before = step
    return np.array(outputs[::-1] if layer.backward else outputs)


@pytest.mark.parametrize("loop", ["graph", "xla"])
def test_it_follows_the_equations_whatever_stands_in_the_padding(layer, inputs, loop):
    lengths = [9, 6]
    run = tf.function(lambda values: layer(values, tf.constant(lengths), loop=loop))
    found = run(tf.constant(inputs)).numpy()
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row, :length], by_hand(layer, inputs[row, :length]), atol=2e-6)
    assert not found[1, 6:].any()
    inputs[1, 6:] = 1e3
    np.testing.assert_array_equal(run(tf.constant(inputs)), found)


@pytest.mark.parametrize("loop", ["graph", "xla"])
def test_the_gradient_of_training_is_that_of_tensorflow(layer, inputs, loop):
    lengths = tf.constant([9, 6])
    weights = tf.constant(np.random.default_rng(2).normal(size=(2, 9, 5)), tf.float32)

    def gradients(training, loop):
        @tf.function
        def run(values):
            with tf.GradientTape() as tape:
                tape.watch(values)
                loss = tf.reduce_sum(weights * layer(values, lengths, loop=loop, training=training))
            return tape.gradient(loss, [values, *(weight.value for weight in layer.trainable_variables)])

        return run(tf.constant(inputs))

    for found, expected in zip(gradients(True, loop), gradients(False, "graph"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_row_without_steps_is_zero(layer, inputs):
    assert not layer(tf.constant(inputs), tf.constant([0, 0])).numpy().any()

"""Laws of the optimizers: equal to their equations in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice.training import optimizers

STEPS, RATE = 6, 0.01


def variables():
    random = np.random.default_rng(0)
    return [keras.Variable(random.standard_normal(shape), dtype="float32") for shape in ((3, 4, 5), (5,))]


def gradients(scale=1.0):
    random = np.random.default_rng(1)
    # The last steps have small gradients, so that the memory of larger ones shows.
    sizes = [1, 1, 0.1, 0.01, 0, 1e-6]
    return [[scale * size * random.standard_normal(shape) for shape in ((3, 4, 5), (5,))] for size in sizes]


def moved(optimizer, weights, scale=1.0):
    optimizer.learning_rate = RATE
    for step in gradients(scale):
        optimizer.apply([tf.constant(gradient, tf.float32) for gradient in step], weights)
    return [weight.numpy() for weight in weights]


def maxprop(scale=1.0):
    weights = variables()
    return moved(optimizers.build("maxprop", weights, 0.0), weights, scale)


def maxprop_in_numpy():
    found = []
    for number, weight in enumerate(np.float64(variable.numpy()) for variable in variables()):
        largest = np.zeros_like(weight)
        for step in gradients():
            largest = np.maximum(0.99 * largest + 1e-8, np.abs(step[number]))
            weight = weight - RATE * step[number] / largest
        found.append(weight)
    return found


def adamw_in_numpy(decays):
    found = []
    for number, weight in enumerate(np.float64(variable.numpy()) for variable in variables()):
        mean, square = np.zeros_like(weight), np.zeros_like(weight)
        for count, step in enumerate(gradients(), start=1):
            weight = weight - RATE * decays[number] * weight
            mean = 0.9 * mean + 0.1 * step[number]
            square = 0.999 * square + 0.001 * step[number] ** 2
            corrected = np.sqrt(square) / np.sqrt(1 - 0.999**count)
            weight = weight - RATE * mean / (1 - 0.9**count) / (corrected + 1e-7)
        found.append(weight)
    return found


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_maxprop_follows_its_equations():
    assert_close(maxprop(), maxprop_in_numpy())


def test_maxprop_does_not_depend_on_the_scale_of_the_loss():
    # At a scale of 100 the epsilon is small against the smallest gradient.
    assert_close(maxprop(100.0), maxprop(1e4))


def test_maxprop_never_moves_a_weight_by_more_than_the_learning_rate():
    before = [variable.numpy() for variable in variables()]
    for one, other in zip(maxprop(1e6), before, strict=True):
        assert np.abs(one - other).max() <= STEPS * RATE * (1 + 1e-5)


def test_adamw_follows_its_equations_and_decays_kernels_only():
    weights = variables()
    optimizer = optimizers.build("adamw", weights, 0.1)
    assert_close(moved(optimizer, weights), adamw_in_numpy(decays=[0.1, 0.0]))


@pytest.mark.parametrize("name", ["adamw", "maxprop"])
def test_a_compiled_step_equals_the_eager_one(name):
    eager, compiled = variables(), variables()
    moved(optimizers.build(name, eager, 0.1), eager)
    optimizer = optimizers.build(name, compiled, 0.1)
    optimizer.learning_rate = RATE
    step = tf.function(lambda values: optimizer.apply(values, compiled))
    for values in gradients():
        step([tf.constant(value, tf.float32) for value in values])
    assert_close([weight.numpy() for weight in compiled], [weight.numpy() for weight in eager])


@pytest.mark.parametrize("name", ["adamw", "maxprop"])
def test_all_state_exists_before_the_first_step(name):
    """A checkpoint can be restored into a new optimizer, which then continues exactly."""
    weights = variables()
    optimizer = optimizers.build(name, weights, 0.1)
    count = len(optimizer.variables)
    moved(optimizer, weights)
    assert len(optimizer.variables) == count

    other_weights = [keras.Variable(weight.numpy()) for weight in weights]
    other = optimizers.build(name, other_weights, 0.1)
    for mine, its in zip(other.variables, optimizer.variables, strict=True):
        mine.assign(its)
    for one, two in zip(moved(optimizer, weights), moved(other, other_weights), strict=True):
        np.testing.assert_array_equal(one, two)


def test_sgd_has_nesterov_momentum():
    weights = variables()
    found = moved(optimizers.build("sgd", weights, 0.0), weights)
    expected = []
    for number, weight in enumerate(np.float64(variable.numpy()) for variable in variables()):
        velocity = np.zeros_like(weight)
        for step in gradients():
            velocity = 0.9 * velocity - RATE * step[number]
            weight = weight + 0.9 * velocity - RATE * step[number]
        expected.append(weight)
    assert_close(found, expected)

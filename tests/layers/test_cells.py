"""The time loops against equations in NumPy float64, and their gradients against those of the equations."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers import cells

TIME, BATCH, UNITS = 6, 3, 4

each_cell = pytest.mark.parametrize("cell", list(cells.GATES))


@pytest.fixture
def given():
    """Projected inputs, recurrent kernel, bias and state of a cell, float32."""

    def given(cell):
        random = np.random.default_rng(0)
        gates = cells.GATES[cell] * UNITS
        shapes = (TIME, BATCH, gates), (UNITS, gates), (gates,), *[(BATCH, UNITS)] * cells.STATES[cell]
        projected, kernel, bias, *state = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
        return projected, kernel, bias if cell == "gru" else np.zeros_like(bias), state

    return given


def equations(cell, x, kernel, bias, state):
    """One step as the papers write it, in the type of its inputs."""
    h = state[0]
    if cell == "rnn":
        return [tf.tanh(x + h @ kernel)]
    if cell == "lstm":
        i, f, g, o = tf.split(x + h @ kernel, 4, axis=1)
        c = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(g)
        return [tf.sigmoid(o) * tf.tanh(c), c]
    after = h @ kernel + bias if cell == "gru" else h @ kernel
    (z_x, r_x, n_x), (z_h, r_h, n_h) = tf.split(x, 3, axis=1), tf.split(after, 3, axis=1)
    z, r = tf.sigmoid(z_x + z_h), tf.sigmoid(r_x + r_h)
    own = r * n_h if cell == "gru" else (r * h) @ kernel[:, 2 * UNITS :]
    return [z * h + (1 - z) * tf.tanh(n_x + own)]


def loop(cell, projected, kernel, bias, state):
    series = []
    for x in projected:
        state = equations(cell, x, kernel, bias, state)
        series.append(state)
    return [tf.stack(values) for values in zip(*series, strict=True)]


def doubled(values):
    return [tf.constant(value, tf.float64) for value in values]


@each_cell
@pytest.mark.parametrize("compiled", [False, True])
def test_states_and_gradients_are_those_of_the_equations(given, cell, compiled):
    projected, kernel, bias, state = given(cell)
    weights = [np.random.default_rng(5 + n).standard_normal((TIME, BATCH, UNITS)) for n in range(len(state))]

    @tf.function
    def mine(projected, kernel, bias, *state):
        with tf.GradientTape() as tape:
            tape.watch([projected, kernel, bias, *state])
            series = cells.run(cell, projected, kernel, list(state), bias, compiled)
            loss = sum(tf.reduce_sum(a * tf.cast(b, tf.float32)) for a, b in zip(series, weights, strict=True))
        return series, tape.gradient(loss, [projected, kernel, bias, *state])

    series, gradients = mine(*(tf.constant(value) for value in (projected, kernel, bias, *state)))
    projected, kernel, bias, *state = doubled([projected, kernel, bias, *state])
    with tf.GradientTape() as tape:
        tape.watch([projected, kernel, bias, *state])
        wanted = loop(cell, projected, kernel, bias, state)
        loss = sum(tf.reduce_sum(a * b) for a, b in zip(wanted, weights, strict=True))
    for one, other in zip(series, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    known = tape.gradient(loss, [projected, kernel, bias, *state], unconnected_gradients="zero")
    for one, other in zip(gradients, known, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@each_cell
def test_step_by_step_is_all_at_once(given, cell):
    projected, kernel, bias, state = given(cell)
    whole = cells.run(cell, tf.constant(projected), tf.constant(kernel), [tf.constant(s) for s in state], bias)
    for t in range(TIME):
        series = cells.run(cell, tf.constant(projected[t : t + 1]), tf.constant(kernel), state, bias)
        state = [values[0] for values in series]
        for values, value in zip(whole, state, strict=True):
            np.testing.assert_allclose(values[t], value, atol=1e-6)


@each_cell
def test_without_a_bias_it_is_zero(given, cell):
    projected, kernel, bias, state = given(cell)
    arguments = tf.constant(projected), tf.constant(kernel), [tf.constant(s) for s in state]
    for one, other in zip(cells.run(cell, *arguments), cells.run(cell, *arguments, np.zeros_like(bias)), strict=True):
        np.testing.assert_array_equal(one, other)

"""Recurrent layers, against the equations in NumPy float64, Keras, and golden arrays of PyTorch."""

import gc
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers import recurrent
from tfvoice.layers.recurrent import CELLS, Recurrent

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
UNITS, CHANNELS = 5, 3
LENGTHS = np.array([7, 4, 1, 0], np.int32)

each_cell = pytest.mark.parametrize("cell", CELLS)
each_direction = pytest.mark.parametrize("backward", [False, True])


@pytest.fixture
def built():
    """A layer with random weights (biases too), and its inputs."""

    def built(cell, **options):
        random = np.random.default_rng(0)
        layer = Recurrent(UNITS, cell, **options)
        inputs = random.standard_normal((len(LENGTHS), LENGTHS.max(), CHANNELS)).astype(np.float32)
        layer(inputs, LENGTHS)
        for weight in layer.trainable_variables:
            weight.assign(random.standard_normal(weight.shape) / 2)
        return layer, inputs

    return built


def initial_state(cell):
    random = np.random.default_rng(9)
    return [random.standard_normal((len(LENGTHS), UNITS)).astype(np.float32) for _ in range(2 if cell == "lstm" else 1)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, x, state, kernel, recurrent, bias):
    """One step as the papers write it, float64."""
    if cell == "rnn":
        return [np.tanh(x @ kernel + state[0] @ recurrent + bias)]
    if cell == "lstm":
        i, f, g, o = np.split(x @ kernel + state[0] @ recurrent + bias, 4)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    (z, r, n), (z_h, r_h, n_h) = np.split(x @ kernel + bias[0], 3), np.split(state[0] @ recurrent + bias[1], 3)
    z, r = sigmoid(z + z_h), sigmoid(r + r_h)
    return [z * state[0] + (1 - z) * np.tanh(n + r * n_h)]


def expected(layer, inputs, state):
    weights = [np.array(weight, np.float64) for weight in layer.trainable_variables]
    outputs = np.zeros((*inputs.shape[:2], UNITS))
    finals = [np.array(each, np.float64) for each in state]
    for row, length in enumerate(LENGTHS):
        current = [each[row] for each in finals]
        for t in range(length)[:: -1 if layer.backward else 1]:
            current = step(layer.cell, inputs[row, t].astype(np.float64), current, *weights)
            outputs[row, t] = current[0]
        for final, value in zip(finals, current, strict=True):
            final[row] = value
    return outputs, finals


@each_cell
@each_direction
def test_outputs_and_states_equal_the_equations(built, cell, backward):
    layer, inputs = built(cell, backward=backward)
    for state in (None, initial_state(cell)):
        outputs, finals = layer(inputs, LENGTHS, state)
        zeros = [np.zeros((len(LENGTHS), UNITS))] * len(finals)
        expected_outputs, expected_finals = expected(layer, inputs, state or zeros)
        np.testing.assert_allclose(outputs, expected_outputs, atol=1e-6)
        for actual, desired in zip(finals, expected_finals, strict=True):
            np.testing.assert_allclose(actual, desired, atol=1e-6)


@each_cell
@each_direction
@pytest.mark.parametrize("training", [False, True])
def test_gradients_equal_finite_differences(built, cell, backward, training):
    layer, inputs = built(cell, backward=backward)
    state = initial_state(cell)
    random = np.random.default_rng(5)
    weighting = [random.standard_normal((*inputs.shape[:2], UNITS)), *(random.standard_normal(s.shape) for s in state)]

    def loss(outputs, finals):
        return sum((w * value).sum() for w, value in zip(weighting, [outputs, *finals], strict=True))

    variables = [tf.constant(inputs), *map(tf.constant, state)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        outputs, finals = layer(variables[0], LENGTHS, variables[1:], training=training)
        total = sum(tf.reduce_sum(np.float32(w) * v) for w, v in zip(weighting, [outputs, *finals], strict=True))
    gradients = tape.gradient(total, [*variables, *(weight.value for weight in layer.trainable_variables)])

    values = [np.array(v, np.float64) for v in [*variables, *layer.trainable_variables]]
    weights = layer.trainable_variables
    count = len(variables)
    for number, gradient in enumerate(gradients):
        gradient = tf.convert_to_tensor(gradient).numpy()
        for index in list(np.ndindex(gradient.shape))[:: max(1, gradient.size // 25)]:
            losses = []
            for shift in (1e-5, -1e-5):
                shifted = [value.copy() for value in values]
                shifted[number][index] += shift
                losses.append(loss(*_expected_with(layer, shifted[0], shifted[1:count], shifted[count:])))
            assert gradient[index] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-4), weights


def _expected_with(layer, inputs, state, weights):
    class Layer:
        backward, cell, trainable_variables = layer.backward, layer.cell, weights

    return expected(Layer, inputs, state)


@each_cell
def test_the_keras_layer_with_the_same_weights_gives_the_same_values(built, cell):
    layer, inputs = built(cell)
    outputs, finals = layer(inputs, LENGTHS)
    mask = tf.sequence_mask(LENGTHS, inputs.shape[1])
    keras_outputs, *keras_finals = layer.inner(inputs, mask=mask)
    np.testing.assert_allclose(outputs, keras_outputs, atol=1e-6)
    for actual, desired in zip(finals, keras_finals, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-6)


@each_cell
@each_direction
@pytest.mark.parametrize("loop", ["xla", "cudnn"])
def test_every_loop_gives_the_same_values_and_gradients(built, cell, backward, loop):
    """Without a GPU, Keras runs its own loop in place of cuDNN's."""
    layer, inputs = built(cell, backward=backward)
    weights = np.random.default_rng(2).standard_normal((*inputs.shape[:2], UNITS)).astype(np.float32)

    @tf.function
    def run(inputs, lengths, loop):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, states = layer(inputs, lengths, initial_state(cell), loop=loop, training=True)
            loss = tf.reduce_sum(outputs * weights) + tf.add_n([tf.reduce_sum(state**2) for state in states])
        watched = [inputs, *(variable.value for variable in layer.trainable_variables)]
        return outputs, states, tape.gradient(loss, watched)

    results, expected = (tf.nest.flatten(run(tf.constant(inputs), LENGTHS, kind)) for kind in (loop, "graph"))
    for actual, desired in zip(results, expected, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-5)


@each_cell
def test_the_argument_decides_the_loop_and_not_the_visible_devices(built, cell, monkeypatch):
    """A SavedModel that is exported on a machine with a GPU must run on a server without one."""
    layer, inputs = built(cell)
    for name in ("list_logical_devices", "list_physical_devices"):
        monkeypatch.setattr(tf.config, name, lambda kind=None: [kind])

    def operations(loop):
        function = tf.function(lambda inputs, lengths: layer(inputs, lengths, loop=loop))
        graph = function.get_concrete_function(tf.TensorSpec(inputs.shape), tf.TensorSpec([4], tf.int32)).graph
        definition = graph.as_graph_def()
        nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
        return {node.op for node in nodes}

    for loop in ("graph", "xla"):
        assert not {name for name in operations(loop) if "Cudnn" in name}
    if cell != "rnn":
        assert {name for name in operations("cudnn") if "Cudnn" in name}, "the test would see cuDNN"


def test_an_unknown_loop_is_an_error_that_lists_the_known_ones(built):
    layer, inputs = built("lstm")
    with pytest.raises(ValueError, match="loop='gpu' is not one of graph, xla, cudnn"):
        layer(inputs, LENGTHS, loop="gpu")


@each_cell
def test_recurrent_layers_are_float32_under_any_global_policy(built, cell):
    layer, inputs = built(cell)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        same, _ = built(cell)
        for loop in ("graph", "cudnn"):
            outputs, _ = same(inputs, LENGTHS, loop=loop)
            assert outputs.dtype == tf.float32
            np.testing.assert_allclose(outputs, layer(inputs, LENGTHS)[0], atol=1e-6)
    finally:
        keras.config.set_dtype_policy(before)


@each_cell
@each_direction
def test_padding_and_other_rows_do_not_change_a_row(built, cell, backward):
    layer, inputs = built(cell, backward=backward)
    alone, (state, *_) = layer(inputs[1:2, : LENGTHS[1]], LENGTHS[1:2])
    padded = np.where(np.arange(inputs.shape[1])[:, np.newaxis] < LENGTHS[:, np.newaxis, np.newaxis], inputs, 99)
    padded = np.pad(padded, [(0, 0), (0, 3), (0, 0)], constant_values=-50)
    together, (states, *_) = layer(padded.astype(np.float32), LENGTHS)
    np.testing.assert_allclose(together[1, : LENGTHS[1]], alone[0], atol=1e-6)
    np.testing.assert_allclose(states[1], state[0], atol=1e-6)
    assert not np.any(together[1, LENGTHS[1] :])


@each_cell
def test_chunks_with_the_carried_state_equal_the_whole_sequence(built, cell):
    layer, inputs = built(cell)
    whole, finals = layer(inputs[:1], LENGTHS[:1])
    state, chunks = None, []
    for first, last in ((0, 2), (2, 3), (3, 7)):
        chunk, state = layer(inputs[:1, first:last], np.array([last - first], np.int32), state)
        chunks.append(chunk)
    np.testing.assert_allclose(np.concatenate(chunks, axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(state[0], finals[0], atol=1e-6)


@each_cell
def test_a_graph_of_unknown_shapes_and_xla_equal_eager_mode(built, cell):
    layer, inputs = built(cell, backward=True)

    def total(inputs, lengths):
        with tf.GradientTape() as tape:
            outputs, finals = layer(inputs, lengths, training=True)
            loss = tf.reduce_sum(tf.square(outputs)) + tf.reduce_sum(finals[0])
        return outputs, tape.gradient(loss, [weight.value for weight in layer.trainable_variables])

    signature = [tf.TensorSpec([None, None, CHANNELS]), tf.TensorSpec([None], tf.int32)]
    eager = tf.nest.flatten(total(tf.constant(inputs), tf.constant(LENGTHS)))
    for options in ({"input_signature": signature}, {"jit_compile": True}):
        compiled = tf.nest.flatten(tf.function(total, **options)(tf.constant(inputs), tf.constant(LENGTHS)))
        for actual, desired in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(actual, desired, atol=2e-5)


@each_cell
def test_a_layer_without_biases_has_two_kernels(cell):
    layer = Recurrent(UNITS, cell, use_bias=False)
    layer(np.zeros((1, 2, CHANNELS), np.float32), np.array([2], np.int32))
    assert [len(weight.shape) for weight in layer.trainable_variables] == [2, 2]


def test_an_initializer_applies_to_every_weight():
    layer = Recurrent(UNITS, "lstm", initializer=keras.initializers.Constant(0.25))
    layer(np.zeros((1, 2, CHANNELS), np.float32), np.array([2], np.int32))
    assert all(np.all(np.array(weight) == 0.25) for weight in layer.trainable_variables), "the forget gate too"


@each_cell
@each_direction
def test_pytorch_with_the_same_weights_gives_the_same_outputs(cell, backward):
    """Golden arrays of `tests/data/make_golden.py`: one sequence at a time in PyTorch, a padded batch here."""
    golden = np.load(GOLDEN / "recurrent.npz")
    name = f"{cell}_{'backward' if backward else 'forward'}"
    layer = Recurrent(golden[f"{name}/recurrent_kernel"].shape[0], cell, backward=backward)
    inputs, lengths = golden["inputs"], golden["lengths"]
    layer(inputs, lengths)
    for variable in layer.trainable_variables:
        variable.assign(golden[f"{name}/{variable.name}"])
    outputs, expected = layer(inputs, lengths)[0].numpy(), golden[f"{name}/outputs"]
    assert (lengths > 0).sum() >= 3
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(outputs[row, :length], expected[row, :length], atol=1e-5)


TIME, BATCH, UNITS = 6, 3, 4

each_cell = pytest.mark.parametrize("cell", list(recurrent.GATES))


@pytest.fixture
def arguments():
    """Projected inputs, recurrent kernel, bias and state of a cell, float32."""

    def arguments(cell):
        random = np.random.default_rng(0)
        gates = recurrent.GATES[cell] * UNITS
        shapes = (TIME, BATCH, gates), (UNITS, gates), (gates,), *[(BATCH, UNITS)] * recurrent.STATES[cell]
        projected, kernel, bias, *state = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
        return projected, kernel, bias if cell == "gru" else np.zeros_like(bias), state

    return arguments


def equations(cell, x, kernel, bias, state):
    """One step as the papers write it, in the type of its inputs."""
    h = state[0]
    if cell == "rnn":
        return [tf.tanh(x + h @ kernel)]
    if cell == "lstm":
        i, f, g, o = tf.split(x + h @ kernel, 4, axis=1)
        c = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(g)
        return [tf.sigmoid(o) * tf.tanh(c), c]
    recurrent_sums = h @ kernel + bias if cell == "gru" else h @ kernel
    (z_x, r_x, n_x), (z_h, r_h, n_h) = tf.split(x, 3, axis=1), tf.split(recurrent_sums, 3, axis=1)
    z, r = tf.sigmoid(z_x + z_h), tf.sigmoid(r_x + r_h)
    n_sums = r * n_h if cell == "gru" else (r * h) @ kernel[:, 2 * UNITS :]
    return [z * h + (1 - z) * tf.tanh(n_x + n_sums)]


def loop(cell, projected, kernel, bias, state):
    series = []
    for x in projected:
        state = equations(cell, x, kernel, bias, state)
        series.append(state)
    return [tf.stack(values) for values in zip(*series, strict=True)]


def as_float64(values):
    return [tf.constant(value, tf.float64) for value in values]


@each_cell
@pytest.mark.parametrize("compiled", [False, True])
def test_states_and_gradients_of_a_cell_equal_the_equations(arguments, cell, compiled):
    projected, kernel, bias, state = arguments(cell)
    weights = [np.random.default_rng(5 + n).standard_normal((TIME, BATCH, UNITS)) for n in range(len(state))]

    @tf.function
    def run(projected, kernel, bias, *state):
        with tf.GradientTape() as tape:
            tape.watch([projected, kernel, bias, *state])
            series = recurrent.run_cell(cell, projected, kernel, list(state), bias, compiled, training=True)
            loss = sum(tf.reduce_sum(a * tf.cast(b, tf.float32)) for a, b in zip(series, weights, strict=True))
        return series, tape.gradient(loss, [projected, kernel, bias, *state])

    series, gradients = run(*(tf.constant(value) for value in (projected, kernel, bias, *state)))
    projected, kernel, bias, *state = as_float64([projected, kernel, bias, *state])
    with tf.GradientTape() as tape:
        tape.watch([projected, kernel, bias, *state])
        expected_series = loop(cell, projected, kernel, bias, state)
        loss = sum(tf.reduce_sum(a * b) for a, b in zip(expected_series, weights, strict=True))
    for actual, desired in zip(series, expected_series, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-5)
    expected_gradients = tape.gradient(loss, [projected, kernel, bias, *state], unconnected_gradients="zero")
    for actual, desired in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(actual, desired, atol=3e-5)


@each_cell
@pytest.mark.parametrize("compiled", [False, True])
def test_the_states_of_inference_are_those_of_training(arguments, cell, compiled):
    projected, kernel, bias, state = arguments(cell)

    @tf.function
    def run(training):
        return recurrent.run_cell(cell, *map(tf.constant, (projected, kernel)), state, bias, compiled, training)

    for actual, desired in zip(run(False), run(True), strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_graphs_of_inference_are_freed(built, cell):
    layer, inputs = built(cell)
    traced = tf.function(lambda: layer(inputs, LENGTHS)[0]).get_concrete_function()
    graph = weakref.ref(traced.graph)
    del traced
    gc.collect()
    assert graph() is None


@each_cell
def test_step_by_step_equals_all_steps_at_once(arguments, cell):
    projected, kernel, bias, state = arguments(cell)
    whole = recurrent.run_cell(cell, tf.constant(projected), tf.constant(kernel), [tf.constant(s) for s in state], bias)
    for t in range(TIME):
        series = recurrent.run_cell(cell, tf.constant(projected[t : t + 1]), tf.constant(kernel), state, bias)
        state = [values[0] for values in series]
        for values, value in zip(whole, state, strict=True):
            np.testing.assert_allclose(values[t], value, atol=1e-6)


@each_cell
def test_no_bias_equals_a_bias_of_zeros(arguments, cell):
    projected, kernel, bias, state = arguments(cell)
    tensors = tf.constant(projected), tf.constant(kernel), [tf.constant(s) for s in state]
    without, zeros = recurrent.run_cell(cell, *tensors), recurrent.run_cell(cell, *tensors, np.zeros_like(bias))
    for actual, desired in zip(without, zeros, strict=True):
        np.testing.assert_array_equal(actual, desired)

"""Laws of the recurrent layers, against the equations in NumPy float64, Keras, and PyTorch where it is installed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice.layers.recurrent import CELLS, Recurrent

UNITS, CHANNELS = 5, 3
LENGTHS = np.array([7, 4, 1, 0], np.int32)

each_cell = pytest.mark.parametrize("cell", CELLS)
each_direction = pytest.mark.parametrize("backwards", [False, True])


@pytest.fixture
def made():
    """A layer with random weights (biases too), and its inputs."""

    def made(cell, **options):
        random = np.random.default_rng(0)
        layer = Recurrent(UNITS, cell, **options)
        inputs = random.standard_normal((len(LENGTHS), LENGTHS.max(), CHANNELS)).astype(np.float32)
        layer(inputs, LENGTHS)
        for weight in layer.trainable_variables:
            weight.assign(random.standard_normal(weight.shape) / 2)
        return layer, inputs

    return made


def start(cell):
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
    (z, r, n), (z_own, r_own, n_own) = np.split(x @ kernel + bias[0], 3), np.split(state[0] @ recurrent + bias[1], 3)
    z, r = sigmoid(z + z_own), sigmoid(r + r_own)
    return [z * state[0] + (1 - z) * np.tanh(n + r * n_own)]


def expected(layer, inputs, state):
    weights = [np.array(weight, np.float64) for weight in layer.trainable_variables]
    outputs = np.zeros((*inputs.shape[:2], UNITS))
    finals = [np.array(each, np.float64) for each in state]
    for row, length in enumerate(LENGTHS):
        current = [each[row] for each in finals]
        for t in range(length)[:: -1 if layer.backwards else 1]:
            current = step(layer.cell, inputs[row, t].astype(np.float64), current, *weights)
            outputs[row, t] = current[0]
        for final, value in zip(finals, current, strict=True):
            final[row] = value
    return outputs, finals


@each_cell
@each_direction
def test_outputs_and_states_are_those_of_the_equations(made, cell, backwards):
    layer, inputs = made(cell, backwards=backwards)
    for state in (None, start(cell)):
        outputs, finals = layer(inputs, LENGTHS, state)
        zeros = [np.zeros((len(LENGTHS), UNITS))] * len(finals)
        wanted, wanted_finals = expected(layer, inputs, state or zeros)
        np.testing.assert_allclose(outputs, wanted, atol=1e-6)
        for final, want in zip(finals, wanted_finals, strict=True):
            np.testing.assert_allclose(final, want, atol=1e-6)


@each_cell
@each_direction
def test_gradients_are_those_of_finite_differences(made, cell, backwards):
    layer, inputs = made(cell, backwards=backwards)
    state = start(cell)
    random = np.random.default_rng(5)
    weighting = [random.standard_normal((*inputs.shape[:2], UNITS)), *(random.standard_normal(s.shape) for s in state)]

    def loss(outputs, finals):
        return sum((w * value).sum() for w, value in zip(weighting, [outputs, *finals], strict=True))

    variables = [tf.constant(inputs), *map(tf.constant, state)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        outputs, finals = layer(variables[0], LENGTHS, variables[1:])
        total = sum(tf.reduce_sum(np.float32(w) * v) for w, v in zip(weighting, [outputs, *finals], strict=True))
    found = tape.gradient(total, [*variables, *(weight.value for weight in layer.trainable_variables)])

    values = [np.array(v, np.float64) for v in [*variables, *layer.trainable_variables]]
    weights = layer.trainable_variables
    count = len(variables)
    for number, gradient in enumerate(found):
        gradient = tf.convert_to_tensor(gradient).numpy()
        for index in list(np.ndindex(gradient.shape))[:: max(1, gradient.size // 25)]:
            both = []
            for shift in (1e-5, -1e-5):
                moved = [value.copy() for value in values]
                moved[number][index] += shift
                both.append(loss(*_expected_with(layer, moved[0], moved[1:count], moved[count:])))
            assert gradient[index] == pytest.approx((both[0] - both[1]) / 2e-5, abs=1e-4), weights


def _expected_with(layer, inputs, state, weights):
    class Shell:
        backwards, cell, trainable_variables = layer.backwards, layer.cell, weights

    return expected(Shell, inputs, state)


@each_cell
def test_keras_gives_the_same_with_the_same_weights(made, cell):
    layer, inputs = made(cell)
    outputs, finals = layer(inputs, LENGTHS)
    mask = tf.sequence_mask(LENGTHS, inputs.shape[1])
    theirs, *their_finals = layer.inner(inputs, mask=mask)
    np.testing.assert_allclose(outputs, theirs, atol=1e-6)
    for final, their in zip(finals, their_finals, strict=True):
        np.testing.assert_allclose(final, their, atol=1e-6)


@each_cell
@each_direction
def test_the_road_of_the_gpu_gives_the_same(made, cell, backwards, monkeypatch):
    layer, inputs = made(cell, backwards=backwards)
    ours = tf.nest.flatten(layer(inputs, LENGTHS, start(cell)))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    for one, other in zip(ours, tf.nest.flatten(layer(inputs, LENGTHS, start(cell))), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@each_cell
@each_direction
def test_padding_and_neighbours_change_nothing(made, cell, backwards):
    layer, inputs = made(cell, backwards=backwards)
    alone, (state, *_) = layer(inputs[1:2, : LENGTHS[1]], LENGTHS[1:2])
    disturbed = np.where(np.arange(inputs.shape[1])[:, np.newaxis] < LENGTHS[:, np.newaxis, np.newaxis], inputs, 99)
    disturbed = np.pad(disturbed, [(0, 0), (0, 3), (0, 0)], constant_values=-50)
    together, (states, *_) = layer(disturbed.astype(np.float32), LENGTHS)
    np.testing.assert_allclose(together[1, : LENGTHS[1]], alone[0], atol=1e-6)
    np.testing.assert_allclose(states[1], state[0], atol=1e-6)
    assert not np.any(together[1, LENGTHS[1] :])


@each_cell
def test_in_pieces_with_the_state_handed_on_is_as_in_one(made, cell):
    layer, inputs = made(cell)
    whole, finals = layer(inputs[:1], LENGTHS[:1])
    state, pieces = None, []
    for first, last in ((0, 2), (2, 3), (3, 7)):
        piece, state = layer(inputs[:1, first:last], np.array([last - first], np.int32), state)
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(state[0], finals[0], atol=1e-6)


@each_cell
def test_compiled_with_unknown_shapes_and_with_xla_is_as_eager(made, cell):
    layer, inputs = made(cell, backwards=True)

    def total(inputs, lengths):
        with tf.GradientTape() as tape:
            outputs, finals = layer(inputs, lengths)
            loss = tf.reduce_sum(tf.square(outputs)) + tf.reduce_sum(finals[0])
        return outputs, tape.gradient(loss, [weight.value for weight in layer.trainable_variables])

    signature = [tf.TensorSpec([None, None, CHANNELS]), tf.TensorSpec([None], tf.int32)]
    eager = tf.nest.flatten(total(tf.constant(inputs), tf.constant(LENGTHS)))
    for options in ({"input_signature": signature}, {"jit_compile": True}):
        compiled = tf.nest.flatten(tf.function(total, **options)(tf.constant(inputs), tf.constant(LENGTHS)))
        for ours, theirs in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


@each_cell
def test_without_biases(cell):
    layer = Recurrent(UNITS, cell, use_bias=False)
    layer(np.zeros((1, 2, CHANNELS), np.float32), np.array([2], np.int32))
    assert [len(weight.shape) for weight in layer.trainable_variables] == [2, 2]


def test_one_initializer_serves_every_weight():
    layer = Recurrent(UNITS, "lstm", initializer=keras.initializers.Constant(0.25))
    layer(np.zeros((1, 2, CHANNELS), np.float32), np.array([2], np.int32))
    assert all(np.all(np.array(weight) == 0.25) for weight in layer.trainable_variables), "the forget gate too"


@each_cell
@each_direction
def test_pytorch_gives_the_same_with_the_same_weights(made, cell, backwards):
    torch = pytest.importorskip("torch")
    layer, inputs = made(cell, backwards=backwards)
    kernel, recurrent, bias = (np.array(weight) for weight in layer.trainable_variables)
    biases = bias if cell == "gru" else np.stack([bias, np.zeros_like(bias)])
    # Keras has the gates of a GRU as z, r, n and PyTorch as r, z, n.
    order = np.arange(kernel.shape[1])
    if cell == "gru":
        order = np.concatenate([order[UNITS : 2 * UNITS], order[:UNITS], order[2 * UNITS :]])
    theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](CHANNELS, UNITS, batch_first=True)
    for name, value in (
        ("weight_ih_l0", kernel.T),
        ("weight_hh_l0", recurrent.T),
        ("bias_ih_l0", biases[0]),
        ("bias_hh_l0", biases[1]),
    ):
        getattr(theirs, name).data = torch.tensor(value[order].copy())
    for row, length in enumerate(LENGTHS):
        if length:
            clip = inputs[row : row + 1, :length]
            wanted = theirs(torch.tensor(clip[:, ::-1].copy() if backwards else clip))[0].detach().numpy()
            found = layer(inputs, LENGTHS)[0][row, :length]
            np.testing.assert_allclose(found, wanted[0][::-1] if backwards else wanted[0], atol=1e-5)


@each_cell
@each_direction
def test_a_compiled_loop_gives_the_same(made, cell, backwards):
    layer, inputs = made(cell, backwards=backwards)
    weights = np.random.default_rng(2).standard_normal((*inputs.shape[:2], UNITS)).astype(np.float32)

    @tf.function
    def run(inputs, lengths, compiled):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, states = layer(inputs, lengths, start(cell), compiled=compiled)
            loss = tf.reduce_sum(outputs * weights) + tf.add_n([tf.reduce_sum(state**2) for state in states])
        watched = [inputs, *(variable.value for variable in layer.trainable_variables)]
        return outputs, states, tape.gradient(loss, watched)

    found, wanted = (tf.nest.flatten(run(tf.constant(inputs), LENGTHS, compiled)) for compiled in (True, False))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)

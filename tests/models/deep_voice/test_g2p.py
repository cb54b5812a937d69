"""G2P network: parameter counts, equality with the equations in NumPy float64, padding, and step by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import tasks
from tfvoice.models.deep_voice.g2p import G2p, G2pConfig

LETTERS, PHONEMES = 7, 9
SHAPES = {
    "plain": {"layers": 2, "attention": False},
    "attention": {"layers": 2},
    "one layer": {"layers": 1},
    "three layers": {"layers": 3},
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def built(**shape):
    model = G2p(G2pConfig(**({"units": 6, "dropout": 0.3} | shape)), LETTERS, PHONEMES)
    model.build(None)
    random = np.random.default_rng(3)
    for weight in model.trainable_variables:
        scale = 1 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.3
        weight.assign(scale * random.standard_normal(weight.shape))
    return model


@pytest.fixture
def batch():
    """Letters and phonemes of three words, with rubbish in their padding."""
    random = np.random.default_rng(1)
    letters = random.integers(0, LETTERS, (3, 5), np.int32)
    phonemes = random.integers(1, PHONEMES + 1, (3, 4), np.int32)
    return letters, np.array([5, 2, 3], np.int32), phonemes, np.array([3, 4, 1], np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(layer, inputs, state):
    """The states of a GRU, one step after the other, float64."""
    cell, states = layer.inner.cell, []
    kernel, recurrent, bias = (np.array(value, np.float64) for value in (cell.kernel, cell.recurrent_kernel, cell.bias))
    for x in inputs:
        z_in, r_in, n_in = np.split(x @ kernel + bias[0], 3)
        z_h, r_h, n_h = np.split(state @ recurrent + bias[1], 3)
        z, r = sigmoid(z_in + z_h), sigmoid(r_in + r_h)
        state = z * state + (1 - z) * np.tanh(n_in + r * n_h)
        states.append(state)
    return np.array(states)


def oracle(model, letters, phonemes):
    """Logits of one word, float64."""
    units, first = model.config.units, np.zeros(model.config.units)
    hidden, starts = np.eye(LETTERS)[letters], []
    for forward, backward in zip(model.forward_layers, model.backward_layers, strict=True):
        one, two = gru(forward, hidden, first), gru(backward, hidden[::-1], first)
        starts.append((one[-1] + two[-1]) / 2)
        hidden = np.concatenate([one, two[::-1]], axis=1)
    values, context = hidden, np.zeros((len(phonemes) + 1, 0))
    hidden = np.eye(PHONEMES + 1)[[0, *phonemes]]
    for number, (layer, start) in enumerate(zip(model.decoder_layers, starts, strict=True)):
        hidden = gru(layer, hidden, start)
        if number == 0 and model.config.attention:
            scores = hidden @ (values @ np.array(model.key_layer.kernel, np.float64)).T / np.sqrt(units)
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            context = weights @ values
        if number == 0 and model.config.layers > 1:
            hidden = np.concatenate([hidden, context], axis=1)
    outputs = np.concatenate([hidden, context], axis=1)
    return outputs @ np.array(model.output_layer.kernel, np.float64) + np.array(model.output_layer.bias, np.float64)


@each_shape
def test_logits_equal_the_equations_and_padding_changes_nothing(shape, batch):
    model = built(**shape)
    logits = model(*batch)
    for row, (letters, length, phonemes, count) in enumerate(zip(*batch, strict=True)):
        expected = oracle(model, letters[:length], phonemes[:count])
        np.testing.assert_allclose(logits[row, : count + 1], expected, atol=1e-5)


@each_shape
def test_one_step_after_the_other_equals_all_at_once(shape, batch):
    model = built(**shape)
    letters, lengths, phonemes, _ = batch
    counts = np.full(3, 4, np.int32)
    expected = model(letters, lengths, phonemes, counts)
    words, previous = model.encode(letters, lengths), np.pad(phonemes, [(0, 0), (1, 0)])
    states = words.states
    for step in range(5):
        logits, states = model.decode(words, states, previous[:, step : step + 1], np.ones(3, np.int32))
        np.testing.assert_allclose(logits[:, 0], expected[:, step], atol=1e-5)


@each_shape
def test_rows_of_a_word_are_decoded_as_words_of_their_own(shape, batch):
    model = built(**shape)
    letters, lengths, phonemes, _ = batch
    previous = np.repeat(np.pad(phonemes, [(0, 0), (1, 0)]), 2, axis=0)
    previous[1::2, 1:] = previous[1::2, 1:] % PHONEMES + 1
    counts = np.full(6, 5, np.int32)
    words, apart = model.encode(letters, lengths), model.encode(np.repeat(letters, 2, axis=0), np.repeat(lengths, 2))
    logits, _ = model.decode(words, apart.states, previous[:, :1], counts // 5)
    expected, _ = model.decode(apart, apart.states, previous[:, :1], counts // 5)
    np.testing.assert_allclose(logits, expected, atol=1e-6)


@each_shape
@pytest.mark.parametrize("loop", ["graph", "xla"])
def test_training_has_the_gradients_of_tensorflow(shape, batch, loop):
    model = built(**(shape | {"dropout": 0.0}))

    @tf.function
    def gradients(training):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(*batch, training=training)))
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    model.training_loop = "graph"
    expected = gradients(False)
    model.training_loop = loop
    for one, other in zip(gradients(True), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_dropout_is_of_its_key_and_of_training_only(batch):
    model = built()
    first, second = (model(*batch, training=True, seed=tf.constant([0, key])).numpy() for key in (1, 2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, model(*batch, training=True, seed=tf.constant([0, 1])))
    np.testing.assert_array_equal(model(*batch), model(*batch, seed=tf.constant([0, 1])))


def count(config):
    """Parameters of a network of 29 letters and 69 phonemes. In a graph, variables have a shape and no memory."""
    with tf.Graph().as_default():
        model = G2p(config, 29, 69)
        model.build(None)
        return model.count_params()


def gru_size(inputs, units):
    """A kernel and a recurrent kernel for three gates, and two biases for each."""
    return 3 * units * (inputs + units) + 6 * units


def test_the_faithful_network_has_the_parameters_of_the_paper():
    config = tasks.resolve("g2p", "g2p_faithful").model
    assert (config.units, config.layers, config.attention, config.dropout) == (1024, 3, False, 0.05)
    # 29 letters; 69 phonemes and the boundary.
    encoder = 2 * (gru_size(29, 1024) + 2 * gru_size(2048, 1024))
    decoder = gru_size(70, 1024) + 2 * gru_size(1024, 1024)
    assert encoder + decoder + 1024 * 70 + 70 == 60_289_094
    assert count(config) == 60_289_094


def test_the_default_fits_into_4_megabytes_of_float16():
    config = tasks.resolve("g2p").model
    units, layers = config.units, config.layers
    encoder = 2 * (gru_size(29, units) + (layers - 1) * gru_size(2 * units, units))
    decoder = gru_size(70, units) + gru_size(3 * units, units) + (layers - 2) * gru_size(units, units)
    expected = encoder + decoder + 2 * units * units + 3 * units * 70 + 70
    assert count(config) == expected < 2_000_000


def test_a_network_is_saved_and_loaded(batch, tmp_path):
    model = built()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded(*batch), model(*batch))


def test_class_axes_are_those_of_the_phonemes():
    model = built()
    sizes = {variable.path: variable.shape for variable in model.weights}
    for path, axis in model.class_axes().items():
        assert sizes[path][axis] == PHONEMES + 1

"""Network of duration and F0: parameter counts, equality with the equations in NumPy float64, padding, dropout."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import tasks
from tfvoice.models.deep_voice.duration_f0 import DurationF0, DurationF0Config, Prosody

PHONEMES = 7
SMALL = {"dense": 6, "recurrent": 4, "f0_values": 3, "dropout": 0.5}
both_directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])


def built(**changes):
    model = DurationF0(DurationF0Config(**(SMALL | changes)), PHONEMES)
    model.build(None)
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(0.6 * np.random.default_rng(number).standard_normal(weight.shape))
    return model


@pytest.fixture
def batch():
    """Three utterances, with rubbish in their padding; one is empty."""
    random = np.random.default_rng(1)
    phonemes = random.integers(0, PHONEMES, (3, 6), np.int32)
    return phonemes, random.integers(0, 4, (3, 6), np.int32), np.array([6, 3, 0], np.int32)


def gru(layer, inputs):
    """The states of a GRU, one step after the other, float64."""
    cell, state, states = layer.inner.cell, np.zeros(layer.units), []
    kernel, recurrent, bias = (np.array(value, np.float64) for value in (cell.kernel, cell.recurrent_kernel, cell.bias))
    for x in inputs:
        z_in, r_in, n_in = np.split(x @ kernel + bias[0], 3)
        z_h, r_h, n_h = np.split(state @ recurrent + bias[1], 3)
        z, r = 1 / (1 + np.exp(-z_in - z_h)), 1 / (1 + np.exp(-r_in - r_h))
        state = z * state + (1 - z) * np.tanh(n_in + r * n_h)
        states.append(state)
    return np.array(states)


def oracle(model, phonemes, stresses):
    """Outputs of one utterance, float64."""
    hidden = np.concatenate([np.eye(PHONEMES)[phonemes], np.eye(4)[stresses]], axis=1)
    for layer in model.dense_layers:
        hidden = np.maximum(hidden @ np.array(layer.kernel, np.float64) + np.array(layer.bias), 0)
    for layers in model.recurrent_layers:
        runs = [gru(layer, hidden[:: -1 if layer.backward else 1])[:: -1 if layer.backward else 1] for layer in layers]
        hidden = np.concatenate(runs, axis=1)
    outputs = hidden @ np.array(model.output_layer.kernel, np.float64) + np.array(model.output_layer.bias)
    return Prosody(outputs[:, 0], outputs[:, 1], outputs[:, 2:])


def test_parameters_are_those_of_the_equations():
    config = tasks.resolve("duration_f0", "duration_f0_faithful").model
    model = DurationF0(config, 40)
    model.build(None)
    # 40 phonemes and 4 stresses, dense 256 twice; GRU 128 has 3 gates, and two biases of each.
    dense = (44 + 1) * 256 + (256 + 1) * 256
    recurrent = 3 * 128 * (256 + 128 + 2) + 3 * 128 * (128 + 128 + 2)
    assert model.count_params() == dense + recurrent + (128 + 1) * 22 == 327_446
    both = DurationF0(DurationF0Config(), 40)
    both.build(None)
    assert both.count_params() == dense + 2 * 2 * 3 * 128 * (256 + 128 + 2) + (256 + 1) * 22 == 675_862
    assert (config.dropout, config.bidirectional, config.f0_values) == (0.2, False, 20)


@both_directions
def test_it_computes_the_equations(bidirectional, batch):
    model = built(bidirectional=bidirectional)
    outputs = model(*batch)
    phonemes, stresses, lengths = batch
    for row, length in enumerate(lengths):
        if length:
            expected = oracle(model, phonemes[row, :length], stresses[row, :length])
            for part, other in zip(outputs, expected, strict=True):
                np.testing.assert_allclose(part[row, :length], other, atol=1e-5)


@both_directions
def test_padding_changes_nothing(bidirectional, batch):
    model = built(bidirectional=bidirectional)
    phonemes, stresses, lengths = batch
    alone = model(phonemes[1:2, :3], stresses[1:2, :3], lengths[1:2])
    longer = model(np.pad(phonemes, [(0, 0), (0, 9)], constant_values=2), np.pad(stresses, [(0, 0), (0, 9)]), lengths)
    for one, other in zip(alone, longer, strict=True):
        np.testing.assert_allclose(one[0], other[1, :3], atol=1e-5)


def test_only_the_bidirectional_network_knows_what_follows(batch):
    phonemes, stresses, lengths = batch
    changed = phonemes.copy()
    changed[0, -1] = (changed[0, -1] + 1) % PHONEMES
    for bidirectional in (False, True):
        model = built(bidirectional=bidirectional)
        one, other = (model(ids, stresses, lengths).duration[0, 0] for ids in (phonemes, changed))
        assert (abs(float(one - other)) > 1e-6) == bidirectional


def test_dropout_depends_on_its_key_alone(batch):
    model = built()
    outputs = [model(*batch, training=True, seed=tf.constant(key)).duration.numpy() for key in ([0, 1], [0, 1], [0, 2])]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-3
    without = built(dropout=0.0)
    np.testing.assert_allclose(without(*batch, training=True).f0, without(*batch).f0, atol=1e-6)


@both_directions
def test_keras_saves_and_loads_it(bidirectional, batch, tmp_path):
    model = built(bidirectional=bidirectional)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(model(*batch), loaded(*batch), strict=True):
        np.testing.assert_array_equal(one, other)

"""Laws of the vocoder: sizes of the paper's figure, an independent implementation, causality, interleaving."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.models.deep_voice.duration_f0 import STRESS_CLASSES
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW, Vocoder, VocoderConfig

LEVELS, PHONEMES = 16, 5
SMALL = VocoderConfig(layers=3, residual=4, skip=6, conditioner=4)


def randomise(model):
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.5, weight.shape))


@pytest.fixture(scope="module")
def model():
    model = Vocoder(SMALL, PHONEMES, LEVELS)
    model.build(None)
    randomise(model)
    return model


def frames(count, rows=2):
    random = np.random.default_rng(1)
    phonemes = random.integers(0, PHONEMES, (rows, count, WINDOW))
    stresses = random.integers(0, STRESS_CLASSES, (rows, count, WINDOW))
    f0 = random.normal(size=(rows, count, 2))
    return tf.constant(phonemes, tf.int32), tf.constant(stresses, tf.int32), tf.constant(f0, tf.float32)


def levels_of(count, rows=2):
    levels = np.random.default_rng(2).integers(0, LEVELS, (rows, 2 + count * FRAME_SAMPLES))
    return tf.constant(levels, tf.int32)


@pytest.mark.parametrize(
    ("layers", "residual", "skip", "parameters"),
    [(20, 32, 128, 301_600), (20, 64, 128, 709_056), (40, 64, 256, 1_646_912)],
)
def test_the_autoregressive_part_has_as_many_parameters_as_in_the_figure(layers, residual, skip, parameters):
    model = Vocoder(VocoderConfig(layers=layers, residual=residual, skip=skip), 41, 256)
    model.build(None)
    assert model.wavenet.count_params() == parameters
    # Two layers of three gates and two taps, for each direction: 227 features to 32, and both directions to l r each.
    gates = [2 * 3 * (2 * inputs * units + units) for inputs, units in ((227, 32), (64, layers * residual))]
    assert model.count_params() == parameters + sum(gates)


def test_dilations_double_up_to_512_and_begin_again():
    config = VocoderConfig(layers=12)
    assert config.dilations == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2]
    assert VocoderConfig().receptive_field == 2 * 1023 + 2


def by_hand(model, levels, biases):
    """The network in float64, sample by sample, from the equations; `[samples, levels]`."""
    net, config = model.wavenet, model.config
    w = {weight.name: np.asarray(weight, np.float64) for weight in net.weights}
    biases = np.asarray(biases, np.float64)
    inputs = [[] for _ in range(config.layers)]
    rows = []
    for sample in range(len(levels) - 2):
        one, other = levels[sample], levels[sample + 1]
        hidden = np.tanh(w["first_kernel"][0, one] + w["first_kernel"][1, other] + w["first_bias"])
        skip = w["skip_bias"].copy()
        for layer, dilation in enumerate(config.dilations):
            inputs[layer].append(hidden)
            past = inputs[layer][-1 - dilation] if len(inputs[layer]) > dilation else np.zeros_like(hidden)
            sums = past @ w["gate_kernels"][layer, 0] + hidden @ w["gate_kernels"][layer, 1]
            sums = sums + w["gate_biases"][layer] + biases[sample // FRAME_SAMPLES, layer]
            gate = np.tanh(sums[: config.residual]) / (1 + np.exp(-sums[config.residual :]))
            hidden = hidden + gate @ w["residual_kernels"][layer] + w["residual_biases"][layer]
            skip += gate @ w["skip_kernel"][layer * config.residual : (layer + 1) * config.residual]
        head = np.maximum(skip, 0) @ w["head_kernel"] + w["head_bias"]
        rows.append(np.maximum(head, 0) @ w["output_kernel"] + w["output_bias"])
    return np.array(rows)


def test_it_follows_the_equations(model):
    levels, biases = levels_of(2), np.random.default_rng(3).normal(size=(2, 2, 3, 8)).astype(np.float32)
    found = model(levels, tf.constant(biases)).numpy()
    for row in range(2):
        np.testing.assert_allclose(found[row], by_hand(model, levels[row].numpy(), biases[row]), atol=1e-4)
    np.testing.assert_array_equal(model(levels, tf.constant(biases), first=1), found[:, FRAME_SAMPLES:])


def test_a_prediction_depends_on_the_samples_before_it_alone(model):
    levels, biases = levels_of(1, 1).numpy(), tf.zeros([1, 1, 3, 8])
    before = model(tf.constant(levels), biases).numpy()
    place = 30
    levels[0, 2 + place] = (levels[0, 2 + place] + 1) % LEVELS
    changed = (model(tf.constant(levels), biases).numpy() != before).any(axis=(0, 2))
    # One, two and four samples back are the dilations, and the first convolution has two taps.
    reach = SMALL.receptive_field
    assert not changed[: place + 1].any() and changed[place + 1] and not changed[place + 1 + reach :].any()
    assert reach == 2 + 1 + 2 + 4


def test_the_conditioner_interleaves_its_directions_and_gives_each_layer_its_slice(model):
    rows = frames(6, 1)
    biases = model.condition(*rows, tf.constant([6])).numpy()
    assert biases.shape == (1, 6, SMALL.layers, 2 * SMALL.residual)
    ids = [tf.reshape(tf.one_hot(values, size), [1, 6, -1]) for values, size in zip(rows, (PHONEMES, 4), strict=False)]
    hidden = tf.concat([*ids, rows[2]], axis=2)
    for forward, backward in zip(model.forward_layers, model.backward_layers, strict=True):
        one, other = forward(hidden, tf.constant([6])).numpy(), backward(hidden, tf.constant([6])).numpy()
        joined = np.empty([1, 6, 2 * one.shape[2]], np.float32)
        joined[..., 0::2], joined[..., 1::2] = one, other
        hidden = tf.constant(joined)
    np.testing.assert_allclose(biases.reshape(1, 6, -1), hidden, atol=1e-6)


def test_the_first_loss_is_that_of_chance():
    model = Vocoder(VocoderConfig(layers=4, residual=32, skip=32), 41, 256)
    model.build(None)
    levels = tf.constant(np.random.default_rng(0).integers(0, 256, (1, 2 + 4 * FRAME_SAMPLES)), tf.int32)
    logits = model(levels, tf.zeros([1, 4, 4, 64]))
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(levels[:, 2:], logits)
    assert abs(float(tf.reduce_mean(nats)) / np.log(2) - 8) < 0.5

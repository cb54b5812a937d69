"""The kernel is the network, with the same bits for a sequence in any batch and in any pieces."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.generation import kernel
from tfvoice.generation.loops import KernelLoops
from tfvoice.models.sample_rnn import SampleRnn, SampleRnnConfig

LEVELS, ROWS, SAMPLES = 24, 3, 48
SHAPES = {
    "three tiers": {"frame_sizes": (2, 8)},
    "two tiers, one-hot": {"frame_sizes": (4,), "embedding": 0},
    "lstm": {"frame_sizes": (2, 4, 8), "cell": "lstm", "layers": 2},
    "skips": {"frame_sizes": (4, 8), "layers": 3, "skip_connections": True},
    "lstm skips": {"frame_sizes": (2, 4), "cell": "lstm", "layers": 2, "skip_connections": True},
    "no weight norm": {"frame_sizes": (2, 8), "weight_norm": False, "learned_state": False},
}


def create_model(shape, units=20):
    model = SampleRnn(SampleRnnConfig(**{"units": units, "embedding": 6} | SHAPES[shape]), LEVELS)
    model.build(None)
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        scale = 1.5 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.5
        weight.assign(scale * random.standard_normal(weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return create_model("three tiers")


def given_levels(model, rows=ROWS):
    size = [rows, model.config.context + SAMPLES]
    return np.random.default_rng(1).integers(0, LEVELS, size).astype(np.int32)


def start(model, rows):
    """Weights, and the state before the first sample."""
    weights = KernelLoops(model).weights()
    return weights, kernel.initial_state(weights, [values.numpy() for values in model.initial_state(1)], rows)


def predicted(model, levels):
    """Logits `[rows, samples, levels]`, given the levels."""
    weights, state = start(model, len(levels))
    logits = []
    for sample in range(SAMPLES):
        kernel.predict(sample, levels, weights, state)
        logits.append(state.lowest.logits[:, :LEVELS].copy())
    return np.stack(logits, axis=1)


def exact(layer):
    """Kernel and bias of a layer in float64."""
    weights = np.array(layer.kernel, np.float64)
    if layer.gain is not None:
        weights = weights * np.array(layer.gain) / np.linalg.norm(weights, axis=0)
    return weights, 0.0 if layer.bias is None else np.array(layer.bias, np.float64)


def affine(layer, values):
    weights, bias = exact(layer)
    return values @ weights + bias


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def cell_step(tier, number, sums, states):
    """The next states of a recurrent layer, in place."""
    weights, _ = exact(tier.recurrents[number])
    if tier.cell == "lstm":
        h, c = states[2 * number : 2 * number + 2]
        i, f, g, o = np.split(sums + h @ weights, 4)
        c[:] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h[:] = sigmoid(o) * np.tanh(c)
        return h
    h, units = states[number], tier.units
    z, r = np.split(sigmoid(sums[: 2 * units] + h @ weights[:, : 2 * units]), 2)
    h[:] = z * h + (1 - z) * np.tanh(sums[2 * units :] + (r * h) @ weights[:, 2 * units :])
    return h


def tier_step(tier, frame, above, states):
    """The vectors for the tier below: equations 1 to 7 of the paper for one row, in float64."""
    inputs = frame if above is None else affine(tier.expand, frame) + above
    values, total = inputs, 0.0
    for number, entry in enumerate(tier.entries):
        joined = np.concatenate([values, inputs]) if number and tier.skips else values
        values = cell_step(tier, number, affine(entry, joined), states)
        if tier.skips:
            total = total + affine(tier.exits[number], values)
    return affine(tier.upsample, total if tier.skips else values).reshape(tier.ratio, tier.units)


def reference(model, levels):
    """Logits `[samples, levels]` of one row, in float64."""
    config, bottom = model.config, model.bottom
    states = [[np.array(values, np.float64) for values in tier.initial_state()] for tier in model.tiers]
    embedding = np.eye(LEVELS) if bottom.embedding is None else np.array(bottom.embedding, np.float64)
    scaled, vectors, logits = (levels / (LEVELS / 2) - 1) * 2, [None] * len(model.tiers), []
    sizes = [*config.frame_sizes[::-1], 1]
    for end in range(config.context, len(levels)):
        above = None
        for number, tier in enumerate(model.tiers):
            place = (end - config.context) % tier.size
            if place == 0:
                vectors[number] = tier_step(tier, scaled[end - tier.size : end], above, states[number])
            above = vectors[number][place // (sizes[number + 1] if number + 1 < len(model.tiers) else 1)]
        values = affine(bottom.first, embedding[levels[end - config.frame_sizes[0] : end]].ravel()) + above
        for layer in bottom.hidden:
            values = np.maximum(affine(layer, values), 0)
        logits.append(affine(bottom.logits, values))
    return np.stack(logits)


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_those_of_the_paper_and_of_the_graph(shape):
    model = create_model(shape)
    levels = given_levels(model)
    logits = predicted(model, levels)
    exact_logits = np.stack([reference(model, row) for row in levels])
    assert exact_logits.std() > 0.1
    np.testing.assert_allclose(logits, exact_logits, atol=1e-5)
    steps = SAMPLES // model.config.context * model.config.context
    graph, _ = model(tf.constant(levels[:, : model.config.context + steps]))
    np.testing.assert_allclose(logits[:, :steps], graph, atol=1e-4)


@pytest.mark.parametrize("shape", ["three tiers", "lstm skips"])
@pytest.mark.parametrize("units", [20, 70])
def test_logits_of_a_row_have_the_same_bits_alone_and_beside_others(shape, units):
    model = create_model(shape, units)
    levels = given_levels(model, 9)
    together = predicted(model, levels)
    for rows in (slice(0, 1), slice(8, 9), slice(1, 3), slice(2, 7)):
        np.testing.assert_array_equal(predicted(model, levels[rows]), together[rows])


def sampled(model, pieces, rows=ROWS, temperature=1.0, top_p=1.0):
    """The levels of all pieces, and the numbers that decided them."""
    (weights, state), levels = start(model, rows), given_levels(model, rows)
    noise = np.random.default_rng(2).random([SAMPLES, rows], np.float32)
    inverse = np.full(SAMPLES, 1 / temperature, np.float32)
    for first, end in pieces:
        kernel.advance(first, end, levels, kernel.Draws(noise, inverse, np.float32(top_p)), weights, state)
    return levels, noise


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_each_level_is_at_its_share_of_the_cumulative_distribution(model, temperature):
    levels, noise = sampled(model, [(0, SAMPLES)], temperature=temperature)
    logits = np.stack([reference(model, row) for row in levels]) / temperature
    cumulative = np.exp(logits).cumsum(axis=2)
    cumulative /= cumulative[..., -1:]
    chosen = levels[:, model.config.context :, np.newaxis]
    high = np.take_along_axis(cumulative, chosen, axis=2)[..., 0]
    low = np.where(chosen[..., 0] > 0, np.take_along_axis(cumulative, np.maximum(chosen - 1, 0), axis=2)[..., 0], 0)
    assert (low - 1e-5 <= noise.T).all() and (high + 1e-5 >= noise.T).all()
    assert len(np.unique(chosen)) > 8


def test_in_pieces_it_samples_the_same(model):
    whole, _ = sampled(model, [(0, SAMPLES)])
    pieces, _ = sampled(model, [(0, 1), (1, 7), (7, 16), (16, 17), (17, SAMPLES)])
    np.testing.assert_array_equal(pieces, whole)


def test_a_small_nucleus_gives_the_likeliest_level(model):
    levels, _ = sampled(model, [(0, SAMPLES)], top_p=1e-30)
    for row in levels:
        np.testing.assert_array_equal(row[model.config.context :], reference(model, row).argmax(axis=1))


@pytest.mark.parametrize(
    "top_p, nucleus", [(0.5, [3]), (0.7, [1, 3]), (0.95, [0, 1, 3]), (1e-9, [3]), (0.9999, [0, 1, 2, 3])]
)
def test_the_nucleus_is_the_smallest_set_of_that_probability(top_p, nucleus):
    masses = np.exp(np.array([0.0, 1.0, -1.0, 2.0], np.float32) - 2)
    kept = masses.copy()
    kernel.keep_nucleus(kept, np.float32(top_p))
    np.testing.assert_array_equal(np.flatnonzero(kept), nucleus)
    np.testing.assert_array_equal(kept[nucleus], masses[nucleus])


def test_levels_that_are_as_likely_as_the_last_one_are_in_the_nucleus():
    masses = np.array([1, 0.5, 1, 0.5], np.float32)
    kernel.keep_nucleus(masses, np.float32(0.7))
    np.testing.assert_array_equal(masses, np.array([1, 0.5, 1, 0.5], np.float32))

"""Laws of SampleRNN: the equations in NumPy float64, parameter counts, one window = two, step by step = all at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import config
from tfvoice.models.sample_rnn import SampleRnn, SampleRnnConfig

LEVELS, BATCH = 16, 3
SHAPES = {
    "two tiers": {"frame_sizes": (4,)},
    "three tiers": {"frame_sizes": (2, 8)},
    "four tiers": {"frame_sizes": (2, 4, 8)},
    "lstm": {"cell": "lstm", "layers": 2},
    "skips": {"layers": 3, "skip_connections": True},
    "plain": {"weight_norm": False, "learned_state": False, "embedding": 0},
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def made(random_weights=True, product_dtype="float32", **shape):
    keras.utils.set_random_seed(1)
    shape = {"frame_sizes": (2, 8), "units": 12, "embedding": 7} | shape
    model = SampleRnn(SampleRnnConfig(**shape), LEVELS, product_dtype)
    model.build(None)
    random = np.random.default_rng(3)
    for weight in model.trainable_variables if random_weights else []:
        scale = 1 / np.sqrt(weight.shape[0]) if len(weight.shape) == 2 else 0.3
        weight.assign(scale * random.standard_normal(weight.shape))
    return model


def some_levels(count, batch=BATCH):
    return tf.constant(np.random.default_rng(2).integers(0, LEVELS, (batch, count)), tf.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Oracle:
    """The whole network one sample after the other, float64, from the weights of a model."""

    def __init__(self, model):
        self.model, self.config = model, model.config
        self.state = {}

    def linear(self, layer, x):
        kernel = np.array(layer.kernel, np.float64)
        if layer.gain is not None:
            kernel = kernel * np.array(layer.gain, np.float64) / np.linalg.norm(kernel, axis=0)
        return x @ kernel + (0 if layer.bias is None else np.array(layer.bias, np.float64))

    def cell(self, tier, number, x, state):
        projected, units = self.linear(tier.entries[number], x), self.config.units
        recurrent = self.linear(tier.recurrents[number], np.eye(units))
        if self.config.cell == "lstm":
            i, f, g, o = np.split(projected + state[0] @ recurrent, 4)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            return [sigmoid(o) * np.tanh(c), c]
        z, r = np.split(sigmoid(projected[: 2 * units] + state[0] @ recurrent[:, : 2 * units]), 2)
        new = np.tanh(projected[2 * units :] + (r * state[0]) @ recurrent[:, 2 * units :])
        return [z * state[0] + (1 - z) * new]

    def tier(self, tier, frame, above):
        first = np.zeros((tier.states, self.config.units)) if tier.first is None else np.array(tier.first, np.float64)
        state = self.state.setdefault(tier.name, list(first))
        values = frame if above is None else self.linear(tier.expand, frame) + above
        seen, total, after, each = values, 0, [], tier.states // self.config.layers
        for number in range(self.config.layers):
            if number and self.config.skip_connections:
                values = np.concatenate([values, seen])
            new = self.cell(tier, number, values, state[number * each : (number + 1) * each])
            values, after = new[0], after + new
            if self.config.skip_connections:
                total = total + self.linear(tier.exits[number], values)
        self.state[tier.name] = after
        vectors = self.linear(tier.upsample, total if self.config.skip_connections else values)
        return vectors.reshape(tier.ratio, -1)

    def logits(self, levels):
        """`[samples, levels]` for one row."""
        sizes, found, vectors = self.config.frame_sizes, [], {}
        context = sizes[-1]
        for t in range(context, len(levels)):
            above = None
            for tier in self.model.tiers:
                if t % tier.size == 0:
                    frame = (levels[t - tier.size : t] / (LEVELS / 2) - 1) * 2
                    vectors[tier.name] = self.tier(tier, frame, above)
                step = tier.size // tier.ratio
                above = vectors[tier.name][t % tier.size // step]
            found.append(self.bottom(levels[t - sizes[0] : t], above))
        return np.array(found)

    def bottom(self, levels, above):
        bottom = self.model.bottom
        table = np.array(bottom.embedding, np.float64) if bottom.embedding is not None else np.eye(LEVELS)
        values = self.linear(bottom.first, table[levels].ravel()) + above
        for layer in bottom.hidden:
            values = np.maximum(self.linear(layer, values), 0)
        return self.linear(bottom.logits, values)


@each_shape
def test_logits_are_those_of_the_equations(shape):
    model = made(**shape)
    levels = some_levels(8 + 32)
    logits, _ = model(levels[:, 8 - model.config.context :])
    for row in range(BATCH):
        wanted = Oracle(model).logits(levels[row, 8 - model.config.context :].numpy())
        np.testing.assert_allclose(logits[row], wanted, atol=1e-5)


@each_shape
def test_two_windows_are_one(shape):
    model = made(**shape)
    context = model.config.context
    levels = some_levels(context + 32)
    whole, last = model(levels)
    first, state = model(levels[:, : context + 16])
    second, state = model(levels[:, 16:], state)
    np.testing.assert_allclose(tf.concat([first, second], axis=1), whole, atol=1e-5)
    for one, other in zip(state, last, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_row_that_is_reset_begins_anew():
    model = made()
    levels = some_levels(8 + 16)
    state = [tf.ones_like(value) for value in model.start(BATCH)]
    fresh, _ = model(levels)
    carried, _ = model(levels, state)
    mixed, _ = model(levels, state, tf.constant([True, False, True]))
    for row, wanted in enumerate((fresh, carried, fresh)):
        np.testing.assert_array_equal(mixed[row], wanted[row])
    assert np.abs(fresh - carried).max() > 1e-3


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.1), ("float16", 0.02)])
def test_products_of_another_type_give_about_the_same(dtype, tolerance):
    levels = some_levels(8 + 32)
    exact, _ = made()(levels)
    model = made(product_dtype=dtype)
    found, _ = model(levels)
    assert found.dtype == tf.float32
    assert 0 < np.abs(found - exact).max() < tolerance * np.abs(exact).max()


def test_nothing_is_seen_of_what_comes_later():
    model = made()
    levels = some_levels(8 + 32).numpy()
    before, _ = model(levels)
    levels[:, 8 + 11] = (levels[:, 8 + 11] + 5) % LEVELS
    after, _ = model(levels)
    np.testing.assert_array_equal(before[:, :12], after[:, :12])
    assert np.abs(before[:, 12] - after[:, 12]).max() > 1e-6


@pytest.mark.parametrize(
    "shape, count",
    [
        ({"frame_sizes": (2, 8)}, 18_744_832),
        ({"frame_sizes": (2, 8), "weight_norm": False}, 18_722_048),
        ({"frame_sizes": (16,), "layers": 3}, 39_243_264),
    ],
)
def test_parameters_of_the_original(shape, count):
    model = SampleRnn(SampleRnnConfig(units=1024, embedding=256, **shape), 256)
    model.build(None)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == count


def test_it_begins_by_knowing_nothing():
    model = made(random_weights=False, units=64)
    logits, _ = model(some_levels(8 + 512))
    bits = tf.nn.sparse_softmax_cross_entropy_with_logits(some_levels(8 + 512)[:, 8:], logits) / np.log(2)
    assert abs(float(tf.reduce_mean(bits)) - np.log2(LEVELS)) < 0.1


def test_gradients_are_those_of_finite_differences():
    model = made(units=5, embedding=3)
    levels = some_levels(8 + 16, batch=2)

    def loss():
        logits, _ = model(levels, [0.1 * tf.ones_like(value) for value in model.start(2)], tf.constant([True, False]))
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(levels[:, 8:], logits))

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [weight.value for weight in model.trainable_variables])
    random = np.random.default_rng(0)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        direction = random.standard_normal(weight.shape).astype(np.float32)
        start, step = np.array(weight), 3e-3
        ends = []
        for sign in (1, -1):
            weight.assign(start + sign * step * direction)
            ends.append(float(loss()))
        weight.assign(start)
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(slope, abs=2e-3, rel=3e-2), weight.path


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"frame_sizes": []}, "name the samples"),
        ({"frame_sizes": [3, 8]}, "8 samples cannot be cut into several of 3"),
        ({"frame_sizes": [8, 8]}, "8 samples cannot be cut"),
        ({"frame_sizes": [0, 8]}, "name the samples"),
        ({"layers": 6}, "less than or equal to 5"),
        ({"skip_connections": True}, "layers of 2 or more"),
    ],
)
def test_shapes_that_cannot_be(wrong, sentence):
    with pytest.raises(config.ConfigError, match=sentence):
        config.build(SampleRnnConfig, wrong)

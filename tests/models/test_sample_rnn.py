"""SampleRNN: equality with the equations in NumPy float64, parameter counts, and carried states."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import config
from tfvoice.layers import xla
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


def built(random_weights=True, dtype="float32", **shape):
    keras.utils.set_random_seed(1)
    shape = {"frame_sizes": (2, 8), "units": 12, "embedding": 7} | shape
    model = SampleRnn(SampleRnnConfig(**shape), LEVELS, dtype)
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
        inputs, total, final, count = values, 0, [], tier.states // self.config.layers
        for number in range(self.config.layers):
            if number and self.config.skip_connections:
                values = np.concatenate([values, inputs])
            new = self.cell(tier, number, values, state[number * count : (number + 1) * count])
            values, final = new[0], final + new
            if self.config.skip_connections:
                total = total + self.linear(tier.exits[number], values)
        self.state[tier.name] = final
        vectors = self.linear(tier.upsample, total if self.config.skip_connections else values)
        return vectors.reshape(tier.ratio, -1)

    def logits(self, levels):
        """`[samples, levels]` for one row."""
        sizes, logits, vectors = self.config.frame_sizes, [], {}
        context = sizes[-1]
        for t in range(context, len(levels)):
            above = None
            for tier in self.model.tiers:
                if t % tier.size == 0:
                    frame = (levels[t - tier.size : t] / (LEVELS / 2) - 1) * 2
                    vectors[tier.name] = self.tier(tier, frame, above)
                step = tier.size // tier.ratio
                above = vectors[tier.name][t % tier.size // step]
            logits.append(self.bottom(levels[t - sizes[0] : t], above))
        return np.array(logits)

    def bottom(self, levels, above):
        bottom = self.model.bottom
        table = np.array(bottom.embedding, np.float64) if bottom.embedding is not None else np.eye(LEVELS)
        values = self.linear(bottom.first, table[levels].ravel()) + above
        for layer in bottom.hidden:
            values = np.maximum(self.linear(layer, values), 0)
        return self.linear(bottom.logits, values)


@each_shape
def test_logits_equal_the_equations(shape):
    model = built(**shape)
    levels = some_levels(8 + 32)
    logits, _ = model(levels[:, 8 - model.config.context :])
    for row in range(BATCH):
        expected = Oracle(model).logits(levels[row, 8 - model.config.context :].numpy())
        np.testing.assert_allclose(logits[row], expected, atol=1e-5)


@each_shape
def test_two_windows_with_the_carried_state_equal_one(shape):
    model = built(**shape)
    context = model.config.context
    levels = some_levels(context + 32)
    whole, last = model(levels)
    first, state = model(levels[:, : context + 16])
    second, state = model(levels[:, 16:], state)
    np.testing.assert_allclose(tf.concat([first, second], axis=1), whole, atol=1e-5)
    for actual, desired in zip(state, last, strict=True):
        np.testing.assert_allclose(actual, desired, atol=1e-5)


def test_a_reset_row_starts_from_the_initial_state():
    model = built()
    levels = some_levels(8 + 16)
    state = [tf.ones_like(value) for value in model.initial_state(BATCH)]
    fresh, _ = model(levels)
    carried, _ = model(levels, state)
    mixed, _ = model(levels, state, tf.constant([True, False, True]))
    for row, expected in enumerate((fresh, carried, fresh)):
        np.testing.assert_array_equal(mixed[row], expected[row])
    assert np.abs(fresh - carried).max() > 1e-3


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)])
def test_a_mixed_policy_gives_nearly_the_same_logits(policy, tolerance):
    levels = some_levels(8 + 32)
    exact, _ = built()(levels)
    model = built(dtype=policy)
    logits, state = model(levels)
    assert {value.dtype for value in (logits, *state)} == {tf.float32}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert 0 < np.abs(logits - exact).max() < tolerance * np.abs(exact).max()


def test_logits_do_not_depend_on_later_samples():
    model = built()
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
def test_the_network_has_the_parameters_of_the_original(shape, count):
    # In a graph, variables have a shape and no memory.
    with tf.Graph().as_default():
        model = SampleRnn(SampleRnnConfig(units=1024, embedding=256, **shape), 256)
        model.build(None)
        assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == count


def test_the_initial_loss_is_that_of_a_uniform_distribution():
    model = built(random_weights=False, units=64)
    logits, _ = model(some_levels(8 + 512))
    bits = tf.nn.sparse_softmax_cross_entropy_with_logits(some_levels(8 + 512)[:, 8:], logits) / np.log(2)
    assert abs(float(tf.reduce_mean(bits)) - np.log2(LEVELS)) < 0.1


@pytest.mark.parametrize("training", [False, True])
def test_gradients_equal_finite_differences(training):
    model = built(units=5, embedding=3)
    levels = some_levels(8 + 16, batch=2)

    def loss():
        state = [0.1 * tf.ones_like(value) for value in model.initial_state(2)]
        logits, _ = model(levels, state, tf.constant([True, False]), training=training)
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
def test_invalid_architectures_are_refused(wrong, sentence):
    with pytest.raises(config.ConfigError, match=sentence):
        config.build(SampleRnnConfig, wrong)


@each_shape
def test_variable_paths_are_unique(shape):
    """And the same for each model of a process."""
    first, second = ([variable.path for variable in built(**shape).weights] for _ in range(2))
    assert len(set(first)) == len(first)
    assert first == second
    assert "sample_rnn/bottom/first/kernel" in first and all(path.startswith("sample_rnn/") for path in first)


@each_shape
@pytest.mark.parametrize("loop", ["xla", "cudnn"])
def test_every_loop_gives_the_same_logits_and_gradients(shape, loop):
    model, levels = built(**shape), some_levels(8 + 16)

    @tf.function
    def run(loop):
        with tf.GradientTape() as tape:
            logits, state = model(levels[:, 8 - model.config.context :], loop=loop, training=True)
            loss = tf.reduce_sum(tf.square(logits))
        return logits, state, tape.gradient(loss, [weight.value for weight in model.trainable_variables])

    results, expected = (tf.nest.flatten(run(kind)) for kind in (loop, "graph"))
    for actual, desired in zip(results, expected, strict=True):
        desired = tf.convert_to_tensor(desired)
        np.testing.assert_allclose(tf.convert_to_tensor(actual), desired, atol=1e-4 * max(1, np.abs(desired).max()))


def test_the_default_loop_needs_neither_xla_nor_a_gpu(monkeypatch):
    """Even if the model is traced on a machine with a GPU."""
    model = built()
    model.training_loop = "xla"
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [kind])
    with xla.disabled():
        function = tf.function(lambda levels: model(levels)[0])
        graph = function.get_concrete_function(tf.TensorSpec([BATCH, 8 + 16], tf.int32)).graph.as_graph_def()
    assert not any(definition.attr["_XlaMustCompile"].b for definition in graph.library.function)


def test_a_saved_model_comes_back_with_the_same_logits(tmp_path):
    model = SampleRnn(SampleRnnConfig(units=8, embedding=4, frame_sizes=(2, 4)), 16)
    model.build(None)
    model.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    levels = np.random.default_rng(0).integers(0, 16, [2, 12]).astype(np.int32)
    np.testing.assert_array_equal(loaded(levels)[0], model(levels)[0])
    assert loaded.config == model.config and loaded.get_config() == model.get_config()
    np.testing.assert_allclose(model.predict(levels, verbose=0)[0], model(levels)[0], atol=1e-5)

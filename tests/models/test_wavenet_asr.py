"""WaveNet ASR: parameter counts, equality with the equations in NumPy, and padding that does not change the logits."""

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tfvoice import tasks
from tfvoice.asr import config
from tfvoice.models import wavenet_asr
from tfvoice.models.wavenet_asr import WavenetAsr, WavenetAsrConfig

SMALL = {"width": 6, "kernel_size": 3, "dilations": (1, 2), "stacks": 2}
CLASSES, CHANNELS = 28, 20
LENGTHS = np.array([23, 14, 1], np.int32)


def built(config, channels=CHANNELS, classes=CLASSES, dtype="float32"):
    model = WavenetAsr(config, classes, dtype)
    model(tf.zeros([1, 8, channels]), tf.constant([8], tf.int32))
    return model


def randomized(model, seed=0):
    """Gives normalisations, biases and moving statistics values as training could."""
    random = np.random.default_rng(seed)
    starts = {"gamma": 1, "moving_variance": 1}
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name != "kernel":
            noise = 0.3 * random.standard_normal(weight.shape)
            weight.assign(np.maximum(starts.get(name, 0) + noise, 0.3 if name == "moving_variance" else -9))
    return model


def small(**values):
    return randomized(built(WavenetAsrConfig(**SMALL, **values)))


def batch(lengths=LENGTHS, time=None, channels=CHANNELS, seed=1):
    random = np.random.default_rng(seed)
    values = np.zeros([len(lengths), time or max(lengths), channels], np.float32)
    for row, length in zip(values, lengths, strict=True):
        row[:length] = random.standard_normal([length, channels])
    return values


@pytest.fixture(scope="module")
def faithful():
    config = tasks.resolve("wavenet_asr", "wavenet_asr_faithful").model
    return built(config)


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_the_faithful_network_has_the_parameters_of_the_original(faithful):
    assert count(faithful.trainable_weights) == 3_720_988
    assert count(faithful.non_trainable_weights) == 12_032


def test_the_faithful_network_has_a_receptive_field_of_279_frames_to_either_side(faithful):
    centre, time = 290, 581
    inputs = tf.constant(batch([time]))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits, lengths = faithful(inputs, tf.constant([time], tf.int32), training=False)
        frame = tf.reduce_sum(logits[0, centre] * tf.range(1.0, CLASSES + 1))
    assert logits.shape == (1, time, CLASSES) and lengths.numpy().tolist() == [time]
    receptive = np.flatnonzero(np.abs(tape.gradient(frame, inputs)[0]).max(axis=1))
    assert (receptive[0], receptive[-1], len(receptive)) == (centre - 279, centre + 279, 559)


def test_the_faithful_network_has_the_initial_weights_of_the_original(faithful):
    bounds = {(7, 128, 256): 896**-0.5, (1, 20, 128): 0.1406, (1, 128, 128): 0.0884, (1, 128, 28): 0.1292}
    kernels = [weight for weight in faithful.trainable_weights if weight.path.endswith("kernel")]
    assert {tuple(kernel.shape) for kernel in kernels} == bounds.keys()
    for kernel in kernels:
        values, bound = kernel.numpy().ravel(), bounds[tuple(kernel.shape)]
        assert 0.98 * bound < np.abs(values).max() < bound + 5e-5
        # Uniform: its deviation is the bound over the root of 3.
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not np.array_equal(kernels[1], kernels[3])
    for weight in faithful.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name != "kernel":
            assert (weight.numpy() == (1 if name in ("gamma", "moving_variance") else 0)).all()


def test_the_default_has_the_documented_parameters():
    """The front is wider by four taps of 80 channels, and the alphabet by the apostrophe; the rest is the original."""
    default = config.RecognizerConfig()
    model = built(default.model, channels=80, classes=29)
    front, output = (5 * 80 - 20) * 128, 128 + 1
    assert count(model.trainable_weights) == 3_720_988 + front + output


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_output_lengths_are_the_ceiling_of_the_input_lengths(stride):
    model = small(stride=stride, front_kernel_size=5)
    for time in (1, 2, 7, 12):
        lengths = np.arange(1, time + 1, dtype=np.int32)
        logits = model(batch(lengths), tf.constant(lengths))
        assert logits.values.shape == (time, -(-time // stride), CLASSES)
        np.testing.assert_array_equal(logits.lengths, -(-lengths // stride))
        np.testing.assert_array_equal(model.output_lengths(lengths), logits.lengths)


# The oracle: a second implementation, from the descriptions of the paper and the original, in float64.


def convolve(inputs, kernel, stride=1, dilation=1):
    taps, _, filters = kernel.shape
    time = inputs.shape[1]
    outputs = np.zeros([inputs.shape[0], -(-time // stride), filters])
    for tap in range(taps):
        for position in range(outputs.shape[1]):
            source = position * stride + (tap - taps // 2) * dilation
            if 0 <= source < time:
                outputs[:, position] += inputs[:, source] @ kernel[tap]
    return outputs


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


class Oracle:
    def __init__(self, model):
        self.config = model.config
        self.weights = {
            weight.path.removeprefix("wavenet_asr/"): weight.numpy().astype(np.float64) for weight in model.weights
        }

    def layer(self, name, inputs, stride=1, dilation=1):
        kernel = self.weights[f"{name}/convolution/kernel"]
        gamma, beta, mean, variance = (
            self.weights[f"{name}/norm/{key}"] for key in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        values = convolve(inputs, kernel, stride, dilation)
        if self.training:
            counted = values[self.valid] if self.config.mask_padding else values.reshape(-1, values.shape[-1])
            mean, variance = counted.mean(axis=0), counted.var(axis=0)
        return gamma * (values - mean) / np.sqrt(variance + self.config.batch_norm_epsilon) + beta

    def masked(self, values):
        return values * self.valid[..., np.newaxis] if self.config.mask_padding else values

    def __call__(self, inputs, lengths, training):
        self.training = training
        frames = np.ceil(np.array(lengths) / self.config.stride)
        self.valid = np.arange(np.ceil(inputs.shape[1] / self.config.stride)) < frames[:, np.newaxis]
        stream = self.masked(np.tanh(self.layer("front", inputs.astype(np.float64), self.config.stride)))
        skips = []
        for number, dilation in enumerate(self.config.stacks * self.config.dilations, 1):
            both = self.layer(f"block_{number}/filter_gate", stream, dilation=dilation)
            gated = np.tanh(both[..., : self.config.width]) * sigmoid(both[..., self.config.width :])
            skips.append(np.tanh(self.layer(f"block_{number}/mix", gated)))
            stream = self.masked(stream + skips[-1])
        hidden = np.tanh(self.layer("hidden", sum(skips)))
        return convolve(hidden, self.weights["output/kernel"]) + self.weights["output/bias"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        {"stride": 1, "front_kernel_size": 1, "mask_padding": False, "batch_norm_epsilon": 1e-8},
        {"stride": 1, "front_kernel_size": 1, "mask_padding": True, "batch_norm_epsilon": 1e-8},
        {"stride": 2, "front_kernel_size": 5, "mask_padding": True},
        {"stride": 3, "front_kernel_size": 3, "mask_padding": False},
    ],
)
def test_logits_equal_the_oracle(values, training):
    model = small(**values)
    oracle = Oracle(model)
    inputs = batch(time=25)
    logits, lengths = model(inputs, tf.constant(LENGTHS), training=training)
    expected = oracle(inputs, LENGTHS, training)
    for row, length in enumerate(lengths.numpy()):
        np.testing.assert_allclose(logits[row, :length], expected[row, :length], atol=1e-4)
    if not model.config.mask_padding:
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def padding_errors(model, channels):
    """Errors of the logits of an utterance in batches of several widths, compared with the utterance alone."""
    errors = []
    for length in (1, 20, 37):
        values = batch([length], channels=channels, seed=length)
        alone, _ = model(values, tf.constant([length], tf.int32))
        for time in (length + 1, length + 2, 64):
            lengths = np.array([length, time, max(1, time // 2)], np.int32)
            together = batch(lengths, time, channels, seed=time)
            together[0], together[0, :length] = 0, values[0]
            logits, frames = model(together, tf.constant(lengths))
            errors.append(np.abs(logits[0, : frames[0]] - alone[0]).max())
    return np.array(errors)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_does_not_change_the_logits(stride):
    default = config.RecognizerConfig().model
    model = randomized(built(default.model_copy(update={"stride": stride}), channels=80, classes=29))
    assert padding_errors(model, 80).max() < 1e-5


def test_padding_changes_the_logits_without_mask_padding():
    model = small(mask_padding=False, stride=1)
    assert padding_errors(model, CHANNELS).min() > 1e-3


def test_padding_does_not_change_masked_training():
    """The same rows in a wider batch with empty rows: the same logits, gradients and moving statistics."""
    model, wider = small(stride=2), small(stride=2)
    for target, source in zip(wider.weights, model.weights, strict=True):
        target.assign(source)
    inputs = batch()
    padded = np.pad(inputs, [(0, 2), (0, 10), (0, 0)])

    def train(model, inputs, lengths):
        with tf.GradientTape() as tape:
            logits, frames = model(inputs, tf.constant(lengths), training=True)
            valid = tf.sequence_mask(frames, tf.shape(logits)[1], tf.float32)[..., tf.newaxis]
            loss = tf.reduce_sum(tf.square(logits) * valid)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    gradients = train(model, inputs, LENGTHS)
    padded_gradients = train(wider, padded, np.array([*LENGTHS, 0, 0], np.int32))
    for desired, actual in zip(gradients, padded_gradients, strict=True):
        np.testing.assert_allclose(desired, actual, atol=1e-4 * np.abs(desired).max() + 1e-5)
    for desired, actual in zip(model.non_trainable_weights, wider.non_trainable_weights, strict=True):
        np.testing.assert_allclose(desired, actual, atol=1e-5)


def test_inference_changes_no_weight():
    model = small()
    before = [weight.numpy() for weight in model.weights]
    model(batch(), tf.constant(LENGTHS), training=False)
    for weight, previous in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, previous)


def test_eager_and_graph_agree_for_unknown_shapes():
    model = small()
    signature = [tf.TensorSpec([None, None, CHANNELS]), tf.TensorSpec([None], tf.int32)]
    compiled = tf.function(lambda values, lengths: model(values, lengths), input_signature=signature)
    for time in (23, 40):
        inputs = batch(time=time)
        np.testing.assert_allclose(compiled(inputs, LENGTHS).values, model(inputs, LENGTHS).values, atol=1e-5)


@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.006)])
def test_a_mixed_policy_gives_nearly_the_same_logits(policy, error):
    exact = small()
    mixed = built(exact.config, dtype=policy)
    for target, source in zip(mixed.weights, exact.weights, strict=True):
        target.assign(source)
    inputs = batch()
    expected = exact(inputs, LENGTHS).values.numpy()
    logits = mixed(inputs, LENGTHS).values
    assert logits.dtype == tf.float32 and {weight.dtype for weight in mixed.weights} == {"float32"}
    assert 0 < np.sqrt(np.mean(np.square(logits - expected))) < error * expected.std()
    assert mixed.output_layer.compute_dtype == "float32"


def test_dropout_is_a_function_of_its_seed_and_for_training_only():
    model = small(dropout=0.3)

    def logits(seed, training=True):
        return model(batch(), tf.constant(LENGTHS), training=training, seed=tf.constant(seed, tf.int32)).values.numpy()

    np.testing.assert_array_equal(logits([1, 2]), logits([1, 2]))
    assert not np.allclose(logits([1, 2]), logits([1, 3]))
    assert not np.allclose(logits([1, 2]), logits([2, 2]))
    np.testing.assert_array_equal(logits([1, 2], False), logits([9, 9], False))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"front_kernel_size": 2}, "front_kernel_size must be odd"),
        ({"stride": 7}, "front_kernel_size must be at least the stride"),
        ({"dilations": ()}, "dilations must be positive numbers"),
        ({"dilations": (1, 0)}, "dilations must be positive numbers"),
    ],
)
def test_invalid_architectures_are_refused(values, sentence):
    with pytest.raises(pydantic.ValidationError, match=sentence):
        WavenetAsrConfig(**values)


def test_later_blocks_are_conditioned_on_intermediate_predictions():
    model = small(intermediate=(1, 3))
    features, lengths = batch(), tf.constant(LENGTHS)
    predictions = model.predictions(features, lengths)
    assert len(predictions) == 3
    for prediction in predictions:
        assert prediction.values.shape == predictions[-1].values.shape
        np.testing.assert_array_equal(prediction.lengths, predictions[-1].lengths)
    np.testing.assert_array_equal(model(features, lengths).values, predictions[-1].values)
    model.conditioning.kernel.assign(2 * model.conditioning.kernel)
    first, second, last = model.predictions(features, lengths)
    np.testing.assert_array_equal(first.values, predictions[0].values)
    for after, before in ((second, predictions[1]), (last, predictions[2])):
        assert not np.allclose(after.values, before.values, atol=1e-4)


def test_padding_does_not_change_intermediate_predictions():
    model = small(intermediate=(2,))
    alone = model.predictions(batch()[1:2, : LENGTHS[1]], tf.constant(LENGTHS[1:2]))
    together = model.predictions(np.pad(batch(), [(0, 0), (0, 5), (0, 0)]), tf.constant(LENGTHS))
    for desired, actual in zip(alone, together, strict=True):
        frames = int(desired.lengths[0])
        np.testing.assert_allclose(actual.values[1, :frames], desired.values[0, :frames], atol=1e-5)


@pytest.mark.parametrize("block", [0, 4, -1])
def test_only_blocks_before_the_last_can_have_intermediate_predictions(block):
    with pytest.raises(pydantic.ValidationError, match="intermediate must name blocks from 1 to 3"):
        WavenetAsrConfig(**SMALL, intermediate=(block,))


@pytest.mark.parametrize("values", [{}, {"dilations": (1, 1, 2)}, {"intermediate": (1, 2)}, {"mask_padding": False}])
def test_variable_paths_are_unique(values):
    """Blocks of the same stack and dilation had the same path. The paths are the same for each model of a process."""
    config = WavenetAsrConfig(**SMALL | values)
    first, second = ([variable.path for variable in built(config).weights] for _ in range(2))
    assert len(set(first)) == len(first)
    assert first == second
    assert "wavenet_asr/block_1/filter_gate/convolution/kernel" in first


def test_each_block_has_a_dropout_mask_of_its_own(monkeypatch):
    layers = []
    monkeypatch.setattr(wavenet_asr, "dropout", lambda values, rate, seed, layer: layers.append(layer) or values)
    model = small(dropout=0.5)
    model(batch(), tf.constant(LENGTHS), training=True)
    assert len(set(layers)) == len(model.blocks) == 4


def test_dropout_without_a_seed_takes_the_global_generator():
    model = small(dropout=0.5)
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        results.append(model(batch(), tf.constant(LENGTHS), training=True).values)
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])

"""Laws of WaveNet ASR: the original's numbers, the paper's equations in NumPy, and padding that changes nothing."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tfvoice import experiment, models
from tfvoice.config import ConfigError
from tfvoice.models.wavenet_asr import WavenetAsr, WavenetAsrConfig

SMALL = {"width": 6, "kernel_size": 3, "dilations": (1, 2), "stacks": 2}
CLASSES, CHANNELS = 28, 20
LENGTHS = np.array([23, 14, 1], np.int32)


def built(config, channels=CHANNELS, classes=CLASSES, product_dtype="float32"):
    model = WavenetAsr(config, classes, product_dtype)
    model(tf.zeros([1, 8, channels]), tf.constant([8], tf.int32))
    return model


def disturbed(model, seed=0):
    """Gives normalisations, biases and moving statistics values that training could give them."""
    random = np.random.default_rng(seed)
    starts = {"gamma": 1, "moving_variance": 1}
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name != "kernel":
            noise = 0.3 * random.standard_normal(weight.shape)
            weight.assign(np.maximum(starts.get(name, 0) + noise, 0.3 if name == "moving_variance" else -9))
    return model


def small(**values):
    return disturbed(built(WavenetAsrConfig(**SMALL, **values)))


def batch(lengths=LENGTHS, time=None, channels=CHANNELS, seed=1):
    random = np.random.default_rng(seed)
    values = np.zeros([len(lengths), time or max(lengths), channels], np.float32)
    for row, length in zip(values, lengths, strict=True):
        row[:length] = random.standard_normal([length, channels])
    return values


@pytest.fixture(scope="module")
def faithful():
    config = experiment.resolve("wavenet_asr", "wavenet_asr_faithful").model
    return built(config)


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_the_faithful_network_has_the_parameters_of_the_original(faithful):
    assert count(faithful.trainable_weights) == 3_720_988
    assert count(faithful.non_trainable_weights) == 12_032


def test_the_faithful_network_keeps_every_frame_and_sees_279_to_either_side(faithful):
    centre, time = 290, 581
    inputs = tf.constant(batch([time]))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits, lengths = faithful(inputs, tf.constant([time], tf.int32), training=False)
        frame = tf.reduce_sum(logits[0, centre] * tf.range(1.0, CLASSES + 1))
    assert logits.shape == (1, time, CLASSES) and lengths.numpy().tolist() == [time]
    touched = np.flatnonzero(np.abs(tape.gradient(frame, inputs)[0]).max(axis=1))
    assert (touched[0], touched[-1], len(touched)) == (centre - 279, centre + 279, 559)


def test_the_faithful_network_starts_as_the_original(faithful):
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


def test_the_default_has_filters_and_gates_of_equal_weight_count():
    """The front is wider by four taps of 80 channels, and the alphabet by the apostrophe; the rest is the original."""
    default = experiment.RecognizerConfig()
    model = built(default.model, channels=80, classes=29)
    front, output = (5 * 80 - 20) * 128, 128 + 1
    assert count(model.trainable_weights) == 3_720_988 + front + output


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_length_is_the_ceiling(stride):
    model = small(stride=stride, front_kernel_size=5)
    for time in (1, 2, 7, 12):
        lengths = np.arange(1, time + 1, dtype=np.int32)
        logits = model(batch(lengths), tf.constant(lengths))
        assert logits.values.shape == (time, -(-time // stride), CLASSES)
        np.testing.assert_array_equal(logits.lengths, -(-lengths // stride))
        np.testing.assert_array_equal(model.output_lengths(lengths), logits.lengths)


# The oracle: the network once more, from the paper's and the original's description, in float64.


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
        for stack in range(self.config.stacks):
            for dilation in self.config.dilations:
                block, width = f"block_{stack}_{dilation}", self.config.width
                both = self.layer(f"{block}/filter_gate", stream, dilation=dilation)
                gated = np.tanh(both[..., :width]) * sigmoid(both[..., width:])
                skips.append(np.tanh(self.layer(f"{block}/mix", gated)))
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
def test_the_network_is_the_oracle(values, training):
    model = small(**values)
    oracle = Oracle(model)
    inputs = batch(time=25)
    found, lengths = model(inputs, tf.constant(LENGTHS), training=training)
    expected = oracle(inputs, LENGTHS, training)
    for row, length in enumerate(lengths.numpy()):
        np.testing.assert_allclose(found[row, :length], expected[row, :length], atol=1e-4)
    if not model.config.mask_padding:
        np.testing.assert_allclose(found, expected, atol=1e-4)


def padding_errors(model, channels):
    """How far the logits of an utterance in batches of many widths are from those of the utterance alone."""
    found = []
    for length in (1, 20, 37):
        values = batch([length], channels=channels, seed=length)
        alone, _ = model(values, tf.constant([length], tf.int32))
        for time in (length + 1, length + 2, 64):
            lengths = np.array([length, time, max(1, time // 2)], np.int32)
            together = batch(lengths, time, channels, seed=time)
            together[0], together[0, :length] = 0, values[0]
            logits, frames = model(together, tf.constant(lengths))
            found.append(np.abs(logits[0, : frames[0]] - alone[0]).max())
    return np.array(found)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_never_changes_a_result(stride):
    default = experiment.RecognizerConfig().model
    model = disturbed(built(default.model_copy(update={"stride": stride}), channels=80, classes=29))
    assert padding_errors(model, 80).max() < 1e-5


def test_in_the_original_padding_changes_the_result():
    model = small(mask_padding=False, stride=1)
    assert padding_errors(model, CHANNELS).min() > 1e-3


def test_masked_training_does_not_see_padding_either():
    """Same rows in a wider batch, with rows of nothing: same logits, same gradients, same moving statistics."""
    model, wider = small(stride=2), small(stride=2)
    for mine, its in zip(wider.weights, model.weights, strict=True):
        mine.assign(its)
    inputs = batch()
    padded = np.pad(inputs, [(0, 2), (0, 10), (0, 0)])

    def trained(model, inputs, lengths):
        with tf.GradientTape() as tape:
            logits, frames = model(inputs, tf.constant(lengths), training=True)
            valid = tf.sequence_mask(frames, tf.shape(logits)[1], tf.float32)[..., tf.newaxis]
            loss = tf.reduce_sum(tf.square(logits) * valid)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    gradients = trained(model, inputs, LENGTHS)
    others = trained(wider, padded, np.array([*LENGTHS, 0, 0], np.int32))
    for one, other in zip(gradients, others, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(one).max() + 1e-5)
    for one, other in zip(model.non_trainable_weights, wider.non_trainable_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_inference_leaves_every_weight_alone():
    model = small()
    before = [weight.numpy() for weight in model.weights]
    model(batch(), tf.constant(LENGTHS), training=False)
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_eager_and_graph_agree_for_unknown_shapes():
    model = small()
    signature = [tf.TensorSpec([None, None, CHANNELS]), tf.TensorSpec([None], tf.int32)]
    compiled = tf.function(lambda values, lengths: model(values, lengths), input_signature=signature)
    for time in (23, 40):
        inputs = batch(time=time)
        np.testing.assert_allclose(compiled(inputs, LENGTHS).values, model(inputs, LENGTHS).values, atol=1e-5)


@pytest.mark.parametrize(("product_dtype", "error"), [("bfloat16", 0.05), ("float16", 0.006)])
def test_short_products_give_nearly_the_same_logits(product_dtype, error):
    exact = small()
    short = built(exact.config, product_dtype=product_dtype)
    for mine, its in zip(short.weights, exact.weights, strict=True):
        mine.assign(its)
    inputs = batch()
    wanted = exact(inputs, LENGTHS).values.numpy()
    found = short(inputs, LENGTHS).values
    assert found.dtype == tf.float32
    assert 0 < np.sqrt(np.mean(np.square(found - wanted))) < error * wanted.std()


def test_dropout_is_decided_by_its_seed_and_only_in_training():
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
def test_shapes_that_cannot_be_are_refused(values, sentence):
    with pytest.raises(pydantic.ValidationError, match=sentence):
        WavenetAsrConfig(**values)


def test_models_are_found_by_name_and_built_from_their_configuration():
    for name, entry in models.MODELS.items():
        assert isinstance(models.build(entry.config(), CLASSES), entry.model)
        assert entry.config().name == name
    with pytest.raises(ConfigError, match=r"--model=wavnet_asr: there is no such model; did you mean wavenet_asr\?"):
        models.entry("wavnet_asr")


def test_early_predictions_are_of_the_same_kind_and_the_later_blocks_are_told_them():
    model = small(intermediate=(1, 3))
    features, lengths = batch(), tf.constant(LENGTHS)
    predictions = model.predictions(features, lengths)
    assert len(predictions) == 3
    for one in predictions:
        assert one.values.shape == predictions[-1].values.shape
        np.testing.assert_array_equal(one.lengths, predictions[-1].lengths)
    np.testing.assert_array_equal(model(features, lengths).values, predictions[-1].values)
    model.told.kernel.assign(2 * model.told.kernel)
    first, second, last = model.predictions(features, lengths)
    np.testing.assert_array_equal(first.values, predictions[0].values)
    for one, before in ((second, predictions[1]), (last, predictions[2])):
        assert not np.allclose(one.values, before.values, atol=1e-4)


def test_early_predictions_let_no_padding_in():
    model = small(intermediate=(2,))
    alone = model.predictions(batch()[1:2, : LENGTHS[1]], tf.constant(LENGTHS[1:2]))
    together = model.predictions(np.pad(batch(), [(0, 0), (0, 5), (0, 0)]), tf.constant(LENGTHS))
    for one, other in zip(alone, together, strict=True):
        frames = int(one.lengths[0])
        np.testing.assert_allclose(other.values[1, :frames], one.values[0, :frames], atol=1e-5)


@pytest.mark.parametrize("block", [0, 4, -1])
def test_only_blocks_before_the_last_can_predict_early(block):
    with pytest.raises(pydantic.ValidationError, match="intermediate must name blocks from 1 to 3"):
        WavenetAsrConfig(**SMALL, intermediate=(block,))

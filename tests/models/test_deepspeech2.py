"""DeepSpeech2: parameter counts, lengths, padding, time loops, and equality with PyTorch."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import checkpoints, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.export import export
from tfvoice.models.deepspeech2 import Deepspeech2, Deepspeech2Config

CHANNELS, CLASSES = 161, 29
SMALL = {"units": 6, "layers": 3, "convolution_channels": 4, "lookahead": 5}
FORMS = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "unidirectional": {"bidirectional": False},
    "of 2017": {"padded_convolutions": False, "recurrent_bias": False},
}
each_form = pytest.mark.parametrize("form", FORMS)


def built(seed=0, **settings):
    """A small network with random weights and moving statistics."""
    model = Deepspeech2(Deepspeech2Config(**SMALL | settings), CLASSES)
    model(tf.zeros([1, 64, CHANNELS]), tf.constant([64]))
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = random.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1]) or 1)
        weight.assign(np.abs(values) + 0.5 if weight.name in ("moving_variance", "gamma") else values)
    return model


def spectrogram(lengths, seed=1):
    random = np.random.default_rng(seed)
    values = random.standard_normal((len(lengths), max(lengths), CHANNELS)).astype(np.float32)
    valid = np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]
    return tf.constant(values * valid[:, :, np.newaxis]), tf.constant(lengths)


def count(**settings):
    # Orthogonal kernels, the default, take seconds at this size.
    with tf.Graph().as_default():
        # In a graph, variables have a shape and no memory.
        model = Deepspeech2(Deepspeech2Config(**{"initializer": "pytorch"} | settings), CLASSES)
        model.build((None, None, CHANNELS))
        return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables), model


def test_the_faithful_network_has_the_parameters_of_the_original():
    trainable, model = count(**tasks.resolve("deepspeech2", "deepspeech2_faithful").model.model_dump())
    assert trainable == 86_577_440
    assert model.recurrents[0].directions[0].inner.cell.kernel.shape[0] == 1312, "161 -> 81 -> 41 bands of 32"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_pytorch_initial_weights_all_differ_and_are_within_their_bounds(cell):
    model = Deepspeech2(Deepspeech2Config(**SMALL, cell=cell, initializer="pytorch"), CLASSES)
    model(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
    initial = [np.array(w) for w in model.trainable_variables if w.name not in ("gamma", "beta")]
    values = np.concatenate([weight.ravel() for weight in initial])
    assert len(np.unique(values)) > 0.99 * len(values)
    for weight in model.recurrents[0].directions[0].trainable_variables:
        assert 0.5 * SMALL["units"] ** -0.5 < np.abs(weight).max() <= SMALL["units"] ** -0.5


def test_the_last_frames_influence_the_logits_of_unpadded_convolutions():
    model = built(padded_convolutions=False)
    features, lengths = spectrogram([61])
    changed = features.numpy()
    changed[:, 58:] += 1
    assert not np.allclose(model(features, lengths).values, model(tf.constant(changed), lengths).values, atol=1e-4)


def test_the_default_has_the_documented_parameters():
    assert count()[0] == 16_141_088


def test_the_unidirectional_network_has_the_parameters_of_the_original():
    assert count(units=1024, layers=5, bidirectional=False)[0] == 43_454_752


def test_the_network_of_2017_has_its_parameters():
    trainable, model = count(**tasks.resolve("deepspeech2", "deepspeech2_2017").model.model_dump())
    assert trainable == 11_376_368
    assert model.recurrents[0].directions[0].inner.cell.kernel.shape[0] == 672, "161 -> 61 -> 21 bands of 32"


@pytest.mark.parametrize("frames, expected", [(1, 1), (2, 1), (100, 50), (101, 51), (0, 0)])
def test_output_lengths_are_half_of_the_input_lengths(frames, expected):
    model = built()
    assert model.output_lengths(frames) == expected
    assert model.output_lengths(np.array([frames]))[0] == expected
    if frames:
        logits, lengths = model(*spectrogram([frames]))
        assert logits.shape == (1, expected, CLASSES) and lengths.numpy().tolist() == [expected]


@pytest.mark.parametrize("frames, expected", [(101, 36), (31, 1), (30, 0), (5, 0)])
def test_unpadded_convolutions_lose_the_edges(frames, expected):
    model = built(padded_convolutions=False)
    assert model.output_lengths(frames) == expected
    assert model.output_lengths(np.array([frames]))[0] == expected
    logits, lengths = model(*spectrogram([frames]))
    assert lengths.numpy().tolist() == [expected] and logits.shape[1] == max(expected, 1)


@each_form
def test_padding_and_other_rows_do_not_change_the_logits(form):
    model = built(**FORMS[form])
    features, lengths = spectrogram([61, 40, 33])
    together = model(tf.pad(features, [[0, 0], [0, 7], [0, 0]]), lengths)
    for row, length in enumerate([61, 40, 33]):
        alone = model(features[row : row + 1, :length], lengths[row : row + 1])
        frames = int(alone.lengths[0])
        assert frames == together.lengths[row]
        np.testing.assert_allclose(together.values[row, :frames], alone.values[0, :frames], atol=1e-5)


def test_padding_counts_in_batch_statistics_only_without_mask_padding():
    features, lengths = spectrogram([61, 20])
    longer = tf.pad(features, [[0, 0], [0, 40], [0, 0]])
    for mask_padding, same in ((True, True), (False, False)):
        model = built(mask_padding=mask_padding)
        logits = model(features, lengths, training=True).values
        padded = model(longer, lengths, training=True).values[:, : logits.shape[1]]
        assert np.allclose(logits[0], padded[0], atol=1e-4) == same


def test_the_lookahead_bounds_the_future_context_of_a_unidirectional_network():
    model = built(bidirectional=False)
    features, lengths = spectrogram([121])
    changed = features.numpy()
    changed[:, 80:] = 3
    before, after = model(features, lengths).values, model(tf.constant(changed), lengths).values
    # Output frame t depends on input frames up to 2 (t + lookahead - 1) + 10 + 5 through both convolutions.
    first = next(t for t in range(61) if not np.allclose(before[0, t], after[0, t], atol=1e-6))
    assert 2 * (first + SMALL["lookahead"] - 1) + 15 >= 80 > 2 * (first - 1 + SMALL["lookahead"] - 1) + 15


def test_dropout_is_a_function_of_its_seed():
    model = built(dropout=0.5)
    features, lengths = spectrogram([40])
    first, again, other = (
        model(features, lengths, training=True, seed=tf.constant(seed)).values for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_dropout_without_a_seed_takes_the_global_generator():
    model = built(dropout=0.5)
    features, lengths = spectrogram([40])
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        results.append(model(features, lengths, training=True).values)
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.allclose(results[0], results[2])


@each_form
def test_variable_paths_are_unique(form):
    paths = [variable.path for variable in built(**FORMS[form]).weights]
    assert len(set(paths)) == len(paths)
    assert "deepspeech2/convolution_0/kernel" in paths and "deepspeech2/output/kernel" in paths


def test_variable_paths_do_not_depend_on_other_models_of_the_process():
    """But for the seeds that Keras's recurrent layers hold, which are in `variables` and not in `weights`."""
    first, second = built(), built()
    assert [variable.path for variable in first.weights] == [variable.path for variable in second.weights]


def operations(function, *signature):
    """The names of all operations in the graph of a function."""
    definition = function.get_concrete_function(*signature).graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def test_inference_never_contains_cudnn(monkeypatch):
    """`training_loop` decides the time loop of training alone, and visible devices decide nothing."""
    model = built()
    model.training_loop = "cudnn"
    for name in ("list_logical_devices", "list_physical_devices"):
        monkeypatch.setattr(tf.config, name, lambda kind=None: [kind])
    signature = tf.TensorSpec([None, None, CHANNELS]), tf.TensorSpec([None], tf.int32)
    inference = tf.function(lambda features, lengths: model(features, lengths, training=False).values)
    training = tf.function(lambda features, lengths: model(features, lengths, training=True).values)
    assert not {name for name in operations(inference, *signature) if "Cudnn" in name}
    assert {name for name in operations(training, *signature) if "Cudnn" in name}
    model.training_loop = "graph"
    assert not {name for name in operations(tf.function(training.python_function), *signature) if "Cudnn" in name}


def test_an_exported_model_never_contains_cudnn(monkeypatch, tmp_path):
    """Even if it is exported on a machine with a GPU: the server may have none."""
    small = [f"model.{key}={value}" for key, value in {**SMALL, "layers": 2, "bidirectional": "false"}.items()]
    stream = ["features.normalization=none", "features.pad_mode=constant"]
    run = Recognizer.create(tmp_path / "run", tasks.resolve("deepspeech2", overrides=[*small, *stream]))
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    for name in ("list_logical_devices", "list_physical_devices"):
        monkeypatch.setattr(tf.config, name, lambda kind=None: [kind])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"compute_capability": (8, 0)})
    content = (export.export(run.run_dir, tmp_path / "model" / "1") / "saved_model.pb").read_bytes()
    assert b"stream" in content and b"While" in content
    assert b"Cudnn" not in content and b"_XlaMustCompile" not in content


def test_a_mixed_policy_rounds_the_convolutions_alone():
    exact, mixed = built(), Deepspeech2(Deepspeech2Config(**SMALL), CLASSES, dtype="mixed_bfloat16")
    features, lengths = spectrogram([61, 40])
    mixed(features, lengths)
    for target, source in zip(mixed.weights, exact.weights, strict=True):
        target.assign(source)
    outputs, expected = mixed(features, lengths).values, exact(features, lengths).values
    assert outputs.dtype == tf.float32 and {weight.dtype for weight in mixed.weights} == {"float32"}
    assert 0 < np.sqrt(np.mean(np.square(outputs - expected))) < 0.1 * np.std(expected)
    layers = mixed._flatten_layers(include_self=False)
    rounded = {layer.name for layer in layers if layer.compute_dtype == "bfloat16"}
    assert rounded == {"convolution_0", "convolution_1"}


GOLDEN_FORMS = {"lstm": {}, "gru": {"cell": "gru"}, "rnn": {"cell": "rnn"}, "unidirectional": {"bidirectional": False}}
GOLDEN_FORMS["2017"] = {"padded_convolutions": False, "recurrent_bias": False}
each_golden_form = pytest.mark.parametrize("form", GOLDEN_FORMS)


@pytest.fixture(scope="module")
def golden():
    """Networks in PyTorch with their logits and gradients; see `tests/data/make_golden.py`."""
    with np.load(Path(__file__).parents[1] / "data" / "golden" / "deepspeech2.npz") as arrays:
        return dict(arrays)


def unpacked(golden, name, model):
    """The arrays of a network by the path of the variable, in its shape."""
    shapes = {variable.path.partition("/")[2]: variable.shape for variable in model.weights}
    values, arrays = golden[name], {}
    for path in golden[f"{name}/paths"]:
        size = int(np.prod(shapes[path]))
        arrays[path], values = values[:size].reshape(shapes[path]), values[size:]
    assert not len(values)
    return arrays


def from_golden(golden, form, **settings):
    """Our network with the weights of the one in PyTorch."""
    options = {"units": 4, "layers": 3, "convolution_channels": 2, "lookahead": 5, **GOLDEN_FORMS[form], **settings}
    model = Deepspeech2(Deepspeech2Config(**options), 7)
    model(golden["features"], golden["lengths"])
    weights = unpacked(golden, f"{form}/weights", model)
    assert len(weights) == len(model.weights)
    for variable in model.weights:
        variable.assign(weights[variable.path.partition("/")[2]])
    return model


@each_golden_form
@pytest.mark.parametrize(("name", "rows"), [("60", [60]), ("61", [61]), ("batch", [61, 48, 40])])
def test_pytorch_with_the_same_weights_gives_the_same_logits(golden, form, name, rows):
    model = from_golden(golden, form)
    logits = model(golden["features"][: len(rows), : rows[0]], tf.constant(rows))
    expected = golden[f"{form}/logits_{name}"]
    for row, frames in enumerate(logits.lengths.numpy()):
        assert frames > 0
        np.testing.assert_allclose(logits.values[row, :frames], expected[row, :frames], atol=1e-4)


@each_golden_form
@pytest.mark.parametrize("loop", ["graph", "xla"])
def test_pytorch_with_the_same_weights_gives_the_same_gradients_in_training(golden, form, loop):
    model = from_golden(golden, form, mask_padding=False)
    model.training_loop = loop
    features, lengths, upstream = (tf.constant(golden[key]) for key in ("features", "lengths", "upstream"))

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            logits = model(features, lengths, training=True)
            frames = tf.shape(logits.values)[1]
            valid = tf.sequence_mask(logits.lengths, frames, dtype=tf.float32)[:, :, tf.newaxis]
            loss = tf.reduce_sum(logits.values * upstream[:, :frames] * valid)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    expected, compared = unpacked(golden, f"{form}/gradients", model), 0
    for variable, gradient in zip(model.trainable_variables, gradients(), strict=True):
        path = variable.path.partition("/")[2]
        if path in expected:
            scale = np.abs(expected[path]).max()
            # A bias before batch normalisation has no gradient but rounding errors.
            np.testing.assert_allclose(gradient, expected[path], atol=1e-3 * max(scale, 0.1), err_msg=path)
            compared += 1
    assert compared >= 10

"""The networks of recognisers are Keras models: files, configuration, `fit`, `predict`, functional use, summary."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc
from tfvoice.lengths import Sequence
from tfvoice.models.deepspeech2 import Deepspeech2, Deepspeech2Config
from tfvoice.models.wavenet_asr import WavenetAsr, WavenetAsrConfig

CLASSES, CHANNELS = 6, 20
WAVENET = {"width": 4, "kernel_size": 3, "dilations": (1, 2), "stacks": 1}
FORMS = {
    "wavenet_asr": (WavenetAsr, WavenetAsrConfig(**WAVENET, dropout=0.2, intermediate=(1,))),
    "deepspeech2": (Deepspeech2, Deepspeech2Config(units=3, layers=2, convolution_channels=2, dropout=0.2)),
    "deepspeech2, streaming": (
        Deepspeech2,
        Deepspeech2Config(units=3, layers=1, convolution_channels=2, bidirectional=False, lookahead=2),
    ),
}
FEATURES = np.random.default_rng(0).normal(size=(3, 24, CHANNELS)).astype(np.float32)
# The last row fills up the batch.
LENGTHS = np.array([24, 15, 0], np.int32)
FEATURES *= tf.sequence_mask(LENGTHS, 24).numpy()[..., np.newaxis]
TARGETS = (np.array([[1, 2, 3], [4, 4, 0], [0, 0, 0]], np.int32), np.array([3, 2, 0], np.int32))
each_form = pytest.mark.parametrize("form", FORMS)


def made(form, dtype=None):
    kind, config = FORMS[form]
    model = kind(config, CLASSES, dtype)
    model.build((None, None, CHANNELS))
    return model


@each_form
def test_a_saved_model_comes_back_with_the_same_logits(form, tmp_path):
    model = made(form)
    model.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert type(loaded) is type(model) and loaded.config == model.config
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in model.weights]
    for found, expected in zip(loaded((FEATURES, LENGTHS)), model((FEATURES, LENGTHS)), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_configuration_holds_the_architecture_and_the_dtype_policy(dtype):
    model = made("wavenet_asr", dtype)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert (copy.config, copy.classes, copy.channels) == (model.config, CLASSES, CHANNELS)
    assert copy.dtype_policy.name == dtype and copy.front.convolution.compute_dtype == dtype.removeprefix("mixed_")
    assert {weight.dtype for weight in copy.weights} == {"float32"}


def test_a_model_without_weights_is_saved_and_built_later(tmp_path):
    kind, config = FORMS["deepspeech2"]
    copy = kind.from_config(kind(config, CLASSES).get_config())
    assert not copy.weights and copy.channels is None
    copy((FEATURES, LENGTHS))
    assert copy.channels == CHANNELS


def test_inputs_are_a_pair_or_two_arguments_and_without_lengths_every_frame_counts():
    model = made("wavenet_asr")
    expected = model(FEATURES, LENGTHS).values
    np.testing.assert_array_equal(model((FEATURES, LENGTHS)).values, expected)
    whole = model(FEATURES)
    assert whole.lengths.numpy().tolist() == [12] * 3
    np.testing.assert_array_equal(whole.values, model(FEATURES, np.full(3, 24, np.int32)).values)


@each_form
def test_training_needs_no_seed(form):
    model = made(form)
    one, two = (model((FEATURES, LENGTHS), training=True).values.numpy() for _ in range(2))
    assert np.isfinite(one).all() and np.array_equal(one, two) == (not model.config.dropout)


@each_form
def test_fit_lowers_the_loss_and_the_model_resumes_from_its_file(form, tmp_path):
    # Initial weights and dropout are random, and a single step can raise the loss.
    keras.utils.set_random_seed(1)
    model = made(form)
    model.compile(keras.optimizers.Adam(0.02))
    losses = model.fit((FEATURES, LENGTHS), TARGETS, epochs=10, batch_size=3, verbose=0).history["loss"]
    assert max(losses[-3:]) < losses[0]
    model.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert int(loaded.optimizer.iterations) == 10
    evaluated = [one.evaluate((FEATURES, LENGTHS), TARGETS, verbose=0) for one in (model, loaded)]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-5)


def test_the_loss_of_fit_is_the_mean_over_utterances():
    model = made("wavenet_asr")
    logits = model((FEATURES, LENGTHS))
    rows = ctc.loss(logits, *TARGETS).numpy()
    assert float(model.compute_loss(y=TARGETS, y_pred=logits)) == pytest.approx(rows[:2].mean())
    weighted = model.compute_loss(y=TARGETS, y_pred=logits, sample_weight=tf.constant([3.0, 1.0, 1.0]))
    assert float(weighted) == pytest.approx((3 * rows[0] + rows[1]) / 4)


@each_form
def test_predict_returns_logits_and_their_lengths(form):
    model = made(form)
    found = model.predict((FEATURES, LENGTHS), batch_size=2, verbose=0)
    assert isinstance(found, Sequence)
    for values, expected in zip(found, model((FEATURES, LENGTHS)), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5)


@each_form
def test_it_is_a_layer_of_a_functional_model(form, tmp_path):
    model = made(form)
    features, lengths = keras.Input((None, CHANNELS)), keras.Input((), dtype="int32")
    logits = model(features, lengths)
    assert logits.values.shape == (None, None, CLASSES)
    functional = keras.Model([features, lengths], keras.layers.Softmax()(logits.values))
    expected = tf.nn.softmax(model(FEATURES, LENGTHS).values)
    np.testing.assert_allclose(functional.predict([FEATURES, LENGTHS], verbose=0), expected, atol=1e-5)
    functional.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    np.testing.assert_allclose(loaded.predict([FEATURES, LENGTHS], verbose=0), expected, atol=1e-5)


@each_form
def test_the_summary_has_a_shape_and_parameters_for_every_layer(form):
    lines = []
    made(form).summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert f"(None, None, {CLASSES})" in text and "?" not in text


def test_a_frozen_normalisation_keeps_its_statistics_in_fit():
    model = made("wavenet_asr")
    model.front.trainable = False
    before = [weight.numpy() for weight in model.front.weights]
    model.compile("sgd")
    model.fit((FEATURES, LENGTHS), TARGETS, verbose=0)
    for weight, value in zip(model.front.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)

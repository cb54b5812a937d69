"""Laws of recognising recordings of any length in windows, and of the same in one graph."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, SMALL, modulated, recognizer, streaming_run, wav

from tfvoice import tasks
from tfvoice.asr import windows
from tfvoice.asr.transcribe import Transcriber
from tfvoice.asr.windows import WindowedRecognizer
from tfvoice.audio import cmvn

SECONDS = 0.4
WAVENET = ("model.width=8", "model.dilations=[1,2,4]", "model.stacks=1", "features.bins=10")
DEEPSPEECH = ("model.units=8", "model.layers=2", "model.convolution_channels=4")
KINDS = {
    "utterance": ("wavenet_asr", WAVENET),
    "utterance_scalar": ("wavenet_asr", (*WAVENET, "features.normalization=utterance_scalar", "model.stride=3")),
    "corpus": ("wavenet_asr", (*WAVENET, "features.normalization=corpus")),
    "none": ("wavenet_asr", (*WAVENET, "features.normalization=none")),
    "bidirectional": ("deepspeech2", DEEPSPEECH),
    "streaming": ("deepspeech2", SMALL),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Makes a run with random weights, trained on clips of 0.4 s."""
    runs = {}

    def run(kind):
        if kind not in runs:
            folder = tmp_path_factory.mktemp("run")
            model, overrides = KINDS[kind]
            overrides = (*overrides, f"data.max_seconds={SECONDS}", f"features.sample_rate_hz={RATE}")
            runs[kind] = streaming_run(folder) if kind == "streaming" else recognizer(folder, model, overrides)
        return runs[kind]

    return run


def whole(run, samples):
    """One pass over everything, as in training and evaluation."""
    logits = run.logits(samples[np.newaxis], np.array([len(samples)], np.int32))
    return tf.nn.log_softmax(logits.values[0, : logits.lengths[0]]).numpy()


@pytest.fixture(scope="module")
def logits(run):
    """Makes the function of a padded batch and its lengths, which is traced once."""
    signature = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)]

    @functools.cache
    def logits(kind, window_seconds):
        return tf.function(WindowedRecognizer(run(kind), window_seconds).logits, input_signature=signature)

    return logits


@pytest.fixture(scope="module")
def in_graph(logits):
    """Log probabilities of each row of a padded batch."""

    def in_graph(kind, window_seconds, rows):
        lengths = np.array([len(row) for row in rows], np.int32)
        batch = np.full([len(rows), lengths.max()], 0.3, np.float32)
        for row, samples in zip(batch, rows, strict=True):
            row[: len(samples)] = samples
        found = logits(kind, window_seconds)(batch, lengths)
        values = tf.nn.log_softmax(found.values).numpy()
        return [row[:length] for row, length in zip(values, found.lengths.numpy(), strict=True)]

    return in_graph


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_in_a_graph_gives_each_row_what_its_recording_gets(run, in_graph, kind):
    """Lengths from below `max_seconds` to ten times of it, short and long ones in one batch."""
    seconds = (0.3, 0.4, 0.4001, 1.0, 4.0, 0.01, 2.37)
    rows = [modulated(each, seed) for seed, each in enumerate(seconds)]
    transcriber = Transcriber(run(kind), window_seconds=0.9)
    found = in_graph(kind, 0.9, rows)
    for samples, values in zip(rows, found, strict=True):
        expected = transcriber.log_probabilities(wav(samples))
        assert values.shape == expected.shape
        np.testing.assert_allclose(values, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_short_rows_is_one_pass_bit_for_bit(run, logits, kind):
    rows = [modulated(each, seed) for seed, each in enumerate((0.3, 0.4, 0.01))]
    lengths = np.array([len(row) for row in rows], np.int32)
    batch = np.zeros([3, max(lengths)], np.float32)
    for row, samples in zip(batch, rows, strict=True):
        row[: len(samples)] = samples
    expected = run(kind).logits(batch, lengths)
    found = logits(kind, 0.9)(batch, lengths)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.lengths, expected.lengths)


@pytest.mark.parametrize("kind", ["utterance", "bidirectional"])
def test_a_long_row_is_normalised_otherwise_than_in_one_pass(run, in_graph, kind):
    """Or the tests above would show nothing."""
    samples = np.concatenate([modulated(1.0), 0.001 * modulated(3.0, 1)])
    (found,) = in_graph(kind, 0.9, [samples])
    assert np.abs(found - whole(run(kind), samples)).max() > 0.1


@pytest.mark.parametrize("kind", ["corpus", "none", "streaming"])
def test_windows_give_the_frames_of_one_pass_where_nothing_is_normalised_by_utterance(run, in_graph, kind):
    samples = modulated(7.013)
    (found,) = in_graph(kind, 0.9, [samples])
    np.testing.assert_allclose(found, whole(run(kind), samples), atol=2e-4)


@pytest.mark.parametrize("length", [1, 79, 80, 3199, 3200, 3201, 8000, 8079, 8080, 16000, 16159, 16160, 16161, 23999])
def test_windows_give_as_many_frames_as_one_pass(run, in_graph, length):
    samples = modulated(4)[:length]
    (found,) = in_graph("utterance", SECONDS, [samples])
    assert len(found) == len(whole(run("utterance"), samples))


def test_no_frame_sees_further_than_the_reach(run):
    samples = modulated(3)
    reach = windows.reach_samples(run("none").config)
    place = 10000
    disturbed = samples.copy()
    disturbed[place] += 1
    difference = np.abs(whole(run("none"), samples) - whole(run("none"), disturbed)).max(axis=1)
    touched = np.flatnonzero(difference > 1e-6) * run("none").seconds_per_frame() * RATE
    assert touched.min() >= place - reach and touched.max() <= place + reach
    # And not much less far, or the windows would overlap for nothing.
    assert touched.max() - touched.min() > 2 * reach - 4 * 512


def test_the_default_model_sees_279_frames_to_either_side():
    config = tasks.resolve("wavenet_asr")
    assert windows.reach_samples(config) == (279 * 2 + 2) * 160 + 512


@pytest.mark.parametrize("kind", ["utterance", "none"])
def test_a_window_holds_no_more_than_its_new_audio_and_the_context(run, kind):
    windowed = WindowedRecognizer(run(kind), 1.0)
    samples = modulated(60)
    cut = list(windowed.windows(np.array_split(samples, 17)))
    reach = windows.reach_samples(run(kind).config)
    reach += cmvn.reach_samples(run(kind).config.features) if kind == "utterance" else 0
    assert len(cut) > 40 and max(len(window.samples) for window in cut) <= RATE + 2 * reach + 4 * 160
    kept = [window.keep for window in cut]
    assert set(kept[:-1]) == {50} and kept[-1] == -1


@pytest.mark.parametrize("length", [0, 4000, 8000, 16000, 40000, 40001, 47999, 48160])
@pytest.mark.parametrize("kind", ["utterance", "none"])
def test_the_windows_of_a_waveform_are_those_of_its_blocks(run, kind, length):
    windowed = WindowedRecognizer(run(kind), 1.0)
    samples = modulated(7)[:length]
    expected = list(windowed.windows(np.array_split(samples, 5)))
    for number, window in enumerate(expected):
        found = windowed._window(tf.constant(samples), number, len(expected))
        np.testing.assert_array_equal(found.samples, window.samples)
        assert (int(found.skip), int(found.keep)) == (window.skip, window.keep)


def test_what_is_too_short_for_a_frame_has_none(tmp_path):
    small = ("model.units=8", "model.layers=1", "model.convolution_channels=2", "model.padded_convolutions=false")
    transcriber = Transcriber(recognizer(tmp_path, "deepspeech2", (*small, f"features.sample_rate_hz={RATE}")))
    clip = modulated(0.2)
    assert transcriber.log_probabilities(clip, RATE).shape == (0, 29)
    assert transcriber.transcribe(clip, RATE).text == transcriber.transcribe_batch([clip], RATE)[0].text == ""

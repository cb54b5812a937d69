"""Transcribing in a graph gives what `Transcriber` gives."""

import numpy as np
import pytest
import tensorflow as tf
from samples import RATE, THAI, modulated, recognizer, streaming_run, wav

from tfvoice.asr import words
from tfvoice.asr.transcribe import Transcriber
from tfvoice.asr.transcribe_graph import GraphTranscriber

SMALL = (
    *("model.width=8", "model.dilations=[1,2,4]", "model.stacks=1", "features.bins=10"),
    *("data.max_seconds=0.4", f"features.sample_rate_hz={RATE}"),
)
DEEPSPEECH = (
    *("model.units=8", "model.layers=2", "model.convolution_channels=4", "model.cell=gru"),
    *("data.max_seconds=0.4", f"features.sample_rate_hz={RATE}"),
)


@pytest.fixture(scope="module", params=["wavenet_asr", "deepspeech2", "streaming", "without spaces"])
def run(request, tmp_path_factory):
    """A run with random weights that write text, trained on clips of 0.4 s."""
    folder = tmp_path_factory.mktemp("run")
    if request.param == "streaming":
        return streaming_run(folder)
    if request.param == "without spaces":
        return recognizer(folder, "wavenet_asr", (*SMALL, f"alphabet.characters={THAI}"))
    return recognizer(folder, request.param, SMALL if request.param == "wavenet_asr" else DEEPSPEECH)


def test_rows_of_any_length_have_the_transcripts_of_their_recordings(run):
    rows = [modulated(seconds, seed) for seed, seconds in enumerate((0.35, 4.0, 0.1, 1.3))]
    rows += [1e-6 * modulated(1.0), np.zeros(0, np.float32)]
    lengths = np.array([len(row) for row in rows], np.int32)
    batch = np.full([len(rows), max(lengths)], 0.7, np.float32)
    for row, samples in zip(batch, rows, strict=True):
        row[: len(samples)] = samples
    transcriber = Transcriber(run, window_seconds=0.9)
    found = tf.function(GraphTranscriber(run, 0.9).transcribe)(tf.constant(batch), tf.constant(lengths))
    for row, (samples, row_words) in enumerate(zip(rows, words.to_list(found.words), strict=True)):
        expected = transcriber.transcribe(wav(samples)) if row < 5 else transcriber.transcribe_samples(samples)
        assert found.text[row].numpy().decode() == expected.text
        assert [word.text for word in row_words] == [word.text for word in expected.words]
        for word, other in zip(row_words, expected.words, strict=True):
            assert (word.start, word.end) == pytest.approx((other.start, other.end), abs=1e-9)
            assert word.confidence == pytest.approx(other.confidence, abs=1e-3)
        assert float(found.confidence[row]) == pytest.approx(expected.confidence or 0.0, abs=1e-3)
    assert found.text[1] != b"" and found.text[4:].numpy().tolist() == [b"", b""]


def test_a_length_beyond_the_samples_counts_as_theirs(run):
    samples = modulated(1.0)[np.newaxis]
    transcriber = GraphTranscriber(run)
    expected = transcriber.logits(samples, [8000])
    for length in (8001, 10**9):
        found = transcriber.logits(samples, [length])
        np.testing.assert_array_equal(found.values, expected.values)
    assert transcriber.logits(samples, [-5]).lengths.numpy().tolist() == [1]

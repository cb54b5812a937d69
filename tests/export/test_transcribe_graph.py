"""Reading in a graph is reading by `transcription`."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import streaming
from tfvoice.export import transcribe_graph
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" ab"))


@tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None])])
def read(values, lengths, seconds):
    return transcribe_graph.words(ctc.greedy(Sequence(values, lengths)), ALPHABET, 0.25, seconds)


def test_words_are_those_of_python():
    random = np.random.default_rng(0)
    values = 3 * random.standard_normal([40, 24, 4]).astype(np.float32)
    lengths = random.integers(0, 25, 40).astype(np.int32)
    seconds = np.maximum(0, 0.25 * lengths - 0.1).astype(np.float32)
    found = read(values, lengths, seconds)
    words = 0
    for row, (count, end) in enumerate(zip(lengths, seconds, strict=True)):
        ids, spans, confidences = ctc.best_path(tf.nn.log_softmax(values[row, :count]).numpy())
        wanted = streaming.timed(ctc.words(ALPHABET.decode(ids), spans, confidences), 0.25, end)
        words += len(wanted)
        assert found.text[row].numpy().decode() == " ".join(word.text for word in wanted)
        assert [word.decode() for word in found.words[row].numpy()] == [word.text for word in wanted]
        times = np.array([[word.start, word.end, word.confidence] for word in wanted]).reshape(-1, 3).T
        parts = [found.starts[row], found.ends[row], found.confidences[row]]
        np.testing.assert_allclose(np.array([part.numpy() for part in parts]), times, rtol=1e-5)
        mean = np.mean(times[2]) if wanted else 0
        np.testing.assert_allclose(found.confidence[row], mean, rtol=1e-5)
    assert words > 80


def test_no_rows_give_no_text():
    found = read(np.zeros([0, 5, 4], np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert found.text.shape == (0,) and found.words.to_tensor().shape == (0, 0)


@pytest.mark.parametrize("count", [0, 1, 799, 800, 801, 4000, 4300])
def test_loudness_is_that_of_the_meter(count):
    random = np.random.default_rng(1)
    samples = (random.standard_normal(count) * np.linspace(0.01, 0.2, count) + 0.3).astype(np.float32)
    meter = streaming.Meter(8000)
    meter.add(samples)
    meter.end()
    padded = np.concatenate([samples, random.standard_normal(500)])[np.newaxis].astype(np.float32)
    found = transcribe_graph.loudness(tf.constant(padded), tf.constant([count]), 8000)
    np.testing.assert_allclose(found, [meter.loudest], rtol=1e-4, atol=1e-7)

"""Laws of joining labels to words."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import words
from tfvoice.asr.transcript import Word
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" abhioy"))


@tf.function(
    input_signature=[tf.TensorSpec([None, None, 8]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float64)]
)
def greedy_words(values, lengths, seconds):
    return words.join(ctc.greedy(Sequence(values, lengths)), ALPHABET, 0.25, seconds)


def test_words_span_their_characters():
    spans = [(1, 2), (3, 5), (5, 6), (8, 9), (9, 10), (10, 14)]
    confidences = [0.9, 0.5, 0.1, 0.2, 0.7, 0.8]
    ids = [ALPHABET.characters.index(character) for character in "hi  yo"]
    row = ctc.Emissions(
        *(
            tf.RaggedTensor.from_row_lengths(list(column), [6])
            for column in (ids, *zip(*spans, strict=True), confidences)
        )
    )
    (found,) = words.to_list(words.join(row, ALPHABET, 0.5, tf.constant([6.5], tf.float64)))
    assert [word.text for word in found] == ["hi", "yo"]
    assert [(word.start, word.end) for word in found] == [(0.5, 2.5), (4.5, 6.5)]
    assert [word.confidence for word in found] == pytest.approx([0.5, 0.7])


def joined(text, characters):
    """The words of a text, a frame of a second for each of its characters."""
    alphabet = Alphabet(AlphabetConfig(characters=characters))
    ids = [alphabet.characters.index(character) for character in text]
    columns = (ids, range(len(ids)), range(1, len(ids) + 1), [0.5] * len(ids))
    row = ctc.Emissions(*(tf.RaggedTensor.from_row_lengths(list(column), [len(ids)]) for column in columns))
    (found,) = words.to_list(words.join(row, alphabet, 1.0, tf.constant([99.0], tf.float64)))
    assert words.separator(alphabet).join(word.text for word in found) == text
    return [word[:3] for word in found]


def test_in_an_alphabet_without_a_space_each_character_with_its_marks_is_a_word():
    assert joined("公园园", "公园") == [("公", 0.0, 1.0), ("园", 1.0, 2.0), ("园", 2.0, 3.0)]
    assert joined("กี่ขี่", "กขี่") == [("กี่", 0.0, 3.0), ("ขี่", 3.0, 6.0)]
    assert joined("กี่ข ี่", "กขี่ ") == [("กี่ข", 0.0, 4.0), ("ี่", 5.0, 7.0)]
    assert joined("ี่ก", "กขี่") == [("ี่", 0.0, 2.0), ("ก", 2.0, 3.0)]


def in_python(values, seconds):
    """The words of one row, character by character."""
    ids, spans, confidences = ctc.best_path(values)
    columns = zip(ALPHABET.decode(ids), spans, confidences, strict=True)
    for space, group in itertools.groupby(columns, lambda column: column[0] == " "):
        characters, spans, confidences = zip(*group, strict=True)
        if not space:
            yield Word("".join(characters), spans[0][0] * 0.25, min(spans[-1][1] * 0.25, seconds), min(confidences))


def test_words_of_a_batch_are_those_of_each_row_in_python():
    random = np.random.default_rng(0)
    values = 3 * random.standard_normal([40, 24, 8]).astype(np.float32)
    values[..., 0] += 3
    lengths = random.integers(0, 25, 40).astype(np.int32)
    seconds = np.maximum(0, 0.25 * lengths - 0.1)
    found = words.to_list(greedy_words(values, lengths, seconds))
    assert sum(map(len, found)) > 80 and len(found) == 40
    for row, count, end, row_words in zip(values, lengths, seconds, found, strict=True):
        expected = list(in_python(row[:count], end))
        assert [word[:3] for word in row_words] == [word[:3] for word in expected]
        assert [word.confidence for word in row_words] == pytest.approx([word.confidence for word in expected])


def test_a_batch_without_rows_has_no_words():
    found = greedy_words(np.zeros([0, 5, 8], np.float32), np.zeros(0, np.int32), np.zeros(0))
    assert words.to_list(found) == [] and found.words.to_tensor().shape == (0, 0)


def test_without_characters_there_are_no_words():
    silent = np.log(np.where(np.arange(8) == 7, 0.93, 0.01))[np.newaxis, np.newaxis].repeat(5, 1).astype(np.float32)
    assert words.to_list(greedy_words(silent, [5], [1.25])) == [[]]

"""From labels with their frames to words with their times, in the graph.

The same function serves transcription, streaming recognition and exported models. Where the alphabet has no space, as
for Chinese, Japanese or Thai, each character is a word, with the combining marks after it.
"""

import itertools
import unicodedata
from typing import NamedTuple

import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr.transcript import Word
from tfvoice.text.alphabet import Alphabet


class WordTensors(NamedTuple):
    """The words of each row.

    Attributes:
      words: ragged strings `[batch, (words)]`, UTF-8.
      starts, ends: ragged float64 `[batch, (words)]`, seconds; in float32 an hour would have steps of 0.2 ms.
      confidences: ragged float32 `[batch, (words)]`, the lowest among the characters of the word, since one wrong
        character makes it wrong.
    """

    words: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    confidences: tf.RaggedTensor


def separator(alphabet: Alphabet) -> str:
    """What stands between two words of a text."""
    return " " if " " in alphabet.characters else ""


def breaks(alphabet: Alphabet) -> list[bool]:
    """For each character, whether the word before it ends: at a space, or where there is none at all but marks."""
    if separator(alphabet):
        return [character == " " for character in alphabet.characters]
    return [not unicodedata.category(character).startswith("M") for character in alphabet.characters]


def join(emissions: ctc.Emissions, alphabet: Alphabet, seconds_per_frame: float, seconds: tf.Tensor) -> WordTensors:
    """Joins characters to words.

    Args:
      emissions: labels with their frames.
      alphabet: of the labels.
      seconds_per_frame: from one frame of logits to the next.
      seconds: float64 `[batch]`, length of the audio: its last frame can reach beyond it, no word does.

    Returns:
      The words of each row in order.
    """
    ids = emissions.ids
    rows, batch = ids.value_rowids(), ids.nrows()
    in_word = tf.gather(tf.constant([character != " " for character in alphabet.characters]), ids.values)
    same_row = tf.concat([tf.zeros([1], tf.bool), rows[1:] == rows[:-1]], 0)[: tf.size(rows)]
    continues = tf.concat([tf.zeros([1], tf.bool), in_word[:-1]], 0)[: tf.size(rows)] & same_row
    first = in_word & (~continues | tf.gather(tf.constant(breaks(alphabet)), ids.values))
    word = tf.cumsum(tf.cast(tf.boolean_mask(first, in_word), tf.int32)) - 1
    count = tf.reduce_sum(tf.cast(first, tf.int32))
    characters = tf.boolean_mask(tf.gather(tf.constant(list(alphabet.characters)), ids.values), in_word)
    counts = tf.math.unsorted_segment_sum(tf.cast(first, tf.int64), rows, batch)

    def ragged(flat):
        return tf.RaggedTensor.from_row_lengths(flat, counts, validate=False)

    def of_characters(values):
        return tf.boolean_mask(values.values, in_word)

    words = ragged(tf.strings.unsorted_segment_join(characters, word, count))
    starts = tf.cast(tf.boolean_mask(emissions.starts.values, first), tf.float64) * seconds_per_frame
    ends = tf.cast(tf.math.segment_max(of_characters(emissions.ends), word), tf.float64) * seconds_per_frame
    return WordTensors(
        words=words,
        starts=ragged(starts),
        ends=ragged(tf.minimum(ends, tf.gather(seconds, words.value_rowids()))),
        confidences=ragged(tf.math.segment_min(of_characters(emissions.confidences), word)),
    )


def to_list(tensors: WordTensors) -> list[list[Word]]:
    """The words of each row as Python objects; not in a graph."""
    columns = (
        [word.decode() for word in tensors.words.values.numpy().tolist()],
        *(values.values.numpy().tolist() for values in tensors[1:]),
    )
    flat = [Word(*row) for row in zip(*columns, strict=True)]
    splits = tensors.words.row_splits.numpy().tolist()
    return [flat[start:end] for start, end in itertools.pairwise(splits)]

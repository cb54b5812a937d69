"""Waveforms to text with times in one graph, for models that leave; `transcription` is for recordings of any length.

Both read alike: the same features, the same network, the best path of CTC, the same rule for silence.
"""

from typing import NamedTuple

import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import streaming
from tfvoice.asr.recognizer import Recognizer
from tfvoice.lengths import Sequence, mask
from tfvoice.text.alphabet import Alphabet


class Reading(NamedTuple):
    """What was read in each row.

    Attributes:
      text: strings `[batch]`, words with single spaces between them.
      confidence: float32 `[batch]`, mean over the words; 0 where there is none.
      words: ragged strings `[batch, (words)]`.
      starts, ends: ragged float32 `[batch, (words)]`, seconds.
      confidences: ragged float32 `[batch, (words)]`, of each word the lowest among its characters.
    """

    text: tf.Tensor
    confidence: tf.Tensor
    words: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    confidences: tf.RaggedTensor


def read(recognizer: Recognizer, samples: tf.Tensor, lengths: tf.Tensor) -> Reading:
    """Reads a padded batch.

    Args:
      recognizer: a run, from `Recognizer.load`.
      samples: float32 `[batch, samples]` at the run's rate; what lies past a length has no influence.
      lengths: int32 `[batch]`.
    """
    rate_hz = recognizer.config.features.sample_rate_hz
    lengths = within(lengths, samples)
    logits = recognizer.logits(samples, lengths)
    # A row without sound has no frame to read.
    heard = loudness(samples, lengths, rate_hz) > streaming.SILENCE
    audible = Sequence(logits.values, tf.where(heard, logits.lengths, 0))
    seconds = tf.cast(lengths, tf.float32) / rate_hz
    return words(ctc.greedy(audible), recognizer.alphabet, recognizer.seconds_per_frame(), seconds)


def within(lengths: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Lengths as far as there are samples: what comes from outside can be anything."""
    return tf.clip_by_value(lengths, 0, tf.shape(samples)[1])


def words(emissions: ctc.Emissions, alphabet: Alphabet, seconds_per_frame: float, seconds: tf.Tensor) -> Reading:
    """`ctc.words` and `streaming.timed` for a batch.

    Args:
      emissions: labels with their frames.
      alphabet: of the labels.
      seconds_per_frame: from one frame of logits to the next.
      seconds: float32 `[batch]`; no word ends later.
    """
    ids = emissions.ids
    rows, batch = ids.value_rowids(), ids.nrows()
    letter = tf.gather(tf.constant([character != " " for character in alphabet.characters]), ids.values)
    same_row = tf.concat([tf.zeros([1], tf.bool), rows[1:] == rows[:-1]], 0)[: tf.size(rows)]
    goes_on = tf.concat([tf.zeros([1], tf.bool), letter[:-1]], 0)[: tf.size(rows)] & same_row
    first = letter & ~goes_on
    word = tf.cumsum(tf.cast(tf.boolean_mask(first, letter), tf.int32)) - 1
    count = tf.reduce_sum(tf.cast(first, tf.int32))
    spelled = tf.boolean_mask(tf.gather(tf.constant(list(alphabet.characters)), ids.values), letter)
    counts = tf.math.unsorted_segment_sum(tf.cast(first, tf.int64), rows, batch)

    def ragged(flat):
        return tf.RaggedTensor.from_row_lengths(flat, counts, validate=False)

    def of_letters(values):
        return tf.boolean_mask(values.values, letter)

    found = ragged(tf.strings.unsorted_segment_join(spelled, word, count))
    starts = tf.cast(tf.boolean_mask(emissions.starts.values, first), tf.float32) * seconds_per_frame
    ends = tf.cast(tf.math.segment_max(of_letters(emissions.ends), word), tf.float32) * seconds_per_frame
    confidences = ragged(tf.math.segment_min(of_letters(emissions.confidences), word))
    total = tf.math.divide_no_nan(tf.reduce_sum(confidences, axis=1), tf.cast(counts, tf.float32))
    return Reading(
        text=tf.strings.reduce_join(found, axis=1, separator=" "),
        confidence=total,
        words=found,
        starts=ragged(starts),
        ends=ragged(tf.minimum(ends, tf.gather(seconds, found.value_rowids()))),
        confidences=confidences,
    )


def loudness(samples: tf.Tensor, lengths: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """`streaming.Meter.loudest` of each row: deviation of the samples in its loudest tenth of a second, `[batch]`."""
    short = max(1, sample_rate_hz // 10)
    padded = tf.pad(samples, [[0, 0], [0, short - tf.shape(samples)[1] % short]])
    rows, pieces = tf.shape(samples)[0], tf.shape(padded)[1] // short
    real = tf.reshape(mask(lengths, tf.shape(padded)[1]), [rows, pieces, short])
    values = tf.reshape(padded, [rows, pieces, short])
    count = tf.reduce_sum(real, axis=2)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values * real, axis=2), count)
    squares = tf.reduce_sum(tf.square(values - mean[:, :, tf.newaxis]) * real, axis=2)
    return tf.sqrt(tf.reduce_max(tf.math.divide_no_nan(squares, count), axis=1))

"""The level of a recording, and what counts as silence.

Levels are the standard deviation of the samples in pieces of a tenth of a second: long enough for one period of any
voice, short enough to catch a single word, and blind to a constant offset.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.lengths import mask

# Peak level up to which a recording holds dither and no speech, which normalisation would amplify to the level of
# speech: three steps of 16 bits, 80 dB below a full-scale sine.
SILENCE = 1e-4


class StreamLevel(NamedTuple):
    """The level of a stream so far.

    Attributes:
      peak: float32 scalar, `peak` of the pieces that are complete.
      rest: float32 `[samples]`, of the piece that is not.
    """

    peak: tf.Tensor
    rest: tf.Tensor


def peak(samples: tf.Tensor, lengths: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """Standard deviation of the samples in the loudest tenth of a second of each row.

    Args:
      samples: float32 `[batch, samples]`; what lies past a length has no influence.
      lengths: int32 `[batch]`, in samples.
      sample_rate_hz: their rate.

    Returns:
      float32 `[batch]`; 0 for a row without samples.
    """
    piece = _piece_samples(sample_rate_hz)
    padded = tf.pad(samples, [[0, 0], [0, piece - tf.shape(samples)[1] % piece]])
    rows, pieces = tf.shape(samples)[0], tf.shape(padded)[1] // piece
    real = tf.reshape(mask(lengths, tf.shape(padded)[1]), [rows, pieces, piece])
    values = tf.reshape(padded, [rows, pieces, piece])
    count = tf.reduce_sum(real, axis=2)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values * real, axis=2), count)
    squares = tf.reduce_sum(tf.square(values - mean[:, :, tf.newaxis]) * real, axis=2)
    return tf.sqrt(tf.reduce_max(tf.math.divide_no_nan(squares, count), axis=1))


def level_db(samples: np.ndarray) -> float:
    """Root mean square of samples, in dB below full scale."""
    return float(10 * np.log10(max(np.mean(np.square(samples, dtype=np.float64)), 1e-10)))


def start() -> StreamLevel:
    """The level before the first sample."""
    return StreamLevel(tf.constant(0.0), tf.zeros([0]))


def update(before: StreamLevel, chunk: tf.Tensor, final: tf.Tensor | bool, sample_rate_hz: int) -> StreamLevel:
    """The level after the next samples.

    Args:
      before: from `start`, or from the call before.
      chunk: float32 `[samples]`.
      final: bool scalar, whether the stream ends here; its last, shorter piece then counts too.
      sample_rate_hz: of the samples.
    """
    piece = _piece_samples(sample_rate_hz)
    samples = tf.concat([before.rest, chunk], axis=0)
    complete = tf.where(final, tf.size(samples), tf.size(samples) // piece * piece)
    loudest = peak(samples[tf.newaxis, :complete], complete[tf.newaxis], sample_rate_hz)[0]
    return StreamLevel(tf.maximum(before.peak, loudest), samples[complete:])


def _piece_samples(sample_rate_hz: int) -> int:
    return max(1, sample_rate_hz // 10)

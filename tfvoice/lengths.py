"""Padded batches that carry their lengths.

A padded batch is meaningless without the length of each row, so the two are one value here: `Sequence`. Lengths are
integers; they are never inferred from zeros in the data.
"""

from typing import NamedTuple

import tensorflow as tf


class Sequence(NamedTuple):
    """A padded batch and the length of each row.

    Attributes:
      values: `[batch, time, ...]`.
      lengths: int32 `[batch]`, each at most `time`.
    """

    values: tf.Tensor
    lengths: tf.Tensor


def mask(lengths: tf.Tensor, time: tf.Tensor | int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns `[batch, time, 1]`: one within the length of a row, zero in its padding."""
    positions = tf.range(time, dtype=lengths.dtype)
    return tf.cast(positions[tf.newaxis, :] < lengths[:, tf.newaxis], dtype)[:, :, tf.newaxis]


def after_convolution(lengths, stride: int):
    """Output length of a strided convolution with symmetric padding: `ceil(length / stride)`.

    Takes tensors, arrays and Python integers alike.
    """
    return (lengths + stride - 1) // stride

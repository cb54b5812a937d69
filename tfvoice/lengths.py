"""Values that travel with their lengths.

A padded batch has no meaning without the true length of each row, so the two are one value here: `Sequence`. Lengths
are integers that are carried along; nobody infers them from zeros in the data.
"""

from typing import NamedTuple

import tensorflow as tf


class Sequence(NamedTuple):
    """A padded batch and the true length of each of its rows.

    Attributes:
      values: `[batch, time, ...]`.
      lengths: int32 `[batch]`, each at most `time`.
    """

    values: tf.Tensor
    lengths: tf.Tensor


def mask(lengths: tf.Tensor, time: tf.Tensor | int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Returns `[batch, time, 1]`: one where a position is within its row's length, zero in the padding."""
    positions = tf.range(time, dtype=lengths.dtype)
    return tf.cast(positions[tf.newaxis, :] < lengths[:, tf.newaxis], dtype)[:, :, tf.newaxis]


def after_convolution(lengths, stride: int):
    """Length after a convolution with `stride` whose explicit padding keeps stride 1 at the same length.

    The output is `ceil(length / stride)`, for tensors, arrays and Python integers alike.
    """
    return (lengths + stride - 1) // stride

"""Dropout whose mask is a function of a key, so that a resumed run repeats it."""

import tensorflow as tf

from tfvoice import keys


def dropout(values: tf.Tensor, rate: float, key: tf.Tensor | None, layer: int) -> tf.Tensor:
    """Zeroes a share of the values and scales the others by `1 / (1 - rate)`.

    Args:
      values: of any shape.
      rate: share to zero, from 0 to 1.
      key: int32 `[2]`, of the training step. None: from TensorFlow's global generator, as Keras's own layers do;
        `keras.utils.set_random_seed` seeds it.
      layer: number of the layer. Each layer and each step has a mask of its own.

    Returns:
      The shape of `values`.
    """
    if not rate:
        return values
    if key is None:
        key = tf.random.uniform([2], tf.int32.min, tf.int32.max, tf.int32)
    return tf.nn.experimental.stateless_dropout(values, rate, keys.fold_in(key, keys.Purpose.DROPOUT, layer))

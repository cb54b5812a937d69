"""Keys of random numbers: each is derived from a seed by folding in numbers, one after the other.

Keys are never sums: with `seed + epoch`, seed 1 in epoch 0 would repeat seed 0 in epoch 1. Every use of random numbers
folds in its purpose, and then the numbers that distinguish it: epoch, position, replica, layer.
"""

import enum

import tensorflow as tf


class Purpose(enum.IntEnum):
    """Uses of random numbers. The values are part of the reproducibility of a run: they never change."""

    DROPOUT = 1
    REPLICA = 2
    FEATURE_NOISE = 3
    SPEC_AUGMENT = 4
    GAIN = 5
    NOISE = 6
    REVERBERATION = 7
    SAMPLING = 8
    # Of plans, in NumPy.
    SHUFFLE = 20
    TEMPO = 21
    VOCAL_TRACT = 22


def from_seed(seed) -> tf.Tensor:
    """Key of a seed, which is a Python integer or an int32 scalar: int32 `[2]`."""
    return tf.stack([tf.cast(seed, tf.int32), 0])


def fold_in(key: tf.Tensor, *numbers) -> tf.Tensor:
    """Derives a key from another one.

    Args:
      key: int32 `[2]`.
      numbers: integers or integer scalars; other numbers, or another order, give another key.

    Returns:
      int32 `[2]`, the same in eager mode, in a graph and under XLA.
    """
    for number in numbers:
        # The default algorithm depends on the device and on XLA; Philox is the same everywhere.
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int32), alg="philox")
    return key

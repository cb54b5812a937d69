"""Keys of random numbers: all different, and the same in eager mode, in graphs and under XLA."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import keys
from tfvoice.keys import Purpose


def test_no_two_uses_share_a_key():
    """A grid of (seed, epoch, position, purpose, layer), neighbours above all: sums of these would collide."""
    fold_in = tf.function(keys.fold_in)

    def derived(seed):
        for epoch, position in itertools.product(range(3), range(3)):
            batch_key = fold_in(keys.from_seed(seed), tf.constant(epoch), tf.constant(position))
            for purpose, layer in itertools.product(Purpose, range(4)):
                yield tuple(fold_in(batch_key, tf.constant(purpose), tf.constant(layer)).numpy().tolist())

    found = [key for seed in (0, 1, 2) for key in derived(seed)]
    assert len(found) == 3 * 3 * 3 * len(Purpose) * 4
    assert len(set(found)) == len(found)


def test_the_order_of_numbers_matters():
    key = keys.from_seed(0)
    assert keys.fold_in(key, 1, 2).numpy().tolist() != keys.fold_in(key, 2, 1).numpy().tolist()
    assert keys.fold_in(keys.fold_in(key, 1), 2).numpy().tolist() == keys.fold_in(key, 1, 2).numpy().tolist()
    assert keys.fold_in(key).numpy().tolist() == key.numpy().tolist() == [0, 0]


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_keys_are_the_same_in_eager_mode_in_a_graph_and_under_xla(seed):
    """A resumed run may be compiled differently, and a GPU may train what started on a CPU."""

    def key(seed, number):
        return keys.fold_in(keys.from_seed(seed), Purpose.DROPOUT, number)

    eager = key(seed, 7)
    assert eager.dtype == tf.int32 and eager.shape == [2]
    for options in ({}, {"jit_compile": True}):
        compiled = tf.function(key, **options)(tf.constant(seed), tf.constant(7))
        np.testing.assert_array_equal(compiled, eager)


def test_keys_are_those_of_former_versions():
    """A run that is resumed with another version repeats the same random numbers."""
    assert keys.fold_in(keys.from_seed(1), Purpose.DROPOUT, 2).numpy().tolist() == [183354017, 2]


def test_the_values_of_purposes_never_change():
    assert [(purpose.name, int(purpose)) for purpose in Purpose] == [
        ("DROPOUT", 1),
        ("REPLICA", 2),
        ("FEATURE_NOISE", 3),
        ("SPEC_AUGMENT", 4),
        ("GAIN", 5),
        ("NOISE", 6),
        ("REVERBERATION", 7),
        ("SAMPLING", 8),
        ("SHUFFLE", 20),
        ("TEMPO", 21),
        ("VOCAL_TRACT", 22),
    ]

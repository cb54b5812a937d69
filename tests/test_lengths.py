"""Masks of lengths, and lengths after a strided convolution."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import lengths

LENGTHS = np.array([0, 1, 5, 7], np.int32)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bool, tf.int32])
def test_a_mask_is_one_exactly_within_each_length(dtype):
    mask = lengths.mask(tf.constant(LENGTHS), 7, dtype)
    assert mask.shape == (4, 7, 1) and mask.dtype == dtype
    np.testing.assert_array_equal(mask[:, :, 0], np.arange(7) < LENGTHS[:, np.newaxis])


def test_a_mask_is_at_most_as_long_as_the_batch():
    np.testing.assert_array_equal(tf.reduce_sum(lengths.mask(tf.constant(LENGTHS), 5), [1, 2]), [0, 1, 5, 5])


def test_a_mask_is_the_same_in_a_graph_with_unknown_shapes():
    signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)]
    compiled = tf.function(lengths.mask, input_signature=signature)
    np.testing.assert_array_equal(compiled(LENGTHS, 7), lengths.mask(tf.constant(LENGTHS), 7))


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_length_after_a_convolution_is_the_ceiling_for_integers_arrays_and_tensors(stride):
    expected = np.ceil(np.arange(50) / stride).astype(int)
    assert [lengths.after_convolution(length, stride) for length in range(50)] == expected.tolist()
    np.testing.assert_array_equal(lengths.after_convolution(np.arange(50), stride), expected)
    tensor = lengths.after_convolution(tf.range(50), stride)
    assert tensor.dtype == tf.int32
    np.testing.assert_array_equal(tensor, expected)


def test_a_sequence_is_a_pair():
    values, row_lengths = lengths.Sequence(tf.zeros([4, 7, 2]), tf.constant(LENGTHS))
    assert values.shape[0] == row_lengths.shape[0]

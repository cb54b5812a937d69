"""Laws of datasets: order is kept, a damaged record is a sentence, an epoch can start anywhere."""

import itertools

import pytest
import tensorflow as tf

from tfvoice.data import datasets, records
from tfvoice.data.datasets import BatchDataset


def test_batches_keep_their_order_and_can_be_iterated_again(tmp_path):
    dataset = BatchDataset(tf.data.Dataset.range(10), tmp_path, 2)
    assert [int(batch) for batch in dataset] == list(range(10)) == [int(batch) for batch in dataset]
    assert [int(batch) for batch in dataset.take(3)] == [0, 1, 2]
    assert dataset.element_spec == tf.TensorSpec([], tf.int64)


def test_what_is_wrong_with_a_shard_is_a_sentence_and_other_errors_pass(tmp_path):
    dataset = BatchDataset(tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord")), tmp_path, 2)
    with pytest.raises(records.RecordError, match=f"^{tmp_path}: a shard is missing"):
        list(dataset)
    with pytest.raises(ZeroDivisionError):
        for _ in BatchDataset(tf.data.Dataset.range(3), tmp_path, 2):
            1 / 0  # noqa: B018


def test_only_the_first_epoch_starts_in_the_middle():
    assert list(datasets.epochs_from(2, 5, 3)) == [(2, 5), (3, 0), (4, 0)]
    assert list(datasets.epochs_from(0, 0, 0)) == []
    assert list(itertools.islice(datasets.epochs_from(7, 1, None), 3)) == [(7, 1), (8, 0), (9, 0)]


def test_shares_hold_every_row_once():
    shares = [datasets.Share(index, 3) for index in range(3)]
    assert sorted(row for share in shares for row in share.rows(8)) == list(range(8))
    assert all((row in share) == (row in share.rows(8)) for share in shares for row in range(8))
    assert list(datasets.Share().rows(4)) == [0, 1, 2, 3] and 7 in datasets.Share()

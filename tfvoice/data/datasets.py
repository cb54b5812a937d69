"""What the pipelines of utterances and of windows share: datasets of batches, and where in an epoch they start."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.data import records


class Speed(NamedTuple):
    """In what the speed of a training is logged.

    Attributes:
      name: in `metrics.jsonl` and TensorBoard.
      unit: on the terminal.
      samples: so many of the samples that a batch counts are one unit.
    """

    name: str
    unit: str
    samples: int


class Share(NamedTuple):
    """Which rows of a batch a process needs: every `count`-th from `index` on."""

    index: int = 0
    count: int = 1

    def __contains__(self, row) -> bool:
        return row % self.count == self.index

    def rows(self, size: int) -> np.ndarray:
        """The numbers of the rows, int64 `[rows]`, of `size` in all."""
        return np.arange(self.index, size, self.count)


class BatchDataset:
    """Batches in order, prefetched, whose damaged records raise `RecordError` instead of TensorFlow's errors.

    Args:
      dataset: of batches.
      directory: folder of the shards, for the error messages.
      prefetch: number of batches that are kept ready.
    """

    def __init__(self, dataset: tf.data.Dataset, directory: Path, prefetch: int):
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        self._dataset = dataset.prefetch(prefetch).with_options(options)
        self._directory = directory

    def __iter__(self) -> Iterator:
        with records.explained(self._directory):
            yield from self._dataset

    def take(self, count: int) -> Iterator:
        """The first batches, at most so many."""
        return itertools.islice(self, count)

    @property
    def element_spec(self):
        """Shapes and types of a batch."""
        return self._dataset.element_spec


def epochs_from(epoch: int, position: int, epochs: int | None) -> Iterator[tuple[int, int]]:
    """Yields the number of each epoch and its first position.

    Args:
      epoch: number of the first epoch.
      position: where the first epoch starts; the others start at 0.
      epochs: number of epochs; None: without end.
    """
    for current in itertools.count(epoch) if epochs is None else range(epoch, epoch + epochs):
        yield current, position if current == epoch else 0

"""From aligned records to batches of phonemes with their prosody.

A split is read once, at the start, without decoding its audio, and kept in memory: an hour of speech is some 40,000
phonemes, of less than half a KiB each.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.data import aligned, index
from tfvoice.data.datasets import Speed, epochs_from
from tfvoice.errors import TfvoiceError
from tfvoice.keys import Purpose
from tfvoice.text import phonemes
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.duration_f0.prosody import MeasuredProsody

# Lengths are padded to a multiple, so that the loops of the recurrent layers are compiled for few of them.
_ROUND_TO = 16
_MIN_DEVIATION = 1e-3


class ProsodyStatistics(NamedTuple):
    """Mean and deviation of durations, and of F0 where it was measured: the network sees values normalised by them."""

    seconds_mean: float
    seconds_deviation: float
    f0_mean_hz: float
    f0_deviation_hz: float


class ProsodyBatch(NamedTuple):
    """The input of one step; durations and F0 are normalised.

    Attributes:
      phonemes, stresses: int32 `[batch, phonemes]`, classes; padded with 0.
      lengths: int32 `[batch]`.
      duration, voiced: float32 `[batch, phonemes]`.
      f0: float32 `[batch, phonemes, values]`.
      measured: float32 `[batch, phonemes, values]`, 1 where F0 was measured.
      epoch, position: int64 scalars, number of the epoch and of the batch in it.
      samples: int64 scalar, phonemes of the batch.
    """

    phonemes: tf.Tensor
    stresses: tf.Tensor
    lengths: tf.Tensor
    duration: tf.Tensor
    voiced: tf.Tensor
    f0: tf.Tensor
    measured: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


def signature(values: int) -> ProsodyBatch:
    """Shapes and types of a batch."""
    ids, numbers = (tf.TensorSpec([None, None], dtype) for dtype in (tf.int32, tf.float32))
    points, scalar = tf.TensorSpec([None, None, values], tf.float32), tf.TensorSpec([], tf.int64)
    return ProsodyBatch(
        ids, ids, tf.TensorSpec([None], tf.int32), numbers, numbers, points, points, scalar, scalar, scalar
    )


class ProsodyIndex:
    """The utterances of a split of aligned records, all in memory.

    Args:
      data_dir: folder of the shards.
      split: name of the split.
      values: points of F0 for each phoneme.

    Attributes:
      split: name of the split.
      ids, texts: of the utterances.
      alignments: of each.
      targets: prosody of each.
      sample_rate_hz: rate of the audio.

    Raises:
      TfvoiceError: the records are plain, or damaged, or there is no such split.
    """

    speed = Speed("phonemes_per_second", "phonemes/s", 1)

    def __init__(self, data_dir: str | Path, split: str, values: int):
        manifest = aligned.read_manifest(data_dir)
        clips = index.scan_clips(manifest, data_dir, split, 1)
        self.split, self.ids, self.texts = split, clips.ids, clips.texts
        self.sample_rate_hz = manifest.sample_rate_hz
        self.alignments = aligned.read_alignments(clips)
        self.targets = [prosody.measure(each, self.sample_rate_hz, values) for each in self.alignments]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def phonemes(self) -> list[list[str]]:
        """The phonemes of each utterance."""
        return [alignment.phonemes for alignment in self.alignments]

    def describe(self) -> str:
        """One sentence: how many utterances and phonemes."""
        return f"{self.split}: {len(self)} utterances, {sum(map(len, self.phonemes))} phonemes"

    def statistics(self) -> ProsodyStatistics:
        """Statistics of the split; raises `TfvoiceError` where no phoneme has a voice."""
        seconds = np.concatenate([each.prosody.seconds for each in self.targets]).astype(np.float64)
        f0_hz = np.concatenate([each.prosody.f0_hz[each.measured] for each in self.targets]).astype(np.float64)
        if not len(f0_hz):
            raise TfvoiceError(
                f"{self.split}: no F0 was found in these {len(self)} utterances; align other recordings."
            )
        numbers = (seconds.mean(), seconds.std(), f0_hz.mean(), f0_hz.std())
        return ProsodyStatistics(*(round(float(number), 6) for number in np.maximum(numbers, _MIN_DEVIATION)))


def phoneme_labels(data_dir: str | Path) -> list[str]:
    """The phonemes without stress that aligned records can hold, silence first.

    Raises:
      TfvoiceError: the records are plain, or a phoneme has a stress that the network cannot take, such as a tone.
    """
    symbols = aligned.read_manifest(data_dir).alignment.phonemes
    labels = dict.fromkeys(map(phonemes.base, symbols))
    try:
        prosody.symbol_classes(symbols, dict.fromkeys(labels, 0))
    except PhonemeError as error:
        raise TfvoiceError(f"{data_dir}: {error}") from None
    return sorted(labels, key=lambda label: not prosody.is_silence(label))


class ProsodyPipeline:
    """Batches of a split.

    A batch holds utterances of similar numbers of phonemes. As everywhere, (seed, epoch) determines the order, and
    starting in the middle of an epoch costs nothing.

    Args:
      index: the utterances.
      labels: phonemes without stress, in the order of their classes.
      statistics: by which durations and F0 are normalised.
      batch_size: rows of a batch; the last one of an epoch may have fewer.
      seed: of the order.
      shuffled: whether the order is another one in each epoch.

    Raises:
      TfvoiceError: an utterance has a phoneme that is not among the labels.
    """

    def __init__(
        self,
        index: ProsodyIndex,
        labels: list[str],
        statistics: ProsodyStatistics,
        batch_size: int,
        seed: int = 0,
        shuffled: bool = False,
    ):
        self.index = index
        self.batch_size, self.seed, self.shuffled = batch_size, seed, shuffled
        bases = {label: number for number, label in enumerate(labels)}
        try:
            classes = [prosody.symbol_classes(symbols, bases) for symbols in index.phonemes]
        except PhonemeError as error:
            raise TfvoiceError(f"{index.split}: {error} Train another run on these records.") from None
        self._rows = [
            (*ids, *_normalized(target, statistics)) for ids, target in zip(classes, index.targets, strict=True)
        ]
        self._sizes = np.array([len(row[0]) for row in self._rows], np.int32)
        self.signature = signature(index.targets[0].measured.shape[1])

    def steps(self, epoch: int = 0) -> int:
        """Number of batches of an epoch; the same for every epoch."""
        return -(-len(self._rows) // self.batch_size)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> Iterator[ProsodyBatch]:
        """Batches from a position of an epoch on; arguments as for `tfvoice.data.datasets.epochs_from`."""
        for current, start in epochs_from(epoch, position, epochs):
            groups = self._groups(current)
            for number in range(start, len(groups)):
                yield self._batch(groups[number], current, number)

    def _groups(self, epoch: int) -> list[np.ndarray]:
        """Rows of each batch: sorted by length within pools of some batches, and the batches shuffled."""
        if not self.shuffled:
            return _cut(np.argsort(self._sizes, kind="stable"), self.batch_size)
        shuffle = np.random.default_rng((self.seed, epoch, Purpose.SHUFFLE))
        order = shuffle.permutation(len(self._rows))
        pools = _cut(order, 8 * self.batch_size)
        groups = [
            group
            for pool in pools
            for group in _cut(pool[np.argsort(self._sizes[pool], kind="stable")], self.batch_size)
        ]
        return [groups[number] for number in shuffle.permutation(len(groups))]

    def _batch(self, group: np.ndarray, epoch: int, position: int) -> ProsodyBatch:
        sizes = self._sizes[group]
        padded_size = -(-int(sizes.max()) // _ROUND_TO) * _ROUND_TO
        columns = [
            np.stack([_padded(self._rows[row][part], padded_size) for row in group])
            for part in range(len(self._rows[0]))
        ]
        ids, numbers = columns[:2], columns[2:]
        return ProsodyBatch(*ids, sizes, *numbers, np.int64(epoch), np.int64(position), np.int64(sizes.sum()))


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.pad(values, [(0, size - len(values))] + [(0, 0)] * (values.ndim - 1))


def _normalized(target: MeasuredProsody, statistics: ProsodyStatistics) -> tuple[np.ndarray, ...]:
    """Duration, voicing and F0 as the network predicts them, and where F0 was measured."""
    seconds, voiced, f0_hz = target.prosody
    duration = (seconds - statistics.seconds_mean) / statistics.seconds_deviation
    f0 = (f0_hz - statistics.f0_mean_hz) / statistics.f0_deviation_hz
    return tuple(part.astype(np.float32) for part in (duration, voiced, f0, target.measured))

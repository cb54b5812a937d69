"""From shards to batches of features and labels, in an order that depends on (seed, epoch) alone.

An epoch is planned in NumPy: utterances are shuffled, put into buckets of similar length, cut into batches, and the
batches are shuffled. tf.data then reads, decodes, computes features and augments, several batches at once and in
order. Starting in the middle of an epoch costs nothing: the epoch is planned again and its first batches are skipped.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import keys
from tfvoice.audio import augment, features
from tfvoice.audio.augment import AugmentationConfig
from tfvoice.data import records
from tfvoice.data.columns import ClassIds
from tfvoice.data.config import DataConfig
from tfvoice.data.datasets import BatchDataset, Share, epochs_from
from tfvoice.data.index import Index, minimum_frames
from tfvoice.keys import Purpose


class Batch(NamedTuple):
    """The input of one step; a batch that is not full has rows of length 0 at its end.

    Attributes:
      features: float32 `[batch, frames, channels]`, frames being the boundary of a bucket.
      lengths: int32 `[batch]`, frames of each row.
      labels: int32 `[batch, labels]`.
      label_lengths: int32 `[batch]`.
      rows: int64 `[batch]`, rows of the index; -1 for padding.
      epoch, position: int64 scalars, number of the epoch and of the batch in it.
      samples: int64 scalar, samples of audio in the batch, without padding.
    """

    features: tf.Tensor
    lengths: tf.Tensor
    labels: tf.Tensor
    label_lengths: tf.Tensor
    rows: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


def signature(channels: int) -> Batch:
    """Shapes and types of a batch for `tf.function`, so that it is traced once and not for every bucket."""
    int32, int64 = tf.int32, tf.int64
    return Batch(
        features=tf.TensorSpec([None, None, channels], tf.float32),
        lengths=tf.TensorSpec([None], int32),
        labels=tf.TensorSpec([None, None], int32),
        label_lengths=tf.TensorSpec([None], int32),
        rows=tf.TensorSpec([None], int64),
        epoch=tf.TensorSpec([], int64),
        position=tf.TensorSpec([], int64),
        samples=tf.TensorSpec([], int64),
    )


# An epoch and the position of a batch in it.
_PLACE = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one epoch.

    Attributes:
      batches: rows of the index, int64 `[batch]` each.
      boundaries: frames to which each batch is padded.
      tempo, vocal_tract: factors for `augment.warp`, float32 `[utterances]` each.
    """

    batches: list[np.ndarray]
    boundaries: list[int]
    tempo: np.ndarray
    vocal_tract: np.ndarray


class UtterancePipeline:
    """Batches of one split.

    Args:
      index: the utterances.
      config: how they are batched.
      feature_config: of the features.
      output_lengths: frames of features to frames of the network.
      batch_size: utterances in a batch.
      seed: of order and augmentation.
      augmentation: for training; None: neither shuffled nor augmented, as for validation.
      statistics: of the corpus, where features are normalised with them.

    Attributes:
      share: rows whose features are needed; the others have length 0. Set it before the first batch.
    """

    def __init__(
        self,
        index: Index,
        config: DataConfig,
        feature_config: features.FeatureConfig,
        output_lengths: Callable[[np.ndarray], np.ndarray],
        batch_size: int,
        seed: int = 0,
        augmentation: AugmentationConfig | None = None,
        statistics: features.FeatureStatistics | None = None,
    ):
        self.index = index
        self.config = config
        self.feature_config = feature_config
        self.output_lengths = output_lengths
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.share = Share()
        self.statistics = statistics
        self.frames = np.asarray(features.frame_count(feature_config, index.samples))
        self.boundaries = _boundaries(self.frames, config.buckets, augmentation.tempo if augmentation else 0.0)
        self._labels = ClassIds(index.labels)
        self._label_lengths = self._labels.lengths
        self._needed = minimum_frames(index.labels)
        self._noise = None
        if augmentation and augmentation.noise_folder:
            self._noise = augment.load_noise(augmentation.noise_folder, feature_config.sample_rate_hz)
        self._plans: dict[int, EpochPlan] = {}
        self._lock = threading.Lock()
        # Traced once: a new graph for each epoch would cost memory that TensorFlow frees late or never.
        self._compiled = tf.function(self._batch, input_signature=_PLACE)

    def plan(self, epoch: int) -> EpochPlan:
        """Plans the batches of an epoch; the same for the same (seed, epoch)."""
        with self._lock:
            if epoch not in self._plans:
                # Prefetching is at most one epoch ahead; older plans are not needed again.
                self._plans = {known: plan for known, plan in self._plans.items() if known >= epoch - 1}
                self._plans[epoch] = self._planned(epoch)
            return self._plans[epoch]

    def steps(self, epoch: int = 0) -> int:
        """Number of batches of an epoch; the same for every epoch, because at most one batch is not full."""
        return len(self.plan(epoch).batches)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> BatchDataset:
        """Batches from a position of an epoch on.

        Args:
          epoch: first epoch.
          position: first batch of that epoch.
          epochs: number of epochs; None: without end.

        Returns:
          A dataset of `Batch`.
        """

        def positions():
            for current, start in epochs_from(epoch, position, epochs):
                for number in range(start, self.steps(current)):
                    yield current, number

        dataset = tf.data.Dataset.from_generator(positions, output_signature=_PLACE)
        dataset = dataset.map(self._compiled, num_parallel_calls=self.config.workers, deterministic=True)
        return BatchDataset(dataset, self.index.directory, 2 * self.config.workers)

    def _planned(self, epoch: int) -> EpochPlan:
        count = len(self.index)
        if self.augmentation is None:
            ones = np.ones(count, np.float32)
            return self._cut(np.argsort(self.frames, kind="stable"), ones, ones, None)
        tempo = _factors(self._generator(epoch, Purpose.TEMPO), self.augmentation.tempo, count)
        # Faster speech can have too few frames for its text: such an utterance keeps its tempo.
        tempo[self.output_lengths(_warped_frames(self.frames, tempo)) < self._needed] = 1.0
        vocal_tract = _factors(self._generator(epoch, Purpose.VOCAL_TRACT), self.augmentation.vocal_tract, count)
        if self.config.sorta_grad and epoch == 0:
            return self._cut(np.argsort(_warped_frames(self.frames, tempo), kind="stable"), tempo, vocal_tract, None)
        shuffle = self._generator(epoch, Purpose.SHUFFLE)
        return self._cut(shuffle.permutation(count), tempo, vocal_tract, shuffle)

    def _generator(self, epoch: int, purpose: Purpose) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, purpose))

    def _key(self, epoch: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """The key of a batch, int32 `[2]`, into which each kind of augmentation folds its purpose."""
        key = keys.fold_in(keys.from_seed(self.seed), epoch, position)
        return key if self.share.count == 1 else keys.fold_in(key, Purpose.REPLICA, self.share.index)

    def _cut(self, order: np.ndarray, tempo, vocal_tract, shuffle: np.random.Generator | None) -> EpochPlan:
        """Cuts an order into batches of one bucket each, and shuffles the batches with `shuffle`.

        What does not fill a batch goes into the next longer bucket, so that at most one batch is not full.
        """
        bucket = np.searchsorted(self.boundaries, _warped_frames(self.frames, tempo)[order])
        batches, boundaries, rest = [], [], order[:0]
        for number, boundary in enumerate(self.boundaries):
            members = np.concatenate([rest, order[bucket == number]])
            last = number == len(self.boundaries) - 1
            full = len(members) if last else len(members) // self.batch_size * self.batch_size
            rest = members[full:]
            for start in range(0, full, self.batch_size):
                batches.append(members[start : min(start + self.batch_size, full)])
                boundaries.append(int(boundary))
        if shuffle is not None:
            shuffled = shuffle.permutation(len(batches))
            batches, boundaries = [batches[k] for k in shuffled], [boundaries[k] for k in shuffled]
        return EpochPlan(batches, boundaries, tempo, vocal_tract)

    def _batch(self, epoch, position) -> Batch:
        fetched = tf.numpy_function(
            self._fetch,
            [epoch, position],
            [tf.string, tf.int64, tf.float32, tf.float32, tf.int64, tf.int32, tf.int32, tf.int64, tf.int64, tf.int64],
            stateful=False,
        )
        serialized, places, tempo, vocal_tract, rows, labels, label_lengths, boundary, longest, total = fetched
        for tensor, rank in zip(fetched, (1, 1, 1, 1, 1, 2, 1, 0, 0, 0), strict=True):
            tensor.set_shape([None] * rank)

        def waveform(record):
            audio = records.decode(record)["audio"]
            return tf.pad(audio, [[0, longest - tf.size(audio, tf.int64)]]), tf.size(audio)

        signature = (tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))
        waveforms, samples = tf.map_fn(waveform, serialized, fn_output_signature=signature, parallel_iterations=1)
        key = self._key(epoch, position)
        waveforms = self._augmented_waveforms(waveforms, samples, key)
        values = features.compute(self.feature_config, waveforms, samples, self.statistics)
        values, lengths = self._augmented_features(values, tempo, vocal_tract, key, tf.cast(boundary, tf.int32))
        missing = self.batch_size - tf.shape(rows)[0]
        values = tf.pad(values, [[0, 0], [0, tf.cast(boundary, tf.int32) - tf.shape(values)[1]], [0, 0]])
        values, lengths = self._at(places, values), self._at(places, lengths)
        values = tf.ensure_shape(values, [self.batch_size, None, features.channels(self.feature_config)])
        rows = tf.pad(rows, [[0, missing]], constant_values=-1)
        labels, label_lengths = tf.pad(labels, [[0, missing], [0, 0]]), tf.pad(label_lengths, [[0, missing]])
        return Batch(values, lengths, labels, label_lengths, rows, epoch, position, total)

    def _at(self, places: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """A batch with `values` at the rows `places`, and zeros elsewhere."""
        if self.share.count == 1:
            # The places are the first rows, and padding is faster.
            missing = self.batch_size - tf.shape(values)[0]
            return tf.pad(values, [[0, missing]] + [[0, 0]] * (len(values.shape) - 1))
        shape = tf.concat([[self.batch_size], tf.shape(values)[1:]], axis=0)
        return tf.scatter_nd(tf.cast(places, tf.int32)[:, tf.newaxis], values, shape)

    def _fetch(self, epoch, position):
        """Reads the records of this process's share of a batch, and looks up what else the graph needs of it."""
        plan = self.plan(int(epoch))
        rows = plan.batches[int(position)]
        # A graph without a row would be a case of its own: one that is not needed is no harm.
        places = self.share.rows(len(rows)) if len(rows) > self.share.index else np.zeros(1, np.int64)
        read, label_lengths = rows[places], self._label_lengths[rows]
        return (
            np.array(self.index.read(read), object),
            places,
            plan.tempo[read],
            plan.vocal_tract[read],
            rows.astype(np.int64),
            self._labels.padded(rows),
            label_lengths,
            np.int64(plan.boundaries[int(position)]),
            np.int64(self.index.samples[read].max()),
            np.int64(self.index.samples[rows].sum()),
        )

    def _augmented_waveforms(self, waveforms, samples, key):
        config = self.augmentation
        if config is None:
            return waveforms
        if config.reverb_share:
            rate_hz = self.feature_config.sample_rate_hz
            waveforms = augment.reverberation(
                waveforms, samples, key, rate_hz, *config.reverb_seconds, config.reverb_share
            )
        if config.snr_db is not None:
            waveforms = augment.noise(waveforms, samples, key, *config.snr_db, config.noise_share, self._noise)
        if config.gain_db != (0.0, 0.0):
            waveforms = augment.gain(waveforms, samples, key, *config.gain_db)
        return waveforms

    def _augmented_features(self, values, tempo, vocal_tract, key, boundary):
        config = self.augmentation
        if config is None:
            return values
        if config.tempo or config.vocal_tract:
            values = augment.warp(values.values, values.lengths, tempo, vocal_tract, boundary)
        masked = values.values
        if config.noise:
            noise_key = keys.fold_in(key, Purpose.FEATURE_NOISE)
            noise = tf.random.stateless_normal(tf.shape(masked), noise_key, stddev=config.noise)
            masked += noise * tf.cast(tf.sequence_mask(values.lengths, tf.shape(masked)[1]), tf.float32)[..., None]
        masked = augment.spec_augment(
            masked,
            values.lengths,
            key,
            frequency_masks=config.frequency_masks,
            frequency_width=config.frequency_width,
            time_masks=config.time_masks,
            time_width=config.time_width,
            time_fraction=config.time_fraction,
        )
        return masked, values.lengths


def _factors(random: np.random.Generator, spread: float, count: int) -> np.ndarray:
    return random.uniform(1 - spread, 1 + spread, count).astype(np.float32)


def _warped_frames(frames: np.ndarray, tempo: np.ndarray) -> np.ndarray:
    """Frames after a change of tempo, computed as `augment.warp` computes them."""
    return np.ceil(frames.astype(np.float32) / tempo).astype(np.int64)


def _boundaries(frames: np.ndarray, buckets: int, tempo: float) -> np.ndarray:
    """Frames to pad to: each bucket has about as much audio, and the last one fits the longest utterance."""
    longest = int(np.ceil(np.float32(frames.max()) / np.float32(1 - tempo)))
    ordered = np.sort(frames)
    share = np.cumsum(ordered) / ordered.sum()
    inner = [int(ordered[np.searchsorted(share, number / buckets)]) for number in range(1, buckets)]
    rounded = {min(-(-boundary // 16) * 16, longest) for boundary in inner}
    return np.array(sorted(rounded | {longest}))

"""From shards to batches, in an order that depends on nothing but (seed, epoch).

An epoch is planned in NumPy: utterances are shuffled, put into buckets of similar length, cut into batches, and the
batches are shuffled. tf.data then reads, decodes, computes features and augments, several batches at once and in
order. To start in the middle of an epoch costs nothing: the plan is made again and its first batches are left out.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice import ctc
from tfvoice.audio import augment, features, noise
from tfvoice.audio.augment import AugmentationConfig
from tfvoice.data import records
from tfvoice.data.index import FilterConfig, Index


class DataConfig(FilterConfig):
    """How batches are made.

    Attributes:
      buckets: how many lengths a batch can be padded to. Fewer waste time on padding, more cost compilations.
      sorta_grad: go through the first epoch from short to long (Amodei et al., arXiv 1512.02595, section 3.2).
      workers: batches that are prepared at the same time.
    """

    buckets: int = pydantic.Field(8, ge=1)
    sorta_grad: bool = False
    workers: int = pydantic.Field(2, ge=1)


class Batch(NamedTuple):
    """What one step sees; rows beyond the utterances at hand have length 0.

    Attributes:
      features: float32 `[batch, frames, channels]`, frames being the boundary of a bucket.
      lengths: int32 `[batch]`, frames of each row.
      labels: int32 `[batch, labels]`.
      label_lengths: int32 `[batch]`.
      rows: int64 `[batch]`, positions in the index; -1 where there is no utterance.
      epoch, position: int64 scalars; which batch of which epoch this is.
      samples: int64 scalar, real audio in the batch.
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
    """What a compiled function says it takes, so that it is traced once and not for every bucket."""
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


# An epoch and a position in it.
_PLACE = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))


@dataclass(frozen=True)
class Plan:
    """The batches of one epoch: rows of the index, and frames to pad to; and how each utterance is bent."""

    batches: list[np.ndarray]
    boundaries: list[int]
    tempo: np.ndarray
    vocal_tract: np.ndarray


class Pipeline:
    """Batches of one split.

    Args:
      index: the utterances.
      config: how batches are made.
      feature_config: the features.
      statistics: of the corpus, where features are normalised with them.
      output_lengths: frames of features to frames of the network.
      batch_size: utterances in a batch.
      seed: of order and augmentation.
      augmentation: None: nothing is changed and nothing is shuffled, as for validation.
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
        statistics: features.Statistics | None = None,
    ):
        self.index = index
        self.config = config
        self.feature_config = feature_config
        self.output_lengths = output_lengths
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.statistics = statistics
        self.frames = np.asarray(features.frame_count(feature_config, index.samples))
        self.boundaries = _boundaries(self.frames, config.buckets, augmentation.tempo if augmentation else 0.0)
        self._labels = _padded(index.labels)
        self._label_lengths = np.array([len(labels) for labels in index.labels], np.int32)
        self._needed = np.array([ctc.minimum_frames(labels) for labels in index.labels])
        self._noise = None
        if augmentation and augmentation.noise_folder:
            self._noise = noise.load(augmentation.noise_folder, feature_config.sample_rate_hz)
        self._plans: dict[int, Plan] = {}
        self._lock = threading.Lock()
        # Traced once: each graph that an epoch makes anew costs memory that TensorFlow gives back late or never.
        self._compiled = tf.function(self._batch, input_signature=_PLACE)

    def plan(self, epoch: int) -> Plan:
        """Decides the batches of an epoch; the same for the same (seed, epoch)."""
        with self._lock:
            if epoch not in self._plans:
                # Prefetching looks one epoch ahead; older plans are never asked for again.
                self._plans = {known: plan for known, plan in self._plans.items() if known >= epoch - 1}
                self._plans[epoch] = self._make_plan(epoch)
            return self._plans[epoch]

    def steps(self, epoch: int = 0) -> int:
        """Batches of an epoch; the same for every epoch, since only one of them is not full."""
        return len(self.plan(epoch).batches)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> tf.data.Dataset:
        """Batches from a position of an epoch on.

        Args:
          epoch: first epoch.
          position: first batch of that epoch.
          epochs: how many epochs; None: without end.

        Returns:
          A dataset of `Batch`.
        """

        def positions():
            for current, start in epochs_from(epoch, position, epochs):
                for number in range(start, self.steps(current)):
                    yield current, number

        dataset = tf.data.Dataset.from_generator(positions, output_signature=_PLACE)
        dataset = dataset.map(self._compiled, num_parallel_calls=self.config.workers, deterministic=True)
        return prefetched(dataset, 2 * self.config.workers)

    def _make_plan(self, epoch: int) -> Plan:
        random = np.random.default_rng((self.seed, epoch))
        count = len(self.index)
        if self.augmentation is None:
            flat = np.ones(count, np.float32)
            return self._cut(np.argsort(self.frames, kind="stable"), flat, flat, None)
        tempo = _drawn(random, self.augmentation.tempo, count)
        # Faster speech can leave too few frames for its text: such an utterance keeps its own speed.
        tempo[self.output_lengths(_bent(self.frames, tempo)) < self._needed] = 1.0
        vocal_tract = _drawn(random, self.augmentation.vocal_tract, count)
        if self.config.sorta_grad and epoch == 0:
            return self._cut(np.argsort(_bent(self.frames, tempo), kind="stable"), tempo, vocal_tract, None)
        return self._cut(random.permutation(count), tempo, vocal_tract, random)

    def _cut(self, order: np.ndarray, tempo, vocal_tract, random: np.random.Generator | None) -> Plan:
        """Cuts an order into batches of one bucket each, and shuffles the batches where `random` is given.

        What does not fill a batch goes into the next longer bucket, so that at most one batch is not full.
        """
        bucket = np.searchsorted(self.boundaries, _bent(self.frames, tempo)[order])
        batches, boundaries, left = [], [], order[:0]
        for number, boundary in enumerate(self.boundaries):
            members = np.concatenate([left, order[bucket == number]])
            last = number == len(self.boundaries) - 1
            full = len(members) if last else len(members) // self.batch_size * self.batch_size
            left = members[full:]
            for start in range(0, full, self.batch_size):
                batches.append(members[start : min(start + self.batch_size, full)])
                boundaries.append(int(boundary))
        if random is not None:
            shuffled = random.permutation(len(batches))
            batches, boundaries = [batches[k] for k in shuffled], [boundaries[k] for k in shuffled]
        return Plan(batches, boundaries, tempo, vocal_tract)

    def _batch(self, epoch, position) -> Batch:
        fetched = tf.numpy_function(
            self._fetch,
            [epoch, position],
            [tf.string, tf.int64, tf.int32, tf.int32, tf.float32, tf.float32, tf.int64, tf.int64],
            stateful=False,
        )
        serialized, rows, labels, label_lengths, tempo, vocal_tract, boundary, longest = fetched
        for tensor, rank in ((serialized, 1), (rows, 1), (labels, 2), (label_lengths, 1), (tempo, 1), (vocal_tract, 1)):
            tensor.set_shape([None] * rank)
        boundary.set_shape([])
        longest.set_shape([])

        def waveform(record):
            audio = records.decode(record)["audio"]
            return tf.pad(audio, [[0, longest - tf.size(audio, tf.int64)]]), tf.size(audio)

        signature = (tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))
        waveforms, samples = tf.map_fn(waveform, serialized, fn_output_signature=signature, parallel_iterations=1)
        seed = tf.stack([tf.cast(epoch, tf.int32), tf.cast(position, tf.int32)]) + tf.constant([self.seed, 0])
        waveforms = self._distorted(waveforms, samples, seed)
        values = features.compute(self.feature_config, waveforms, samples, self.statistics)
        values, lengths = self._augmented(values, tempo, vocal_tract, seed, tf.cast(boundary, tf.int32))
        missing = self.batch_size - tf.shape(values)[0]
        values = tf.pad(values, [[0, missing], [0, tf.cast(boundary, tf.int32) - tf.shape(values)[1]], [0, 0]])
        values = tf.ensure_shape(values, [self.batch_size, None, features.channels(self.feature_config)])
        total = tf.cast(tf.reduce_sum(samples), tf.int64)
        lengths, rows = tf.pad(lengths, [[0, missing]]), tf.pad(rows, [[0, missing]], constant_values=-1)
        labels, label_lengths = tf.pad(labels, [[0, missing], [0, 0]]), tf.pad(label_lengths, [[0, missing]])
        return Batch(values, lengths, labels, label_lengths, rows, epoch, position, total)

    def _fetch(self, epoch, position):
        plan = self.plan(int(epoch))
        rows = plan.batches[int(position)]
        label_lengths = self._label_lengths[rows]
        return (
            np.array(self.index.read(rows), object),
            rows.astype(np.int64),
            self._labels[rows, : max(label_lengths)],
            label_lengths,
            plan.tempo[rows],
            plan.vocal_tract[rows],
            np.int64(plan.boundaries[int(position)]),
            np.int64(self.index.samples[rows].max()),
        )

    def _distorted(self, waveforms, samples, seed):
        chosen = self.augmentation
        if chosen is None:
            return waveforms
        if chosen.reverb_share:
            rate_hz = self.feature_config.sample_rate_hz
            waveforms = augment.reverberation(
                waveforms, samples, seed, rate_hz, *chosen.reverb_seconds, chosen.reverb_share
            )
        if chosen.snr_db is not None:
            waveforms = augment.noise(waveforms, samples, seed, *chosen.snr_db, chosen.noise_share, self._noise)
        if chosen.gain_db != (0.0, 0.0):
            waveforms = augment.gain(waveforms, samples, seed, *chosen.gain_db)
        return waveforms

    def _augmented(self, values, tempo, vocal_tract, seed, boundary):
        chosen = self.augmentation
        if chosen is None:
            return values
        if chosen.tempo or chosen.vocal_tract:
            values = augment.warp(values.values, values.lengths, tempo, vocal_tract, boundary)
        masked = values.values
        if chosen.noise:
            drawn = tf.random.stateless_normal(tf.shape(masked), seed + tf.constant([0, 1 << 20]), stddev=chosen.noise)
            masked += drawn * tf.cast(tf.sequence_mask(values.lengths, tf.shape(masked)[1]), tf.float32)[..., None]
        masked = augment.spec_augment(
            masked,
            values.lengths,
            seed,
            frequency_masks=chosen.frequency_masks,
            frequency_width=chosen.frequency_width,
            time_masks=chosen.time_masks,
            time_width=chosen.time_width,
            time_fraction=chosen.time_fraction,
        )
        return masked, values.lengths


def epochs_from(epoch: int, position: int, epochs: int | None) -> Iterator[tuple[int, int]]:
    """Yields so many epochs, or epochs without end, each with its first position: the first one can begin later."""
    for current in itertools.count(epoch) if epochs is None else range(epoch, epoch + epochs):
        yield current, position if current == epoch else 0


def prefetched(dataset: tf.data.Dataset, batches: int) -> tf.data.Dataset:
    """Keeps so many batches ready, and lets tf.data change nothing else."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(batches).with_options(options)


def _drawn(random: np.random.Generator, spread: float, count: int) -> np.ndarray:
    return random.uniform(1 - spread, 1 + spread, count).astype(np.float32)


def _bent(frames: np.ndarray, tempo: np.ndarray) -> np.ndarray:
    """Frames after a change of tempo, computed as `augment.warp` computes them."""
    return np.ceil(frames.astype(np.float32) / tempo).astype(np.int64)


def _boundaries(frames: np.ndarray, buckets: int, tempo: float) -> np.ndarray:
    """Frames to pad to, so that each bucket holds about the same audio; the last holds the longest utterance."""
    longest = int(np.ceil(np.float32(frames.max()) / np.float32(1 - tempo)))
    ordered = np.sort(frames)
    share = np.cumsum(ordered) / ordered.sum()
    inner = [int(ordered[np.searchsorted(share, number / buckets)]) for number in range(1, buckets)]
    rounded = {min(-(-boundary // 16) * 16, longest) for boundary in inner}
    return np.array(sorted(rounded | {longest}))


def _padded(labels: list[np.ndarray]) -> np.ndarray:
    table = np.zeros((len(labels), max(len(row) for row in labels)), np.int32)
    for row, values in enumerate(labels):
        table[row, : len(values)] = values
    return table

"""From shards to windows of quantised audio, for a network that carries its state from one window to the next.

The clips of an epoch are concatenated and distributed over the rows of a batch, each clip in windows of
`sequence_samples`. Each step moves every row one window on; where a clip begins, the state of that row is reset. A
clip is padded to whole windows, and its padding does not count. As for utterances, (seed, epoch) determines the order,
and starting in the middle of an epoch costs nothing.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.data.config import WindowConfig
from tfvoice.data.datasets import BatchDataset, Share, epochs_from
from tfvoice.data.index import Index
from tfvoice.keys import Purpose

_PREFETCH = 4


class WindowBatch(NamedTuple):
    """The input of one step.

    Attributes:
      levels: int32 `[batch, context + samples]`, the samples before the window and the window. Silence precedes a clip.
      lengths: int32 `[batch]`, samples of the window that belong to the clip; 0 for a row without a clip.
      reset: bool `[batch]`, rows whose window begins a clip.
      clips: int64 `[batch]`, rows of the index; -1 for padding.
      epoch, position: int64 scalars, number of the epoch and of the batch in it.
      samples: int64 scalar, samples of audio in the batch, without padding.
    """

    levels: tf.Tensor
    lengths: tf.Tensor
    reset: tf.Tensor
    clips: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


def signature(batch_size: int, samples: int) -> WindowBatch:
    """Shapes and types of a batch for `tf.function`; `samples` is the length of context and window together."""
    return WindowBatch(
        levels=tf.TensorSpec([batch_size, samples], tf.int32),
        lengths=tf.TensorSpec([batch_size], tf.int32),
        reset=tf.TensorSpec([batch_size], tf.bool),
        clips=tf.TensorSpec([batch_size], tf.int64),
        epoch=tf.TensorSpec([], tf.int64),
        position=tf.TensorSpec([], tf.int64),
        samples=tf.TensorSpec([], tf.int64),
    )


class WindowPlan(NamedTuple):
    """The clip of each row at each step, and its window of that clip: int64 `[steps, batch]`, -1 for padding."""

    clips: np.ndarray
    windows: np.ndarray


class WindowPipeline:
    """Windows of one split.

    Args:
      index: the clips.
      config: how they are cut into windows.
      quantization: of the samples.
      context: samples before each window.
      batch_size: rows of a batch.
      seed: of the order.
      shuffled: whether clips are shuffled in each epoch. They are then concatenated, so that all rows are full up to
        the last step but one, and a clip can be split where its row ends; otherwise none is split.
      peaks: from `peaks`, for the normalisation that needs them.

    Attributes:
      share: rows whose levels are needed; those of the others are silence.
    """

    def __init__(
        self,
        index: Index,
        config: WindowConfig,
        quantization: QuantizationConfig,
        context: int,
        batch_size: int,
        seed: int = 0,
        shuffled: bool = False,
        peaks: Mapping[str, float] | None = None,
    ):
        self.index = index
        self.window = config.sequence_samples
        self.quantization = quantization
        self.context = context
        self.batch_size = batch_size
        self.seed = seed
        self.shuffled = shuffled
        self.share = Share()
        self._peaks = peaks or {}
        self._windows = -(-index.samples // self.window)
        self.plan = functools.lru_cache(2)(self._planned)

    @property
    def signature(self) -> WindowBatch:
        """Shapes and types of a batch."""
        return signature(self.batch_size, self.context + self.window)

    def steps(self, epoch: int = 0) -> int:
        """Number of batches of an epoch; the same for every epoch."""
        return len(self.plan(epoch).clips)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> BatchDataset:
        """Batches from a position of an epoch on.

        Args:
          epoch: first epoch.
          position: first batch of that epoch.
          epochs: number of epochs; None: without end.

        Returns:
          A dataset of `WindowBatch`.
        """

        def windows() -> Iterator[WindowBatch]:
            for current, start in epochs_from(epoch, position, epochs):
                yield from self._epoch(current, start)

        dataset = tf.data.Dataset.from_generator(windows, output_signature=self.signature)
        return BatchDataset(dataset, self.index.directory, _PREFETCH)

    def levels(self, clip: int) -> np.ndarray:
        """The levels of a whole clip, int32 `[samples]`."""
        peak = self._peaks.get(_recording(self.index.ids[clip]))
        samples = quantize.normalise(self.quantization, self.index.audio(clip), peak)
        return quantize.encode(self.quantization, samples).numpy()

    def _planned(self, epoch: int) -> WindowPlan:
        if not self.shuffled:
            return self._side_by_side(np.argsort(-self._windows, kind="stable"))
        order = np.random.default_rng((self.seed, epoch, Purpose.SHUFFLE)).permutation(len(self.index))
        clips = np.repeat(order, self._windows[order])
        windows = np.concatenate([np.arange(self._windows[clip]) for clip in order])
        steps = -(-len(clips) // self.batch_size)
        missing = steps * self.batch_size - len(clips)
        rows = [np.pad(values, (0, missing), constant_values=-1) for values in (clips, windows)]
        return WindowPlan(*(values.reshape(self.batch_size, steps).T for values in rows))

    def _side_by_side(self, order: np.ndarray) -> WindowPlan:
        """Assigns each clip, whole, to the row that is shortest so far."""
        rows: list[list[int]] = [[] for _ in range(self.batch_size)]
        length = np.zeros(self.batch_size, np.int64)
        for clip in order:
            row = int(length.argmin())
            rows[row].append(clip)
            length[row] += self._windows[clip]
        clips, windows = (np.full((length.max(), self.batch_size), -1, np.int64) for _ in range(2))
        for row, members in enumerate(rows):
            if members:
                clips[: length[row], row] = np.repeat(members, self._windows[members])
                windows[: length[row], row] = np.concatenate([np.arange(self._windows[clip]) for clip in members])
        return WindowPlan(clips, windows)

    def _epoch(self, epoch: int, start: int) -> Iterator[WindowBatch]:
        plan = self.plan(epoch)
        # The current clip of each row, and its levels with silence before and after them.
        current: list[tuple[int, np.ndarray]] = [(-1, np.zeros(0, np.int32))] * self.batch_size
        width = self.context + self.window
        for step in range(start, len(plan.clips)):
            levels = np.full((self.batch_size, width), self.quantization.silence, np.int32)
            lengths = np.zeros(self.batch_size, np.int32)
            for row, (clip, window) in enumerate(zip(plan.clips[step], plan.windows[step], strict=True)):
                if clip < 0:
                    continue
                lengths[row] = min(self.window, self.index.samples[clip] - window * self.window)
                if row not in self.share:
                    continue
                if current[row][0] != clip:
                    padding = (self.context, self.window)
                    padded = np.pad(self.levels(clip), padding, constant_values=self.quantization.silence)
                    current[row] = clip, padded
                levels[row] = current[row][1][window * self.window : window * self.window + width]
            reset = plan.windows[step] == 0
            if step == 0:
                # A clip that was split at the end of the row above continues here, without its state.
                reset = plan.clips[step] >= 0
            total = np.int64(lengths.sum())
            yield WindowBatch(levels, lengths, reset, plan.clips[step], np.int64(epoch), np.int64(step), total)


def peaks(indices: Iterable[Index]) -> dict[str, float]:
    """The largest absolute sample of each recording, over its clips in all splits of a corpus."""
    largest: dict[str, float] = {}
    for index in indices:
        for id, peak in zip(index.ids, index.peak.tolist(), strict=True):
            recording = _recording(id)
            largest[recording] = max(largest.get(recording, 0.0), peak)
    return largest


def _recording(name: str) -> str:
    """The recording of a clip: `tfvoice_convert --corpus=audio` writes the ids `recording@seconds`."""
    return name.rpartition("@")[0] or name

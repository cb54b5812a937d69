"""From shards to windows of levels, for a network that carries its state from one window to the next.

The clips of an epoch are laid end to end over the rows of a batch, each in windows of `sequence_samples`. A row goes
through its clips one window a step; where a clip begins, the state of that row is to be reset. Where a clip does not
fill its last window, the rest of it is not counted. As with the recognisers, everything is decided by (seed, epoch),
and to start in the middle of an epoch costs nothing.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pydantic
import tensorflow as tf
from tqdm import tqdm

from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.config import Config
from tfvoice.data.index import Index
from tfvoice.data.utterances import epochs_from, prefetched


class ClipConfig(Config):
    """How batches are made.

    Attributes:
      sequence_samples: length of a window: gradients reach back so far (truncated back-propagation through time).
        Shorter clips are left out.
    """

    sequence_samples: int = pydantic.Field(512, ge=1)


class Windows(NamedTuple):
    """What one step sees.

    Attributes:
      levels: int32 `[batch, context + samples]`: what came before the window, and the window. Silence comes before a
        clip.
      lengths: int32 `[batch]`, samples of the window that belong to the clip; 0 for a row without one.
      reset: bool `[batch]`, rows whose window begins a clip.
      clips: int64 `[batch]`, positions in the index; -1 where there is no clip.
      epoch, position: int64 scalars; which batch of which epoch this is.
      samples: int64 scalar, samples that count.
    """

    levels: tf.Tensor
    lengths: tf.Tensor
    reset: tf.Tensor
    clips: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


def signature(batch_size: int, samples: int) -> Windows:
    """Shapes and types of a batch; `samples` are those of context and window."""
    return Windows(
        levels=tf.TensorSpec([batch_size, samples], tf.int32),
        lengths=tf.TensorSpec([batch_size], tf.int32),
        reset=tf.TensorSpec([batch_size], tf.bool),
        clips=tf.TensorSpec([batch_size], tf.int64),
        epoch=tf.TensorSpec([], tf.int64),
        position=tf.TensorSpec([], tf.int64),
        samples=tf.TensorSpec([], tf.int64),
    )


class Plan(NamedTuple):
    """Which window of which clip each row sees at each step: int64 `[steps, batch]` both, -1 where there is none."""

    clips: np.ndarray
    windows: np.ndarray


class ClipPipeline:
    """Windows of one split.

    Args:
      index: the clips.
      config: how batches are made.
      quantization: how samples become levels.
      context: samples that come before each window.
      batch_size: rows.
      seed: of the order.
      shuffled: whether clips are mixed anew for each epoch. They are then laid end to end, so that all rows are full
        to the last step but one, and a clip can be cut where its row ends; otherwise none is cut.
      peaks: from `peaks`, for the normalisation that needs them.
    """

    def __init__(
        self,
        index: Index,
        config: ClipConfig,
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
        self._peaks = peaks or {}
        self._windows = -(-index.samples // self.window)
        self.plan = functools.lru_cache(2)(self._make_plan)

    @property
    def signature(self) -> Windows:
        """Shapes and types of a batch."""
        return signature(self.batch_size, self.context + self.window)

    def steps(self, epoch: int = 0) -> int:
        """Batches of an epoch; the same for every epoch."""
        return len(self.plan(epoch).clips)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> tf.data.Dataset:
        """Batches from a position of an epoch on.

        Args:
          epoch: first epoch.
          position: first batch of that epoch.
          epochs: how many epochs; None: without end.

        Returns:
          A dataset of `Windows`.
        """

        def windows() -> Iterator[Windows]:
            for current, start in epochs_from(epoch, position, epochs):
                yield from self._epoch(current, start)

        return prefetched(tf.data.Dataset.from_generator(windows, output_signature=self.signature), 4)

    def levels(self, clip: int) -> np.ndarray:
        """The levels of a whole clip, int32 `[samples]`."""
        peak = self._peaks.get(_recording(self.index.ids[clip]))
        samples = quantize.normalise(self.quantization, self.index.audio(clip), peak)
        return quantize.encode(self.quantization, samples).numpy()

    def _make_plan(self, epoch: int) -> Plan:
        count = len(self.index)
        if not self.shuffled:
            return self._side_by_side(np.argsort(-self._windows, kind="stable"))
        order = np.random.default_rng((self.seed, epoch)).permutation(count)
        clips = np.repeat(order, self._windows[order])
        windows = np.concatenate([np.arange(self._windows[clip]) for clip in order])
        steps = -(-len(clips) // self.batch_size)
        missing = steps * self.batch_size - len(clips)
        rows = [np.pad(values, (0, missing), constant_values=-1) for values in (clips, windows)]
        return Plan(*(values.reshape(self.batch_size, steps).T for values in rows))

    def _side_by_side(self, order: np.ndarray) -> Plan:
        """Gives each clip, whole, to the row that has the least to do."""
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
        return Plan(clips, windows)

    def _epoch(self, epoch: int, start: int) -> Iterator[Windows]:
        plan = self.plan(epoch)
        # The clip that each row is in, and its levels between silence.
        held: list[tuple[int, np.ndarray]] = [(-1, np.zeros(0, np.int32))] * self.batch_size
        width = self.context + self.window
        for step in range(start, len(plan.clips)):
            levels = np.full((self.batch_size, width), self.quantization.silence, np.int32)
            lengths = np.zeros(self.batch_size, np.int32)
            for row, (clip, window) in enumerate(zip(plan.clips[step], plan.windows[step], strict=True)):
                if clip < 0:
                    continue
                if held[row][0] != clip:
                    around = {"pad_width": (self.context, self.window), "constant_values": self.quantization.silence}
                    held[row] = clip, np.pad(self.levels(clip), **around)
                levels[row] = held[row][1][window * self.window : window * self.window + width]
                lengths[row] = min(self.window, self.index.samples[clip] - window * self.window)
            begins = plan.windows[step] == 0
            if step == 0:
                # A clip that was cut at the end of the row before goes on here.
                begins = plan.clips[step] >= 0
            total = np.int64(lengths.sum())
            yield Windows(levels, lengths, begins, plan.clips[step], np.int64(epoch), np.int64(step), total)


def peaks(indices: Iterable[Index]) -> dict[str, float]:
    """The loudest sample of each recording, over all its clips: the splits of a corpus share recordings."""
    found: dict[str, float] = {}
    for index in indices:
        for clip in tqdm(range(len(index)), desc=f"peaks of {index.split}", unit="clip", disable=None):
            recording = _recording(index.ids[clip])
            found[recording] = max(found.get(recording, 0.0), float(np.abs(index.audio(clip)).max()))
    return found


def _recording(name: str) -> str:
    """The recording that a clip was cut from: `tfvoice_convert --corpus=audio` writes `recording@seconds`."""
    return name.rpartition("@")[0] or name

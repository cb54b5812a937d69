"""From aligned records to clips of levels with their conditioning.

The conditioning of a split is kept in memory, 23 bytes a frame; audio is read when it is needed. A clip begins at a
frame. What the network must see before it and what the conditioner should see around it is a part of its row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfvoice import storage
from tfvoice.audio import quantize
from tfvoice.audio.quantize import QuantizationConfig
from tfvoice.data import aligned, index
from tfvoice.data.datasets import BatchDataset, Share, epochs_from
from tfvoice.errors import TfvoiceError
from tfvoice.keys import Purpose
from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES, WINDOW, VocoderConfig
from tfvoice.text.phonemes import SILENCE, PhonemeError
from tfvoice.tts.vocoder import conditioning
from tfvoice.tts.vocoder.conditioning import F0Statistics
from tfvoice.tts.vocoder.config import ClipConfig

# Frames that the conditioner sees before and after what is needed of it, a quarter of a second.
_MARGIN = 62
_PREFETCH = 4
# How often a clip with too much silence is drawn again.
_DRAWS = 10


class ClipBatch(NamedTuple):
    """The input of one step.

    Attributes:
      levels: int32 `[batch, 2 + samples]`: two levels, more before the clip, and the clip; silence where none are.
      phonemes, stresses, f0: as in `ConditioningFrames`, with an axis of rows in front; padded with 0.
      lengths: int32 `[batch]`, frames of the conditioning.
      offsets: int32 `[batch]`, the frame of the conditioning at which `levels` begin, after its first two.
      counts: int32 `[batch]`, samples of the clip that belong to the utterance; 0 for a row without a clip.
      rows: int64 `[batch]`, rows of the index; -1 for padding.
      epoch, position: int64 scalars, number of the epoch and of the batch in it.
      samples: int64 scalar, samples of the clips, without padding.
    """

    levels: tf.Tensor
    phonemes: tf.Tensor
    stresses: tf.Tensor
    f0: tf.Tensor
    lengths: tf.Tensor
    offsets: tf.Tensor
    counts: tf.Tensor
    rows: tf.Tensor
    epoch: tf.Tensor
    position: tf.Tensor
    samples: tf.Tensor


class ClipSizes(NamedTuple):
    """Sizes in frames: of a clip, of what the network sees before it, and of the silence before an utterance."""

    clip: int
    lead: int
    silence: int

    @property
    def width(self) -> int:
        """Frames of the conditioning of a row."""
        return self.lead + self.clip + 2 * _MARGIN


def sizes(data: ClipConfig, model: VocoderConfig, sample_rate_hz: int) -> ClipSizes:
    """The sizes of clips at a rate."""
    per_second = sample_rate_hz / FRAME_SAMPLES
    clip, silence = max(1, round(data.seconds * per_second)), max(1, round(data.silence_seconds * per_second))
    return ClipSizes(clip, min(silence, -(-model.receptive_field // FRAME_SAMPLES)), silence)


class VocoderIndex:
    """The utterances of a split of aligned records.

    Args:
      data_dir: folder of the shards.
      split: name of the split.

    Attributes:
      clips: index of the records.
      alignments: of each utterance.

    Raises:
      TfvoiceError: the records are plain or damaged, their frames have other sizes, or there is no such split.
    """

    def __init__(self, data_dir: str | Path, split: str):
        manifest = aligned.read_manifest(data_dir)
        if manifest.alignment.frame_samples != FRAME_SAMPLES:
            raise TfvoiceError(
                f"{data_dir}: its frames have {manifest.alignment.frame_samples} samples, and those of a vocoder have "
                f"{FRAME_SAMPLES}; align the records again with tfvoice_align --set=frame_samples={FRAME_SAMPLES}."
            )
        self.clips = index.scan_clips(manifest, data_dir, split, 1)
        self.split, self.speed, self.directory = split, self.clips.speed, storage.place(data_dir)
        self.alignments = aligned.read_alignments(self.clips)

    def __len__(self) -> int:
        return len(self.clips)

    def describe(self) -> str:
        """One sentence: how many utterances and hours."""
        return self.clips.describe()

    def f0_statistics(self) -> F0Statistics:
        """Statistics of the voiced frames; raises `TfvoiceError` where there are none."""
        voiced = np.concatenate([each.f0_hz[each.f0_hz > 0] for each in self.alignments]).astype(np.float64)
        if not len(voiced):
            raise TfvoiceError(f"{self.directory}: no F0 was found in split {self.split}; align other recordings.")
        log_f0 = np.log(voiced)
        return F0Statistics(round(float(log_f0.mean()), 6), round(max(float(log_f0.std()), 1e-3), 6))


class _Clip(NamedTuple):
    """A clip: its utterance, and the frame at which it starts, after the silence before the utterance."""

    row: int
    start: int


class ClipPipeline:
    """Clips of one split.

    Args:
      index: the utterances.
      bases: class of each phoneme without stress.
      statistics: of the F0 of the training data.
      sizes: of the clips.
      config: which clips are left out.
      quantization: of the samples.
      batch_size: rows of a batch.
      seed: of the order.
      shuffled: whether each epoch draws other clips, in another order; otherwise they follow each other and cover
        every utterance, silence included.

    Attributes:
      share: rows whose levels are needed; those of the others are silence.

    Raises:
      TfvoiceError: a phoneme is unknown, or all utterances are mostly silent.
    """

    def __init__(
        self,
        index: VocoderIndex,
        bases: dict[str, int],
        statistics: F0Statistics,
        sizes: ClipSizes,
        config: ClipConfig,
        quantization: QuantizationConfig,
        batch_size: int,
        seed: int = 0,
        shuffled: bool = False,
    ):
        self.index, self.sizes, self.quantization = index, sizes, quantization
        self.batch_size, self.seed, self.shuffled, self.share = batch_size, seed, shuffled, Share()
        self._max_silence = config.max_silence
        try:
            self.conditioning = [
                conditioning.frames(alignment, bases, statistics, sizes.silence) for alignment in index.alignments
            ]
        except PhonemeError as error:
            raise TfvoiceError(f"{index.directory}: {error} Train another run on these records.") from None
        silent = [frames.phonemes[sizes.silence :, WINDOW // 2] == bases[SILENCE] for frames in self.conditioning]
        # Silent frames before each frame of an utterance, so that the share of any clip is a difference.
        self._silent = [np.concatenate([[0], np.cumsum(each)]) for each in silent]
        self._used = [row for row, each in enumerate(silent) if not shuffled or each.mean() <= config.max_silence]
        if not self._used:
            raise TfvoiceError(f"{index.directory}: split {index.split} is mostly silence; use recordings of speech.")

    @property
    def signature(self) -> ClipBatch:
        """Shapes and types of a batch."""
        rows, width = self.batch_size, self.sizes.width
        window, column = tf.TensorSpec([rows, width, WINDOW], tf.int32), tf.TensorSpec([rows], tf.int32)
        levels = tf.TensorSpec([rows, 2 + (self.sizes.lead + self.sizes.clip) * FRAME_SAMPLES], tf.int32)
        scalar = tf.TensorSpec([], tf.int64)
        return ClipBatch(
            levels, window, window, tf.TensorSpec([rows, width, 2], tf.float32), column, column, column,
            tf.TensorSpec([rows], tf.int64), scalar, scalar, scalar,
        )  # fmt: skip

    def steps(self, epoch: int = 0) -> int:
        """Number of batches of an epoch; the same for every epoch."""
        return -(-sum(self._clips_of(row) for row in self._used) // self.batch_size)

    def batches(self, epoch: int = 0, position: int = 0, epochs: int | None = None) -> BatchDataset:
        """Batches from a position of an epoch on; arguments as for `tfvoice.data.datasets.epochs_from`."""

        def clips() -> Iterator[ClipBatch]:
            for current, start in epochs_from(epoch, position, epochs):
                plan = self.plan(current)
                for number in range(start, self.steps()):
                    rows = plan[number * self.batch_size : (number + 1) * self.batch_size]
                    yield self._batch(rows, current, number)

        dataset = tf.data.Dataset.from_generator(clips, output_signature=self.signature)
        return BatchDataset(dataset, self.index.directory, _PREFETCH)

    def plan(self, epoch: int) -> list[_Clip]:
        """The clips of an epoch, in their order; determined by (seed, epoch)."""
        if not self.shuffled:
            return [_Clip(row, number * self.sizes.clip) for row in self._used for number in range(self._clips_of(row))]
        random = np.random.default_rng((self.seed, epoch, Purpose.SHUFFLE))
        clips = [clip for row in self._used for clip in self._drawn(row, random)]
        return [clips[number] for number in random.permutation(len(clips))]

    def levels(self, row: int) -> np.ndarray:
        """The levels of an utterance, int32 `[samples]`."""
        samples = quantize.normalise(self.quantization, self.index.clips.audio(row))
        return quantize.encode(self.quantization, samples).numpy()

    def _frames(self, row: int) -> int:
        return len(self._silent[row]) - 1

    def _clips_of(self, row: int) -> int:
        return -(-self._frames(row) // self.sizes.clip)

    def _drawn(self, row: int, random: np.random.Generator) -> Iterator[_Clip]:
        """Clips of an utterance that are spread over it at random, with little silence."""
        count, last = self._clips_of(row), max(0, self._frames(row) - self.sizes.clip)
        silent = self._silent[row]
        for number in range(count):
            best = None
            for attempt in range(_DRAWS):
                share = random.random() if attempt else (number + random.random()) / count
                start = int(share * (last + 1))
                end = min(start + self.sizes.clip, self._frames(row))
                silence = (silent[end] - silent[start]) / (end - start)
                if best is None or silence < best[0]:
                    best = silence, start
                if silence <= self._max_silence:
                    break
            yield _Clip(row, best[1])

    def _batch(self, clips: list[_Clip], epoch: int, position: int) -> ClipBatch:
        """Rows in the layout of `ClipBatch`."""
        lead, width = self.sizes.lead, self.sizes.width
        rows = self.batch_size
        levels = np.full([rows, 2 + (lead + self.sizes.clip) * FRAME_SAMPLES], self.quantization.silence, np.int32)
        windows = [np.zeros([rows, width, WINDOW], np.int32) for _ in range(2)]
        tables = [*windows, np.zeros([rows, width, 2], np.float32)]
        lengths, offsets, counts = (np.zeros(rows, np.int32) for _ in range(3))
        ids = np.full(rows, -1, np.int64)
        for number, clip in enumerate(clips):
            # In frames that count the silence before the utterance.
            first = self.sizes.silence + clip.start - lead
            frames = self.conditioning[clip.row]
            start, end = max(0, first - _MARGIN), min(len(frames.f0), first + lead + self.sizes.clip + _MARGIN)
            for table, values in zip(tables, frames.part(start, end), strict=True):
                table[number, : end - start] = values
            lengths[number], offsets[number], ids[number] = end - start, first - start, clip.row
            left = self.index.clips.samples[clip.row] - clip.start * FRAME_SAMPLES
            counts[number] = min(left, self.sizes.clip * FRAME_SAMPLES)
            if number in self.share:
                self._fill(levels[number], clip)
        scalars = (np.int64(epoch), np.int64(position), np.int64(counts.sum()))
        return ClipBatch(levels, *tables, lengths, offsets, counts, ids, *scalars)

    def _fill(self, row: np.ndarray, clip: _Clip) -> None:
        """Writes the levels of a clip and those before it into a row of silence."""
        levels = self.levels(clip.row)
        clip_start = clip.start * FRAME_SAMPLES
        # The sample of the utterance that the row starts with.
        first = clip_start - len(row) + self.sizes.clip * FRAME_SAMPLES
        source = levels[max(0, first) : clip_start + self.sizes.clip * FRAME_SAMPLES]
        row[max(0, -first) : max(0, -first) + len(source)] = source

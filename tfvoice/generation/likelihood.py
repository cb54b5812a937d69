"""How well a generator predicts a split: negative log-likelihood in bits per sample, clip by clip."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice.asr import metrics
from tfvoice.data.windows import ClipPipeline, Windows
from tfvoice.training import objectives


class Clip(NamedTuple):
    """One clip: its samples, and the bits that they cost in all."""

    id: str
    samples: int
    bits: float


class Scorer:
    """Scores the clips of a split, as often as wanted; traced once, so that memory does not grow.

    Args:
      model: a SampleRNN.
      pipeline: of the split, not shuffled, so that no clip is cut.
    """

    def __init__(self, model, pipeline: ClipPipeline):
        self.index = pipeline.index
        self._pipeline = pipeline
        self._batches = pipeline.batches(epochs=1)
        self._start = model.start
        states = [tf.TensorSpec(value.shape, tf.float32) for value in model.start(pipeline.batch_size)]

        @tf.function(input_signature=[pipeline.signature, states])
        def step(batch: Windows, carried):
            logits, carried = model(batch.levels, carried, batch.reset)
            return objectives.bits(logits, batch.levels[:, pipeline.context :], batch.lengths), carried

        self._step = step
        step.get_concrete_function()

    def score(self, progress: bool = False) -> list[Clip]:
        """Scores every clip, in the order of the index; `progress` shows a bar."""
        totals = np.zeros(len(self.index))
        carried = self._start(self._pipeline.batch_size)
        bar = tqdm(total=self._pipeline.steps(), unit="step", desc=self.index.split, disable=None if progress else True)
        with bar:
            for batch in self._batches:
                bits, carried = self._step(batch, carried)
                clips = batch.clips.numpy()
                np.add.at(totals, clips[clips >= 0], bits.numpy()[clips >= 0])
                bar.update()
        return [
            Clip(*values) for values in zip(self.index.ids, self.index.samples.tolist(), totals.tolist(), strict=True)
        ]


def interval(clips: list[Clip]) -> metrics.Interval:
    """95 % bootstrap interval of `per_sample`, over clips."""
    return metrics.ratio_interval([(clip.bits, clip.samples) for clip in clips])


def per_sample(clips: list[Clip]) -> float:
    """Bits per sample over all clips."""
    return sum(clip.bits for clip in clips) / max(1, sum(clip.samples for clip in clips))

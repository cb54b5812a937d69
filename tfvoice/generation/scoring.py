"""Likelihood of the clips of a split, in bits per sample: what a validation needs of an evaluation."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import bootstrap
from tfvoice.data.windows import WindowBatch, WindowPipeline
from tfvoice.generation import metrics


class ScoredClip(NamedTuple):
    """A clip: its number of samples, and their negative log-likelihood in bits."""

    id: str
    samples: int
    bits: float


class LikelihoodScorer:
    """Scores the clips of a split, as often as needed; traced once, so that memory is constant.

    Args:
      model: a SampleRNN.
      pipeline: of the split, not shuffled, so that no clip is cut.
    """

    def __init__(self, model, pipeline: WindowPipeline):
        self.index = pipeline.index
        self._pipeline = pipeline
        self._batches = pipeline.batches(epochs=1)
        self._initial_state = model.initial_state
        states = [tf.TensorSpec(value.shape, tf.float32) for value in model.initial_state(pipeline.batch_size)]

        @tf.function(input_signature=[pipeline.signature, states])
        def step(batch: WindowBatch, carried):
            logits, carried = model(batch.levels, carried, batch.reset, loop="xla")
            return metrics.bits(logits, batch.levels[:, pipeline.context :], batch.lengths), carried

        self._step = step
        step.get_concrete_function()

    def score(self, progress: bool = False) -> list[ScoredClip]:
        """Scores every clip, in the order of the index; `progress` shows a bar."""
        totals = np.zeros(len(self.index))
        carried = self._initial_state(self._pipeline.batch_size)
        bar = tqdm(total=self._pipeline.steps(), unit="step", desc=self.index.split, disable=None if progress else True)
        with bar:
            for batch in self._batches:
                bits, carried = self._step(batch, carried)
                clips = batch.clips.numpy()
                np.add.at(totals, clips[clips >= 0], bits.numpy()[clips >= 0])
                bar.update()
        return [
            ScoredClip(*values)
            for values in zip(self.index.ids, self.index.samples.tolist(), totals.tolist(), strict=True)
        ]


def interval(clips: list[ScoredClip]) -> bootstrap.Interval:
    """95 % bootstrap interval of `per_sample`, over clips."""
    return bootstrap.ratio_interval([(clip.bits, clip.samples) for clip in clips])


def bits_per_sample(clips: list[ScoredClip]) -> float:
    """Bits per sample over all clips."""
    return sum(clip.bits for clip in clips) / max(1, sum(clip.samples for clip in clips))

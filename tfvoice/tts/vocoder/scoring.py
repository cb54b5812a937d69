"""Likelihood of the utterances of a split, in bits per sample: what a validation needs of an evaluation."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice.generation import metrics
from tfvoice.generation.scoring import ScoredClip
from tfvoice.tts.vocoder.data import ClipBatch, ClipPipeline
from tfvoice.tts.vocoder.objective import NextLevelObjective


class LikelihoodScorer:
    """Scores the utterances of a split, as often as needed; traced once.

    Args:
      objective: of the vocoder.
      pipeline: of the split, not shuffled.
    """

    def __init__(self, objective: NextLevelObjective, pipeline: ClipPipeline):
        self._pipeline = pipeline

        @tf.function(input_signature=[pipeline.signature])
        def step(batch: ClipBatch):
            inputs, targets = objective.split(batch)
            return metrics.bits(objective.logits(*inputs, training=False), *targets)

        self._step = step

    def score(self, progress: bool = False) -> list[ScoredClip]:
        """Scores every utterance, in the order of the index; `progress` shows a bar."""
        clips = self._pipeline.index.clips
        totals = np.zeros(len(clips))
        bar = tqdm(total=self._pipeline.steps(), unit="step", desc=clips.split, disable=None if progress else True)
        with bar:
            for batch in self._pipeline.batches(epochs=1):
                rows, bits = batch.rows.numpy(), self._step(batch).numpy()
                np.add.at(totals, rows[rows >= 0], bits[rows >= 0])
                bar.update()
        return [ScoredClip(*values) for values in zip(clips.ids, clips.samples.tolist(), totals.tolist(), strict=True)]

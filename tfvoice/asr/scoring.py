"""Hypotheses of a split in batches, and their error rates: what a validation needs of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc
from tfvoice.asr import metrics
from tfvoice.audio import features
from tfvoice.data.index import Index
from tfvoice.data.utterances import Batch, UtterancePipeline, signature
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet


@dataclass(frozen=True)
class ScoredUtterance:
    """An utterance with its hypothesis.

    Attributes:
      id, speaker: as in the records.
      seconds: of audio.
      reference: its transcript, as the alphabet spells it.
      hypothesis: words with single spaces between them; empty where the record is unreadable.
      loss: CTC loss of the reference, nats; None where there is no path, or the audio went through in windows.
      unreadable: whether the record could not be read.
    """

    id: str
    speaker: str
    seconds: float
    reference: str
    hypothesis: str
    loss: float | None
    unreadable: bool = False


class Score(NamedTuple):
    """Corpus-level rates (errors over units of the reference) and the mean loss in nats per utterance."""

    wer: float
    cer: float
    loss: float


class Evaluator:
    """Transcribes the utterances of a pipeline in batches, as often as needed; traced once, so that memory is constant.

    Args:
      network: features and lengths to logits.
      pipeline: without augmentation.
      alphabet: of the run.
      decode: the `labels` of a `decoders.Decoder`.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor, tf.Tensor], Sequence],
        pipeline: UtterancePipeline,
        alphabet: Alphabet,
        decode: Callable[[Sequence], tf.RaggedTensor],
    ):
        self.index = pipeline.index
        self.alphabet = alphabet
        self._batches = pipeline.batches(epochs=1)

        @tf.function(input_signature=[signature(features.channels(pipeline.feature_config))])
        def step(batch: Batch):
            logits = network(batch.features, batch.lengths)
            feasible = ctc.feasible(logits.lengths, batch.labels, batch.label_lengths)
            return decode(logits), ctc.loss(logits, batch.labels, batch.label_lengths), feasible

        self._step = step
        # Traced now, so that the first evaluation takes no longer than the next: it is timed.
        step.get_concrete_function()

    def evaluate(self, progress: bool = False) -> list[ScoredUtterance]:
        """Transcribes every utterance, from short to long; `progress` shows a bar."""
        results = []
        bar = tqdm(total=len(self.index), unit="utterance", desc=self.index.split, disable=None if progress else True)
        with bar:
            for batch in self._batches:
                labels, losses, feasible = self._step(batch)
                rows = zip(batch.rows.numpy(), labels.to_list(), losses.numpy(), feasible.numpy(), strict=True)
                for row, ids, loss, has_path in rows:
                    if row >= 0:
                        # Greedy CTC can emit a space before the first word or two in a row; a text never has them.
                        hypothesis = " ".join(self.alphabet.decode(ids).split())
                        loss = round(float(loss), 4) if has_path else None
                        results.append(scored(self.index, row, self.alphabet, hypothesis, loss))
                        bar.update()
        return results


def scored(
    index: Index, row: int, alphabet: Alphabet, hypothesis: str, loss: float | None = None, unreadable: bool = False
) -> ScoredUtterance:
    """An utterance of an index with its hypothesis; the rest as in `ScoredUtterance`."""
    return ScoredUtterance(
        index.ids[row],
        index.speakers[row],
        round(float(index.samples[row]) / index.sample_rate_hz, 3),
        alphabet.normalise(index.texts[row]),
        hypothesis,
        loss,
        unreadable,
    )


def score(results: list[ScoredUtterance]) -> Score:
    """Rates over all results."""
    words = [metrics.word_errors(result.reference, result.hypothesis) for result in results]
    characters = [metrics.character_errors(result.reference, result.hypothesis) for result in results]
    losses = [result.loss for result in results if result.loss is not None]
    return Score(metrics.rate(words), metrics.rate(characters), float(np.mean(losses)) if losses else 0.0)

"""What training and evaluation measure of an utterance: its loss, its alignment and the phonemes that are recognised.

Also where an utterance begins and ends: see `edge_bias`.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import ctc_lattice
from tfvoice.asr import metrics
from tfvoice.asr.metrics import Errors
from tfvoice.audio import features
from tfvoice.ctc_lattice import LatticeBatch
from tfvoice.data.utterances import Batch, signature
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.segmentation import forced_alignment, pair_beam
from tfvoice.tts.segmentation.data import LatticeIndex
from tfvoice.tts.segmentation.forced_alignment import AlignedPhonemes
from tfvoice.tts.segmentation.run import SegmentationRun

# Frames at an end of an utterance are silent while their level (the first MFCC) is in the lowest part of its range.
_QUIET_SHARE = 0.25
# The first and the last frame in which a pair with silence may stand, from the frame where the level says that speech
# starts or has ended. Against exact boundaries of synthesised speech, both of these are 1 to 3 frames late; left to
# itself, a network puts its pairs 2 to 5 frames into the speech.
_START_FRAMES, _END_FRAMES = (-5, 0), (-2, 4)
# Log probability that a pair loses elsewhere, nats.
_EDGE_PENALTY = 8.0


class ScoredAlignment(NamedTuple):
    """The results of an utterance.

    Attributes:
      row: of the index.
      loss: of its lattice, nats.
      alignment: its forced alignment.
      hypothesis: the phonemes that are recognised without the text, silences included.
      hypothesis_pairs: the pairs; the greedy search emits some that do not overlap.
      pair_errors: of the hypothesis, against the pairs of the alignment.
      phoneme_errors: the same of the phonemes without silences.
    """

    row: int
    loss: float
    alignment: AlignedPhonemes
    hypothesis: list[str]
    hypothesis_pairs: list[str]
    pair_errors: Errors
    phoneme_errors: Errors

    @property
    def score(self) -> float:
        """Of the alignment, nats per frame."""
        return self.alignment.score


class Scorer:
    """Scores the utterances of an index, as often as needed; traced once, so that memory is constant.

    Args:
      run: a run, with its weights.
      scanned: utterances of a split.
    """

    def __init__(self, run: SegmentationRun, scanned: LatticeIndex):
        self._run = run
        self._scanned = scanned
        self._batches = run.pipeline(scanned).batches(epochs=1)

        @tf.function(input_signature=[signature(features.channels(run.config.features))])
        def step(batch: Batch):
            return tf.nn.log_softmax(run.model(batch.features, batch.lengths).values)

        self._step = step

    def score(self, beam: bool = True, progress: bool = False) -> list[ScoredAlignment]:
        """Scores every utterance, from short to long.

        Args:
          beam: recognise phonemes by beam search; False: by the best class of each frame.
          progress: whether to show a bar.
        """
        results = []
        total, name = len(self._scanned.index), self._scanned.index.split
        with tqdm(total=total, unit="utterance", desc=name, disable=None if progress else True) as bar:
            for batch in self._batches:
                values = self._step(batch).numpy()
                for row, length, frames in zip(batch.rows.numpy(), batch.lengths.numpy(), values, strict=True):
                    if row >= 0:
                        results.append(self._scored(int(row), frames[:length], beam))
                        bar.update()
        return results

    def _scored(self, row: int, log_probabilities: np.ndarray, beam: bool) -> ScoredAlignment:
        run, graph = self._run, self._scanned.lattices[row]
        samples, hop = int(self._scanned.index.samples[row]), run.config.features.hop_samples
        alignment = forced_alignment.align(log_probabilities, graph, samples, hop)
        _, loss = ctc_lattice.posteriors_of(ctc_lattice.emissions_of(log_probabilities, graph.lattice), graph.lattice)
        search = pair_beam.search if beam else pair_beam.greedy
        pairs, _ = search(log_probabilities, len(run.phonemes))
        names = run.class_labels()
        found = pair_beam.phonemes_of(pairs, len(run.phonemes)) if beam else _second_phonemes(pairs, len(run.phonemes))
        hypothesis = [run.phonemes[phoneme] for phoneme in found]
        reference = [run.without_stress(phoneme) for phoneme in alignment.phonemes]
        spoken = pair_beam.pairs_of([run.ids[phoneme] for phoneme in _between_silences(reference)], len(run.phonemes))
        return ScoredAlignment(
            row,
            loss,
            alignment,
            hypothesis,
            [names[pair] for pair in pairs],
            _errors([str(pair) for pair in spoken], [str(pair) for pair in pairs]),
            _errors(_without_silence(reference), _without_silence(hypothesis)),
        )


def edge_silence(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """The frames of silence at the start and at the end of each utterance, int32 `[batch, 2]`, by their level.

    Args:
      values: MFCC, `[batch, frames, channels]`, zero beyond each length.
      lengths: int32 `[batch]`.
    """
    level = values[:, :, 0]
    valid = tf.sequence_mask(lengths, tf.shape(level)[1])
    lowest = tf.reduce_min(tf.where(valid, level, tf.float32.max), axis=1, keepdims=True)
    highest = tf.reduce_max(tf.where(valid, level, tf.float32.min), axis=1, keepdims=True)
    quiet = tf.cast(valid & (level < lowest + _QUIET_SHARE * (highest - lowest)), tf.int32)
    from_end = tf.reverse_sequence(quiet, lengths, seq_axis=1)
    return tf.stack([tf.reduce_sum(tf.math.cumprod(frames, axis=1), axis=1) for frames in (quiet, from_end)], axis=1)


def edge_bias(silence: tf.Tensor, lengths: tf.Tensor, frames: tf.Tensor, lattices: LatticeBatch) -> tf.Tensor:
    """A bias that keeps the first pair to where speech starts, and the last one to where it ends, by the level.

    Without it, training finds that the pairs with silence can stand in the first and the last frame of every utterance,
    wherever the speech starts, and they stay there: the median error of these boundaries was 170 ms, and pauses between
    words were not found. With it in the first epochs, they stand where speech starts and ends, and stay there, too.

    Args:
      silence: from `edge_silence`; -1 for a row that is to have no bias.
      lengths: int32 `[batch]`, frames of each row.
      frames: int32 scalar, frames of the longest.
      lattices: of the rows.

    Returns:
      float32 `[batch, frames, nodes]`.
    """
    places = tf.range(frames)[tf.newaxis]
    sides = (
        (silence[:, :1], _START_FRAMES, lattices.first),
        (lengths[:, tf.newaxis] - silence[:, 1:], _END_FRAMES, lattices.last),
    )
    bias = 0.0
    for edge, (earliest, latest), nodes in sides:
        outside = ((places < edge + earliest) | (places > edge + latest)) & (silence[:, :1] >= 0)
        bias += tf.cast(outside[..., tf.newaxis] & nodes[:, tf.newaxis], tf.float32)
    return -_EDGE_PENALTY * bias


def _between_silences(phonemes: list[str]) -> list[str]:
    """With the silences that an alignment drops where they are short."""
    start = [] if phonemes[:1] == [SILENCE] else [SILENCE]
    return [*start, *phonemes, *([] if phonemes[-1:] == [SILENCE] else [SILENCE])]


def _without_silence(phonemes: list[str]) -> list[str]:
    return [phoneme for phoneme in phonemes if phoneme != SILENCE]


def _second_phonemes(pairs: list[int], count: int) -> list[int]:
    return [pair % count for pair in pairs]


def _errors(reference: list[str], hypothesis: list[str]) -> Errors:
    return metrics.word_errors(" ".join(reference), " ".join(hypothesis))

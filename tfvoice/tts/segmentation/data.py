"""Utterances with the lattices of their texts: what a segmentation model is trained and measured on."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfvoice import ctc_lattice
from tfvoice.audio import features
from tfvoice.ctc_lattice import LatticeBatch
from tfvoice.data import index as index_
from tfvoice.data import shards
from tfvoice.data.index import Index
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.segmentation import phoneme_lattice
from tfvoice.tts.segmentation.phoneme_lattice import PhonemeLattice

_EXAMPLES = 5
# Why an utterance cannot be aligned, and how a sentence about several of them says so.
REASONS = {
    "bad_phonemes": "with braces that hold no phonemes",
    "no_words": "without words",
    "unknown_words": "with words without phonemes",
    "shorter_than_phonemes": "shorter than their phonemes",
    "too_long": "too long",
}
# Frames times states of a lattice, of which an alignment holds several tables of float64: at 1.2 GB each, 3 to 4
# minutes of speech.
_MOST_CELLS = 150_000_000


class UnusableError(TfvoiceError):
    """An utterance that cannot be aligned.

    Attributes:
      reason: a key of `REASONS`.
      detail: the fact.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass
class LatticeIndex:
    """The usable utterances of a split.

    Attributes:
      index: of the utterances; `index.dropped` counts the others by reason.
      lattices: of their texts.
      unusable: of the others, by id, as far as it is their text.
      unknown: words without phonemes, and how often they occur.
    """

    index: Index
    lattices: list[PhonemeLattice]
    unusable: dict[str, UnusableError] = field(default_factory=dict)
    unknown: Counter = field(default_factory=Counter)

    def notice(self) -> str:
        """One sentence about words without phonemes; empty where there are none."""
        if not self.unknown:
            return ""
        shown = ", ".join(f"{word} ({count})" for word, count in self.unknown.most_common(_EXAMPLES))
        return (
            f"{self.index.split}: {len(self.unknown)} words have no phonemes, such as {shown}; their utterances are "
            "skipped. Add the words with --set pronunciation.own_lexicon=FILE, or a G2P model with "
            "--set pronunciation.g2p=RUN; for a voice, segmentation.pronunciation.own_lexicon and so on."
        )

    def batch(self, rows: np.ndarray) -> LatticeBatch:
        """The lattices of rows of the index; of row -1, which fills up a batch, an empty one."""
        empty = ctc_lattice.chain([], 0)
        return ctc_lattice.batched([self.lattices[row].lattice if row >= 0 else empty for row in rows])

    def batch_in_graph(self, rows: tf.Tensor) -> LatticeBatch:
        """The same in the graph."""
        types = [tf.int32, tf.int32, tf.int32, tf.bool, tf.bool, tf.int32]
        tensors = tf.numpy_function(self.batch, [rows], types, stateful=False)
        for tensor, rank in zip(tensors, (2, 2, 3, 2, 2, 1), strict=True):
            tensor.set_shape([None] * rank)
        return LatticeBatch(*tensors)


def lattice_of(run, text: str, frames: int) -> PhonemeLattice:
    """The lattice of a text.

    Args:
      run: a `SegmentationRun`.
      text: as in the record.
      frames: of the utterance.

    Raises:
      UnusableError: the text has no words, or words without phonemes, or more phonemes than there are frames; or the
        utterance is too long.
    """
    try:
        pronounced = run.pronunciations(text)
    except PhonemeError as error:
        raise UnusableError("bad_phonemes", str(error)) from None
    if not pronounced:
        raise UnusableError("no_words", f"{text!r} has no words")
    if unknown := [word for word, found in pronounced if not found]:
        raise UnusableError("unknown_words", ", ".join(unknown))
    graph = phoneme_lattice.build([found for _, found in pronounced], run.ids)
    needed = ctc_lattice.minimum_frames(graph.lattice)
    if needed > frames:
        raise UnusableError("shorter_than_phonemes", f"its phonemes need {needed} frames and it has {frames}")
    if frames * (2 * len(graph.lattice.labels) + 1) > _MOST_CELLS:
        raise UnusableError("too_long", f"{frames} frames of {len(graph.phonemes)} phonemes; cut it at pauses")
    return graph


def scan(run, data_dir: str | Path, split: str, filtered: bool) -> LatticeIndex:
    """Reads the index files of a split, pronounces its texts and selects its utterances.

    Args:
      run: a `SegmentationRun`.
      data_dir: folder of the shards.
      split: name of the split.
      filtered: whether to drop utterances that are too long or too short to be trained on.

    Raises:
      TfvoiceError: there is no such split, the sample rate differs, a shard is missing or truncated, or no utterance
        is left.
    """
    manifest = shards.read_manifest(data_dir)
    config = run.config
    if manifest.sample_rate_hz != config.features.sample_rate_hz:
        raise TfvoiceError(
            f"{data_dir}: its audio has {manifest.sample_rate_hz} Hz and features.sample_rate_hz is "
            f"{config.features.sample_rate_hz}; convert it with --sample_rate_hz={config.features.sample_rate_hz}."
        )
    index = index_.scan_clips(manifest, data_dir, split, 1)
    frames = features.frame_count(config.features, index.samples)
    scanned = LatticeIndex(index, [])
    rows = []
    for row, text in enumerate(index.texts):
        reason = _length_reason(config.data, index.samples[row] / index.sample_rate_hz) if filtered else None
        try:
            graph = None if reason else lattice_of(run, text, int(frames[row]))
        except UnusableError as error:
            scanned.unusable[index.ids[row]] = error
            scanned.unknown.update(error.detail.split(", ") if error.reason == "unknown_words" else ())
            reason = REASONS[error.reason]
        if reason:
            index.dropped[reason] += 1
            continue
        rows.append(row)
        scanned.lattices.append(graph)
    labels = [graph.lattice.labels for graph in scanned.lattices]
    scanned.index = replace(index.subset(np.array(rows, np.int64)), labels=labels)
    if not rows:
        raise TfvoiceError(f"{data_dir}: nothing to use in {scanned.index.describe()}. {scanned.notice()}".rstrip())
    return scanned


def _length_reason(config, seconds: float) -> str | None:
    if seconds < config.min_seconds:
        return "too short"
    return "too long" if seconds > config.max_seconds else None

"""Forced alignment: where the phonemes of a known text lie in its audio.

The network emits the pair (a, b) where b begins. The most probable path of the lattice decides which silences and
which pronunciations are spoken; the time of a pair is its expected time over all paths, which lies between frames:
on speech whose boundaries are known exactly, that is nearer to them than the frame of the path.
"""

from typing import NamedTuple

import numpy as np

from tfvoice import ctc_lattice
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.segmentation.phoneme_lattice import PhonemeLattice


class AlignmentError(TfvoiceError):
    """Phonemes that cannot be aligned with their audio."""


class AlignedPhonemes(NamedTuple):
    """The phonemes that are spoken, and where.

    Attributes:
      phonemes: with stress, silence included.
      words: index of the word of each phoneme; -1 for silence.
      ends: int64 `[phonemes]`, end of each phoneme in samples, strictly increasing, the last the length of the audio.
      score: log probability of the path, less that of the best class of each frame, in nats per frame: 0 where the
        network would itself recognise the text, and far below where the audio is of another text.
    """

    phonemes: list[str]
    words: list[int]
    ends: np.ndarray
    score: float


def align(log_probabilities: np.ndarray, graph: PhonemeLattice, samples: int, hop_samples: int) -> AlignedPhonemes:
    """Aligns an utterance.

    Args:
      log_probabilities: `[frames, classes]`, nats; frame t is centred on sample `t * hop_samples`.
      graph: of its text.
      samples: length of the audio.
      hop_samples: samples from one frame to the next. Silence at an end that is shorter is dropped.

    Raises:
      AlignmentError: there are fewer frames than the phonemes need, or fewer samples than phonemes.
    """
    emissions = ctc_lattice.emissions_of(log_probabilities, graph.lattice)
    path = ctc_lattice.best_path(emissions, graph.lattice)
    if not path.nodes:
        needed = ctc_lattice.minimum_frames(graph.lattice)
        raise AlignmentError(f"its phonemes need {needed} frames and it has {len(emissions)}")
    posteriors, _ = ctc_lattice.posteriors_of(emissions, graph.lattice)
    times = _expected_times(posteriors[:, path.nodes], path.spans)
    spoken = graph.spoken(path.nodes)
    ends = np.append(np.rint(times * hop_samples).astype(np.int64), samples)
    nodes, ends = _without_short_ends(spoken, ends, graph, hop_samples)
    best = log_probabilities.max(axis=1).sum()
    return AlignedPhonemes(
        [graph.phonemes[node] for node in nodes],
        [graph.words[node] for node in nodes],
        _increasing(ends),
        float(path.log_probability - best) / len(emissions),
    )


def _expected_times(posteriors: np.ndarray, spans: list[tuple[int, int]]) -> np.ndarray:
    """The time of each pair of the path in frames, float64 `[pairs]`; in order.

    Args:
      posteriors: of these pairs, `[frames, pairs]`.
      spans: their frames on the path, for pairs that the other paths make without.
    """
    total = posteriors.sum(axis=0)
    middles = np.array([(start + end - 1) / 2 for start, end in spans])
    expected = np.arange(len(posteriors)) @ posteriors / np.maximum(total, 1e-9)
    return np.maximum.accumulate(np.where(total > 0.5, expected, middles))


def _without_short_ends(spoken: list[int], ends: np.ndarray, graph: PhonemeLattice, shortest: int):
    """Drops the silence before and after the speech where it is shorter than `shortest` samples."""
    samples = ends[-1]
    if len(spoken) > 1 and graph.phonemes[spoken[0]] == SILENCE and ends[0] < shortest:
        spoken, ends = spoken[1:], ends[1:]
    if len(spoken) > 1 and graph.phonemes[spoken[-1]] == SILENCE and samples - ends[-2] < shortest:
        spoken, ends = spoken[:-1], np.append(ends[:-2], samples)
    return spoken, ends


def _increasing(ends: np.ndarray) -> np.ndarray:
    """The nearest ends with at least one sample for each phoneme.

    Raises:
      AlignmentError: there are fewer samples than phonemes.
    """
    places = np.arange(1, len(ends) + 1)
    if ends[-1] < len(ends):
        raise AlignmentError(f"it has {ends[-1]} samples and {len(ends)} phonemes")
    # As offsets from the first possible ends, increasing ends need only not decrease, between 0 and the last offset.
    offsets = np.clip(np.maximum.accumulate(ends - places), 0, ends[-1] - len(ends))
    return offsets + places

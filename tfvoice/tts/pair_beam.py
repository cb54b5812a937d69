"""Beam search over phoneme pairs in which neighbouring pairs share a phoneme (Deep Voice, section 3.2).

A sequence of such pairs is a sequence of phonemes, so that hypotheses are nodes in a tree of phonemes: the pair that
follows (a, b) is (b, c) for some c. The search is CTC's prefix beam search otherwise (Hannun et al., arXiv 1408.2873,
algorithm 1). Speech starts in silence.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from tfvoice import ctc_lattice
from tfvoice.compiled import compiled

# As in the paper.
BEAM_WIDTH = 50
# Pairs of a lower log probability in a frame do not extend a hypothesis.
_LEAST = -12.0
_NONE = -1


def pairs_of(phonemes: Sequence[int], count: int) -> list[int]:
    """The classes of the pairs of a phoneme sequence, for `count` phonemes; `phonemes_of` inverts it."""
    return [first * count + second for first, second in itertools.pairwise(phonemes)]


def phonemes_of(pairs: Sequence[int], count: int) -> list[int]:
    """The phonemes of pairs, each of which starts with the phoneme that the one before ends with.

    Raises:
      ValueError: two neighbours do not share a phoneme.
    """
    if not len(pairs):
        return []
    for before, after in itertools.pairwise(pairs):
        if before % count != after // count:
            raise ValueError(f"pairs {before} and {after} do not share a phoneme.")
    return [pairs[0] // count, *(pair % count for pair in pairs)]


def search(
    log_probabilities: np.ndarray, phonemes: int, silence: int = 0, beam_width: int = BEAM_WIDTH
) -> tuple[list[int], list[tuple[int, int]]]:
    """The most probable pairs, and where they are emitted.

    Args:
      log_probabilities: `[frames, phonemes ** 2 + 1]`, nats; blank is last.
      phonemes: number of phonemes.
      silence: the phoneme in which speech starts.
      beam_width: hypotheses kept after each frame.

    Returns:
      Classes of the pairs; and for each the (first frame, frame after the last one) of its emission on their best path.
    """
    values = np.ascontiguousarray(log_probabilities, np.float64)
    found = _search(values, phonemes, silence, beam_width).tolist()
    labels = pairs_of([silence, *found], phonemes)
    if not labels:
        return [], []
    chain = ctc_lattice.chain(labels, phonemes**2)
    path = ctc_lattice.best_path(ctc_lattice.emissions_of(values, chain), chain)
    return labels, path.spans


def greedy(log_probabilities: np.ndarray, phonemes: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The best class of each frame, runs merged and blanks dropped; neighbours need not share a phoneme.

    Arguments and result as for `search`, a thousandth of its time.
    """
    best = log_probabilities.argmax(axis=1)
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    ends = [*starts[1:].tolist(), len(best)]
    kept = [(int(best[start]), (int(start), end)) for start, end in zip(starts, ends, strict=True)]
    kept = [(pair, span) for pair, span in kept if pair < phonemes**2]
    return [pair for pair, _ in kept], [span for _, span in kept]


@compiled
def _sum(a, b):
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))


@compiled
def _search(values, phonemes, silence, width):
    """Phonemes after the first silence."""
    frames = values.shape[0]
    # The tree: each node is a phoneme after its parent; the root is the silence.
    size = 1 + frames * width
    parent, last = np.full(size, _NONE, np.int64), np.full(size, silence, np.int64)
    children = np.full((size, phonemes), _NONE, np.int32)
    place = np.full(size, _NONE, np.int64)
    nodes = 1
    beam = np.zeros(1, np.int64)
    in_blank, in_label = np.zeros(1), np.full(1, -np.inf)
    for t in range(frames):
        count = len(beam)
        most = count * (1 + phonemes)
        candidate = np.empty(most, np.int64)
        extension = np.full(most, _NONE, np.int64)
        blank_score, label_score = np.full(most, -np.inf), np.full(most, -np.inf)
        for k in range(count):
            place[beam[k]] = k
        for k in range(count):
            node = beam[k]
            candidate[k] = node
            blank_score[k] = _sum(blank_score[k], _sum(in_blank[k], in_label[k]) + values[t, -1])
            if parent[node] != _NONE:
                pair = last[parent[node]] * phonemes + last[node]
                label_score[k] = _sum(label_score[k], in_label[k] + values[t, pair])
        used = count
        for k in range(count):
            node = beam[k]
            before = last[parent[node]] * phonemes + last[node] if parent[node] != _NONE else _NONE
            for phoneme in range(phonemes):
                pair = last[node] * phonemes + phoneme
                if values[t, pair] < _LEAST:
                    continue
                score = (in_blank[k] if pair == before else _sum(in_blank[k], in_label[k])) + values[t, pair]
                child = children[node, phoneme]
                if child != _NONE and place[child] != _NONE:
                    label_score[place[child]] = _sum(label_score[place[child]], score)
                elif score > -np.inf:
                    candidate[used], extension[used], label_score[used] = node, phoneme, score
                    used += 1
        for k in range(count):
            place[beam[k]] = _NONE
        rank = np.empty(used)
        for k in range(used):
            rank[k] = -_sum(blank_score[k], label_score[k])
        kept = np.argsort(rank)[:width]
        beam = np.empty(len(kept), np.int64)
        in_blank, in_label = np.empty(len(kept)), np.empty(len(kept))
        for k in range(len(kept)):
            source = kept[k]
            node = candidate[source]
            if extension[source] != _NONE:
                child = children[node, extension[source]]
                if child == _NONE:
                    child = nodes
                    children[node, extension[source]] = child
                    parent[child], last[child] = node, extension[source]
                    nodes += 1
                node = child
            beam[k], in_blank[k], in_label[k] = node, blank_score[source], label_score[source]
    node = beam[0]
    length = 0
    while parent[node] != _NONE:
        node, length = parent[node], length + 1
    found = np.empty(length, np.int64)
    node = beam[0]
    for k in range(length - 1, -1, -1):
        found[k] = last[node]
        node = parent[node]
    return found

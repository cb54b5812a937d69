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
from tfvoice.ctc_lattice import log_add

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
def _search(values, phonemes, silence, width):
    """Phonemes after the first silence."""
    # The tree: each node is a phoneme after its parent; the root is the silence.
    size = 1 + len(values) * width
    parent, last = np.full(size, _NONE, np.int64), np.full(size, silence, np.int64)
    children, place = np.full((size, phonemes), _NONE, np.int32), np.full(size, _NONE, np.int64)
    nodes = 1
    beam, in_blank, in_label = np.zeros(1, np.int64), np.zeros(1), np.full(1, -np.inf)
    for t in range(len(values)):
        # The nodes of the beam themselves, then their extensions by a phoneme.
        most = len(beam) * (1 + phonemes)
        candidate, extension = np.empty(most, np.int64), np.full(most, _NONE, np.int64)
        blank_score, label_score = np.full(most, -np.inf), np.full(most, -np.inf)
        for k in range(len(beam)):
            node, candidate[k] = beam[k], beam[k]
            place[node] = k
            blank_score[k] = log_add(in_blank[k], in_label[k]) + values[t, -1]
            if parent[node] != _NONE:
                label_score[k] = in_label[k] + values[t, last[parent[node]] * phonemes + last[node]]
        used = len(beam)
        for k in range(len(beam)):
            node = beam[k]
            before = last[parent[node]] * phonemes + last[node] if parent[node] != _NONE else _NONE
            for phoneme in range(phonemes):
                pair = last[node] * phonemes + phoneme
                score = (in_blank[k] if pair == before else log_add(in_blank[k], in_label[k])) + values[t, pair]
                child = children[node, phoneme]
                if values[t, pair] < _LEAST or score == -np.inf:
                    continue
                if child != _NONE and place[child] != _NONE:
                    label_score[place[child]] = log_add(label_score[place[child]], score)
                else:
                    candidate[used], extension[used], label_score[used] = node, phoneme, score
                    used += 1
        place[beam] = _NONE
        rank = np.empty(used)
        for k in range(used):
            rank[k] = -log_add(blank_score[k], label_score[k])
        kept = np.argsort(rank)[:width]
        beam, in_blank, in_label = candidate[kept], blank_score[kept], label_score[kept]
        for k in range(len(kept)):
            if extension[kept[k]] != _NONE:
                beam[k], nodes = _child(beam[k], extension[kept[k]], children, parent, last, nodes)
    return _phonemes_to(beam[0], parent, last)


@compiled
def _child(node, phoneme, children, parent, last, nodes):
    """The node of a phoneme after another node, made where it is new; and the number of nodes."""
    if children[node, phoneme] == _NONE:
        children[node, phoneme] = nodes
        parent[nodes], last[nodes] = node, phoneme
        nodes += 1
    return children[node, phoneme], nodes


@compiled
def _phonemes_to(node, parent, last):
    """The phonemes from the root to a node, without that of the root."""
    found = []
    while parent[node] != _NONE:
        found.append(last[node])
        node = parent[node]
    return np.array(found[::-1], dtype=np.int64) if len(found) else np.zeros(0, np.int64)

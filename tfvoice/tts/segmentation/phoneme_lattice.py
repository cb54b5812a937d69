"""From the pronunciations of words to the lattice of phoneme pairs that their speech may be.

Speech pauses between any two words or does not: between words either (b c) or (b sil)(sil c) is spoken. It starts and
ends with silence, whose length may be 0; were these optional, the network would learn never to emit pairs with silence,
because blank explains silence as well. A word with several pronunciations is spoken as any of them. All of that is one
graph of phonemes; its edges are the pairs, and those that meet in a phoneme follow each other.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfvoice.ctc_lattice import Lattice
from tfvoice.text.phonemes import SILENCE, Pronunciation, base


class PhonemeLattice(NamedTuple):
    """The graph of an utterance.

    Attributes:
      phonemes: of each phoneme node, with stress, and silence.
      words: index of the word of each phoneme node; -1 for silence.
      pairs: int32 `[pairs, 2]`, the two phoneme nodes of each pair.
      lattice: the pairs as labels of CTC.
    """

    phonemes: list[str]
    words: list[int]
    pairs: np.ndarray
    lattice: Lattice

    def spoken(self, path: Sequence[int]) -> list[int]:
        """The phoneme nodes of a way through the pairs, in order: one more than there are pairs."""
        if not len(path):
            return []
        return [int(self.pairs[path[0], 0]), *(int(self.pairs[pair, 1]) for pair in path)]


def build(words: Sequence[Sequence[Pronunciation]], ids: dict[str, int]) -> PhonemeLattice:
    """Builds the lattice of an utterance.

    Args:
      words: the pronunciations of each word; a phoneme may end with its stress, which pairs ignore.
      ids: of phonemes without stress, silence among them.
    """
    phonemes, places, edges = [SILENCE], [-1], []
    # Nodes after which the next word may start: silence, and the ends of the word before.
    before = [0]
    for place, pronunciations in enumerate(words):
        lasts = []
        for pronunciation in dict.fromkeys(map(tuple, pronunciations)):
            nodes = range(len(phonemes), len(phonemes) + len(pronunciation))
            phonemes.extend(pronunciation)
            places.extend([place] * len(pronunciation))
            edges.extend((node, nodes[0]) for node in before)
            edges.extend(itertools.pairwise(nodes))
            lasts.append(nodes[-1])
        pause = len(phonemes)
        phonemes.append(SILENCE)
        places.append(-1)
        edges.extend((node, pause) for node in lasts)
        before = [pause, *lasts]
    edges.sort()
    classes = [ids[base(phoneme)] for phoneme in phonemes]
    return PhonemeLattice(phonemes, places, np.array(edges, np.int32).reshape(-1, 2), _pairs(edges, classes, len(ids)))


def words_of(phonemes: Sequence[str], words: Sequence[Sequence[Pronunciation]]) -> list[int]:
    """The index of the word that each phoneme of an alignment belongs to; -1 for silence.

    Args:
      phonemes: of the alignment.
      words: the pronunciations of each word, one of which the alignment has.

    Raises:
      ValueError: the phonemes are not a way through the words.
    """
    # Places in the phonemes where a word may end, each with the words of the phonemes before it.
    ways = {0: []}
    for number, pronunciations in enumerate(words):
        longer = {}
        for end, way in ways.items():
            start = end + (list(phonemes[end : end + 1]) == [SILENCE])
            for pronunciation in pronunciations:
                after = start + len(pronunciation)
                if tuple(phonemes[start:after]) == tuple(pronunciation):
                    longer.setdefault(after, [*way, *[-1] * (start - end), *[number] * len(pronunciation)])
        ways = longer
    for end, way in ways.items():
        if list(phonemes[end:]) in ([], [SILENCE]):
            return [*way, *[-1] * (len(phonemes) - end)]
    raise ValueError(f"{' '.join(phonemes)} is not a way through the words.")


def _pairs(edges: list[tuple[int, int]], classes: list[int], count: int) -> Lattice:
    """The graph whose nodes are the edges of another one."""
    into: dict[int, list[int]] = {}
    for number, (_, target) in enumerate(edges):
        into.setdefault(target, []).append(number)
    most = max(map(len, into.values()), default=1)
    predecessors = np.full((len(edges), most), -1, np.int32)
    for number, (source, _) in enumerate(edges):
        earlier = into.get(source, [])
        predecessors[number, : len(earlier)] = earlier
    rests = np.full(len(edges) + 1, count * count, np.int32)
    return Lattice(
        np.array([classes[source] * count + classes[target] for source, target in edges], np.int32),
        rests,
        predecessors,
        np.array([source == 0 for source, _ in edges], bool),
        np.array([target == len(classes) - 1 for _, target in edges], bool),
    )

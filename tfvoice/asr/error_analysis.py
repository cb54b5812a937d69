"""Where a recogniser goes wrong: by group of utterances, by character, by word."""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tfvoice.asr import metrics

_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_LEVELS_DB = (-45.0, -35.0, -30.0, -25.0, -20.0, -15.0)


class Group(NamedTuple):
    """Utterances that have something in common, and their corpus-level rates."""

    name: str
    utterances: int
    seconds: float
    wer: float
    cer: float


class Wrong(NamedTuple):
    """A word that was said: how often, how often wrongly read, and what was read instead, the commonest first."""

    word: str
    said: int
    wrong: int
    instead: list[tuple[str, int]]


class Confusion(NamedTuple):
    """A character that was said, the one that was read (either can be empty), and how often."""

    said: str
    read: str
    count: int


def groups(
    readings: list[dict[str, Any]], name: Callable[[dict[str, Any]], str], order: Iterable[str] = ()
) -> list[Group]:
    """Rates by group.

    Args:
      readings: of a report.
      name: the group of a reading.
      order: names in the order in which they are listed; others follow, the largest first.
    """
    found = defaultdict(list)
    for one in readings:
        found[name(one)].append(one)
    listed = [key for key in order if key in found]
    listed += sorted(set(found) - set(listed), key=lambda key: (-len(found[key]), key))
    return [_group(key, found[key]) for key in listed]


def by_length(readings: list[dict[str, Any]]) -> list[Group]:
    """Rates by seconds of audio."""
    names = _ranges(_SECONDS, "s")
    return groups(readings, lambda one: names[_place(one["seconds"], _SECONDS)], names)


def by_level(readings: list[dict[str, Any]], levels_db: dict[str, float]) -> list[Group]:
    """Rates by loudness; `levels_db` has the level of each utterance, in dB below full scale, by its id."""
    names = _ranges(_LEVELS_DB, "dB")
    return groups(readings, lambda one: names[_place(levels_db[one["id"]], _LEVELS_DB)], names)


def wrong_words(readings: list[dict[str, Any]]) -> list[Wrong]:
    """Words by how often they are read wrongly."""
    said, wrong = Counter(), defaultdict(Counter)
    for one in readings:
        for pair in metrics.pairs(one["reference"], one["hypothesis"]):
            if not pair.reference:
                continue
            said[pair.reference] += 1
            if pair.operation != "equal":
                wrong[pair.reference][pair.hypothesis] += 1
    found = [Wrong(word, said[word], counts.total(), counts.most_common(3)) for word, counts in wrong.items()]
    return sorted(found, key=lambda one: (-one.wrong, one.word))


def confusions(readings: list[dict[str, Any]]) -> list[Confusion]:
    """Characters that were taken for others, left out or put in, the commonest first."""
    counts = Counter()
    for one in readings:
        for pair in metrics.character_pairs(one["reference"], one["hypothesis"]):
            if pair.operation != "equal":
                counts[pair.reference, pair.hypothesis] += 1
    return [Confusion(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _group(name: str, members: list[dict[str, Any]]) -> Group:
    texts = [(one["reference"], one["hypothesis"]) for one in members]
    wer = metrics.rate(metrics.word_errors(*pair) for pair in texts)
    cer = metrics.rate(metrics.character_errors(*pair) for pair in texts)
    return Group(name, len(members), sum(one["seconds"] for one in members), wer, cer)


def _place(value: float, edges: tuple[float, ...]) -> int:
    return bisect.bisect_right(edges, value)


def _ranges(edges: tuple[float, ...], unit: str) -> list[str]:
    between = [f"{low:g} to {high:g} {unit}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:g} {unit}", *between, f"{edges[-1]:g} {unit} and more"]

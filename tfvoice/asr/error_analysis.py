"""Error analysis of a recogniser: rates by group of utterances, confused characters, misrecognised words."""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tfvoice.asr import metrics

_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_LEVELS_DB = (-45.0, -35.0, -30.0, -25.0, -20.0, -15.0)


class Group(NamedTuple):
    """A group of utterances and its corpus-level rates."""

    name: str
    utterances: int
    seconds: float
    wer: float
    cer: float


class MisrecognisedWord(NamedTuple):
    """A word of the references: its count, its errors, and what was recognised instead, the commonest first."""

    word: str
    count: int
    errors: int
    hypotheses: list[tuple[str, int]]


class Confusion(NamedTuple):
    """A reference character, the hypothesis character (either can be empty), and how often."""

    reference: str
    hypothesis: str
    count: int


def groups(
    results: list[dict[str, Any]], name: Callable[[dict[str, Any]], str], order: Iterable[str] = ()
) -> list[Group]:
    """Rates by group.

    Args:
      results: of a report.
      name: the group of a result.
      order: names in the order in which they are listed; others follow, the largest first.
    """
    found = defaultdict(list)
    for result in results:
        found[name(result)].append(result)
    listed = [key for key in order if key in found]
    listed += sorted(set(found) - set(listed), key=lambda key: (-len(found[key]), key))
    return [_group(key, found[key]) for key in listed]


def by_length(results: list[dict[str, Any]]) -> list[Group]:
    """Rates by seconds of audio."""
    names = _ranges(_SECONDS, "s")
    return groups(results, lambda result: names[_place(result["seconds"], _SECONDS)], names)


def by_level(results: list[dict[str, Any]], levels_db: dict[str, float]) -> list[Group]:
    """Rates by loudness; `levels_db` has the level of each utterance, in dB below full scale, by its id."""
    names = _ranges(_LEVELS_DB, "dB")
    return groups(results, lambda result: names[_place(levels_db[result["id"]], _LEVELS_DB)], names)


def misrecognised_words(results: list[dict[str, Any]]) -> list[MisrecognisedWord]:
    """Words by how often they are misrecognised."""
    counts, errors = Counter(), defaultdict(Counter)
    for result in results:
        for pair in metrics.pairs(result["reference"], result["hypothesis"]):
            if not pair.reference:
                continue
            counts[pair.reference] += 1
            if pair.operation != "equal":
                errors[pair.reference][pair.hypothesis] += 1
    words = [
        MisrecognisedWord(word, counts[word], found.total(), found.most_common(3)) for word, found in errors.items()
    ]
    return sorted(words, key=lambda entry: (-entry.errors, entry.word))


def confusions(results: list[dict[str, Any]]) -> list[Confusion]:
    """Substituted, deleted and inserted characters, the commonest first."""
    counts = Counter()
    for result in results:
        for pair in metrics.character_pairs(result["reference"], result["hypothesis"]):
            if pair.operation != "equal":
                counts[pair.reference, pair.hypothesis] += 1
    return [Confusion(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _group(name: str, members: list[dict[str, Any]]) -> Group:
    texts = [(member["reference"], member["hypothesis"]) for member in members]
    wer = metrics.rate(metrics.word_errors(*pair) for pair in texts)
    cer = metrics.rate(metrics.character_errors(*pair) for pair in texts)
    return Group(name, len(members), sum(member["seconds"] for member in members), wer, cer)


def _place(value: float, edges: tuple[float, ...]) -> int:
    return bisect.bisect_right(edges, value)


def _ranges(edges: tuple[float, ...], unit: str) -> list[str]:
    between = [f"{low:g} to {high:g} {unit}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:g} {unit}", *between, f"{edges[-1]:g} {unit} and more"]

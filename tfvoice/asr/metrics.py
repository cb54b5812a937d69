"""Error rates of transcripts: WER, CER, their confidence intervals, and alignments that show the errors.

The edit distance is jiwer's (Levenshtein, every error costs one). A rate is corpus-level: the errors of all
utterances over the units (words or characters) of all references, not the mean of the utterances' own rates.

Texts are compared as they are, apart from white space: a run of it counts as one space, and none at the ends. To
ignore case and punctuation pass both sides through `Alphabet.normalise` first.

An empty reference is no special case for an utterance: every unit of its hypothesis is an insertion. Only a set
without any reference unit needs a convention: its rate is the number of insertions, as if it had one unit. So a
rate is always a finite number, and 0 only where there is no error.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jiwer

from tfvoice import bootstrap


class Errors(NamedTuple):
    """The errors of one utterance, or of many together.

    Attributes:
      substitutions: units of the reference that are replaced by another.
      deletions: units of the reference that are missing.
      insertions: units of the hypothesis without a counterpart in the reference.
      reference_units: words or characters of the reference.
    """

    substitutions: int
    deletions: int
    insertions: int
    reference_units: int

    @property
    def total(self) -> int:
        """The edit distance."""
        return self.substitutions + self.deletions + self.insertions


class Pair(NamedTuple):
    """One column of an alignment.

    Attributes:
      operation: edit from the reference to the hypothesis.
      reference: the word of the reference; empty for an insertion.
      hypothesis: the word of the hypothesis; empty for a deletion.
    """

    operation: Literal["equal", "substitute", "delete", "insert"]
    reference: str
    hypothesis: str


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Counts the errors in words, which are what white space separates."""
    return _count(pairs(reference, hypothesis))


def character_errors(reference: str, hypothesis: str, spaces: bool = True) -> Errors:
    """Counts the errors in characters (Unicode code points).

    Args:
      reference: the correct text.
      hypothesis: the recognised text.
      spaces: whether the space between two words counts as a character. False removes all spaces from both, which is
        the convention of the DeepSpeech implementations.
    """
    return _count(character_pairs(reference, hypothesis, spaces))


def combine(errors: Iterable[Errors]) -> Errors:
    """Sums the errors of utterances."""
    return Errors(*(sum(column) for column in zip(Errors(0, 0, 0, 0), *errors, strict=True)))


def rate(errors: Iterable[Errors]) -> float:
    """Corpus-level error rate: 0.25 for one error in four units; above 1 where there are many insertions.

    A set with no reference units at all counts as one unit (see the module's docstring); an empty set has rate 0.
    """
    combined = combine(errors)
    return combined.total / max(1, combined.reference_units)


def interval(errors: Iterable[Errors]) -> bootstrap.Interval:
    """Bootstrap percentile interval of `rate`: that of errors over units of the reference."""
    return bootstrap.ratio_interval([(each.total, each.reference_units) for each in errors])


def summarise(errors: list[Errors]) -> dict[str, Any]:
    """The rate of utterances with its 95 % interval, and the errors of each kind: plain values, for a report."""
    return {"rate": rate(errors), "interval_95": list(interval(errors)), **combine(errors)._asdict()}


def pairs(reference: str, hypothesis: str) -> list[Pair]:
    """Aligns two texts word by word.

    The references of the pairs, without the empty ones, are the words of `reference` in order, and likewise for the
    hypotheses.
    """
    return _align(reference.split(), hypothesis.split(), " ", jiwer.process_words)


def character_pairs(reference: str, hypothesis: str, spaces: bool = True) -> list[Pair]:
    """Aligns two texts character by character; `spaces` as for `character_errors`."""
    separator = " " if spaces else ""
    reference, hypothesis = separator.join(reference.split()), separator.join(hypothesis.split())
    return _align(list(reference), list(hypothesis), "", jiwer.process_characters)


def aligned(reference: str, hypothesis: str) -> str:
    """Shows where two texts differ, in three lines for a fixed-width font.

    ```
    REF: ask her to bring these ******
    HYP: as  her ** bring these things
    OPS: S       D              I
    ```

    Words stand in columns; stars are a word that is missing on that side; the last line marks a substitution S, a
    deletion D and an insertion I. Lines have no blanks at the end.
    """
    marks = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}
    columns = []
    for pair in pairs(reference, hypothesis):
        width = max(len(pair.reference), len(pair.hypothesis))
        cells = (pair.reference or "*" * width, pair.hypothesis or "*" * width, marks[pair.operation])
        columns.append([cell.ljust(width) for cell in cells])
    rows = zip(*columns, strict=True) if columns else ((), (), ())
    lines = (" ".join([title, *row]).rstrip() for title, row in zip(("REF:", "HYP:", "OPS:"), rows, strict=True))
    return "\n".join(lines)


def _align(reference: list[str], hypothesis: list[str], separator: str, process: Callable) -> list[Pair]:
    """Pairs the units of two texts by `process`, a function of jiwer; `separator` joins the units to a text."""
    if not reference or not hypothesis:  # jiwer 3 refuses an empty reference
        return [Pair("delete", unit, "") for unit in reference] + [Pair("insert", "", unit) for unit in hypothesis]
    aligned_pairs = []
    for chunk in process(separator.join(reference), separator.join(hypothesis)).alignments[0]:
        before = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        after = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        empty = [""] * max(len(before), len(after))
        aligned_pairs += [Pair(chunk.type, *columns) for columns in zip(before or empty, after or empty, strict=True)]
    return aligned_pairs


def _count(alignment: list[Pair]) -> Errors:
    counts = Counter(pair.operation for pair in alignment)
    return Errors(counts["substitute"], counts["delete"], counts["insert"], len(alignment) - counts["insert"])

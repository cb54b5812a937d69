"""Error rates of pronunciations: PER and WER, with and without stress, against the nearest variant or the first.

PER is the edit distance over all words by the phonemes of all references; WER is the share of words with any error. A
word with several pronunciations in the lexicon is scored against the nearest of them, or against the first, its usual
one: published results differ in this and in whether stress counts, so that all four are reported.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tfvoice import bootstrap
from tfvoice.asr import metrics
from tfvoice.asr.metrics import Errors
from tfvoice.text import phonemes
from tfvoice.text.phonemes import Pronunciation


class WordResult(NamedTuple):
    """A word, its pronunciations in the lexicon, the usual one first, and that of the network."""

    word: str
    references: tuple[Pronunciation, ...]
    hypothesis: Pronunciation


class Rates(NamedTuple):
    """Error rates of a set of words, and their 95 % bootstrap intervals over words."""

    per: float
    per_interval: bootstrap.Interval
    wer: float
    wer_interval: bootstrap.Interval


def nearest(references: Sequence[Pronunciation], hypothesis: Pronunciation) -> tuple[Pronunciation, Errors]:
    """The reference of the fewest errors, the first of several, and the errors."""
    if hypothesis in references:
        return hypothesis, Errors(0, 0, 0, len(hypothesis))
    scored = [(one, metrics.word_errors(" ".join(one), " ".join(hypothesis))) for one in references]
    return min(scored, key=lambda pair: pair[1].total)


def without_stress(result: WordResult) -> WordResult:
    """A result as if there were no stress."""
    plain = tuple(map(phonemes.without_stress, result.references))
    return WordResult(result.word, plain, phonemes.without_stress(result.hypothesis))


def errors(results: Sequence[WordResult], variants: bool = True) -> list[Errors]:
    """The errors of each word, against the nearest variant or else against the first."""
    return [nearest(one.references if variants else one.references[:1], one.hypothesis)[1] for one in results]


def rates(found: Sequence[Errors]) -> Rates:
    """The rates of a set of words."""
    wrong = [(float(each.total > 0), 1.0) for each in found]
    words = max(1, len(wrong))
    wer = sum(part for part, _ in wrong) / words
    return Rates(metrics.rate(found), metrics.interval(found), wer, bootstrap.ratio_interval(wrong))


def table(results: Sequence[WordResult]) -> dict[str, Rates]:
    """All rates: `stress` and `no_stress` against the nearest variant, `stress_first` and `no_stress_first`."""
    plain = list(map(without_stress, results))
    return {
        "stress": rates(errors(results)),
        "stress_first": rates(errors(results, variants=False)),
        "no_stress": rates(errors(plain)),
        "no_stress_first": rates(errors(plain, variants=False)),
    }

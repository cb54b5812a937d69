"""Bootstrap confidence intervals."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_BLOCK = 2_000_000  # resampled utterances at once: bounds the memory of a bootstrap to tens of megabytes


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def ratio_interval(
    parts: Iterable[tuple[float, float]], confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Bootstrap percentile interval of a ratio of two sums over utterances, such as a word error rate.

    Whole utterances are resampled with replacement, because errors within an utterance are correlated (Bisani and Ney,
    "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004).

    Args:
      parts: contribution of each utterance to the numerator and to the denominator.
      confidence: probability mass of the interval.
      resamples: number of bootstrap samples.
      seed: of the resampling.

    Returns:
      The interval; `(0, 0)` for an empty set.
    """
    table = np.array(list(parts), np.float64).reshape(-1, 2)
    utterances = len(table)
    if not utterances:
        return Interval(0.0, 0.0)
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // utterances)
    ratios = []
    for first in range(0, resamples, rows):
        sampled = generator.integers(0, utterances, (min(rows, resamples - first), utterances))
        numerators, denominators = (table[:, column][sampled].sum(axis=1) for column in (0, 1))
        ratios.append(numerators / np.maximum(1, denominators))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return Interval(float(low), float(high))

"""Bootstrap intervals: repeatable, and as wide as the spread of independent test sets."""

import numpy as np
import pytest

from tfvoice import bootstrap
from tfvoice.bootstrap import Interval


def random_parts(utterances: int, seed: int) -> list[tuple[int, int]]:
    """Word errors and reference words of so many utterances."""
    generator = np.random.default_rng(seed)
    words = generator.integers(1, 20, utterances)
    return [(int(generator.binomial(count, 0.3)), int(count)) for count in words]


def ratio(parts) -> float:
    errors, words = np.sum(parts, axis=0)
    return errors / words


def test_an_interval_contains_the_ratio_and_is_repeatable():
    parts = random_parts(300, seed=1)
    low, high = bootstrap.ratio_interval(parts)
    assert low < ratio(parts) < high
    assert bootstrap.ratio_interval(parts) == (low, high) != bootstrap.ratio_interval(parts, seed=1)
    inner_low, inner_high = bootstrap.ratio_interval(parts, confidence=0.5)
    assert low < inner_low < inner_high < high


def test_the_width_agrees_with_the_spread_of_independent_sets():
    ratios = [ratio(random_parts(300, seed)) for seed in range(100, 400)]
    low, high = bootstrap.ratio_interval(random_parts(300, seed=2))
    expected = np.quantile(ratios, 0.975) - np.quantile(ratios, 0.025)
    assert high - low == pytest.approx(expected, rel=0.2)


def test_an_interval_does_not_depend_on_the_block_size(monkeypatch):
    parts = random_parts(50, seed=3)
    whole = bootstrap.ratio_interval(parts)
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * len(parts))
    assert bootstrap.ratio_interval(parts) == pytest.approx(whole)


def test_an_empty_set_and_a_zero_denominator_have_finite_intervals():
    assert bootstrap.ratio_interval([]) == Interval(0, 0)
    assert bootstrap.ratio_interval([(2, 0)]) == Interval(2, 2)

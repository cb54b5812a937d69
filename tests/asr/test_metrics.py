import string
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice.asr import metrics
from tfvoice.asr.metrics import Errors, Interval, Pair

# Few letters, so that words and characters often agree.
texts = st.text(alphabet="ab \t", max_size=12)


def edit_distance(reference, hypothesis) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        previous, row[0] = row[0], i
        for j, got in enumerate(hypothesis, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (wanted != got))
    return row[-1]


@given(texts, texts)
@settings(deadline=None)
def test_word_errors_are_the_edit_distance(reference, hypothesis):
    errors = metrics.word_errors(reference, hypothesis)
    assert errors.total == edit_distance(reference.split(), hypothesis.split())
    assert errors.reference_units == len(reference.split())
    assert errors.reference_units + errors.insertions - errors.deletions == len(hypothesis.split())


@given(texts, texts)
@settings(deadline=None)
def test_character_errors_are_the_edit_distance(reference, hypothesis):
    for spaces, between in ((True, " "), (False, "")):
        one, other = between.join(reference.split()), between.join(hypothesis.split())
        errors = metrics.character_errors(reference, hypothesis, spaces=spaces)
        assert errors.total == edit_distance(one, other)
        assert errors.reference_units == len(one)
        assert errors.reference_units + errors.insertions - errors.deletions == len(other)


@given(texts, texts)
@settings(deadline=None)
def test_pairs_hold_both_texts_and_every_error(reference, hypothesis):
    pairs = metrics.pairs(reference, hypothesis)
    assert [pair.reference for pair in pairs if pair.reference] == reference.split()
    assert [pair.hypothesis for pair in pairs if pair.hypothesis] == hypothesis.split()
    assert sum(pair.operation != "equal" for pair in pairs) == metrics.word_errors(reference, hypothesis).total
    for operation, one, other in pairs:
        wanted = "insert" if not one else "delete" if not other else "equal" if one == other else "substitute"
        assert operation == wanted


@given(texts, texts)
@settings(deadline=None)
def test_the_lines_of_aligned_stand_in_columns(reference, hypothesis):
    lines = [line.ljust(200) for line in metrics.aligned(reference, hypothesis).split("\n")]
    titles, *columns = zip(*lines, strict=True)
    assert "".join(titles) == "RHO"
    pairs = metrics.pairs(reference, hypothesis)
    position = 4
    for pair in pairs:
        width = max(len(pair.reference), len(pair.hypothesis))
        one, other, mark = ("".join(cells).strip() for cells in zip(*columns[position : position + width], strict=True))
        assert (one, other) == (pair.reference or "*" * width, pair.hypothesis or "*" * width)
        assert mark == {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}[pair.operation]
        position += width + 1


def test_aligned_by_example():
    assert metrics.aligned("ask her to bring these", "as her bring these things") == (
        "REF: ask her to bring these ******\nHYP: as  her ** bring these things\nOPS: S       D              I"
    )
    assert metrics.aligned("", "") == "REF:\nHYP:\nOPS:"
    assert metrics.pairs("a", "b c")[-1] == Pair("substitute", "a", "c")


def test_spaces_count_as_characters_unless_the_deepspeech_convention_is_asked_for():
    assert metrics.character_errors("a b", "ab") == Errors(0, 1, 0, 3)
    assert metrics.character_errors("a b", "ab", spaces=False) == Errors(0, 0, 0, 2)


def test_rates_are_corpus_level():
    perfect, wrong = metrics.word_errors("a b c d e f g h i", "a b c d e f g h i"), metrics.word_errors("a", "b")
    assert metrics.rate([perfect, wrong]) == pytest.approx(0.1)
    assert metrics.combine([perfect, wrong]) == Errors(1, 0, 0, 10)
    assert metrics.rate(iter([perfect, wrong])) == pytest.approx(0.1)


def test_words_over_an_empty_reference_are_insertions():
    assert metrics.word_errors("", "a b") == Errors(0, 0, 2, 0)
    assert metrics.word_errors(" \t", "") == Errors(0, 0, 0, 0)
    assert metrics.word_errors("a b", "") == Errors(0, 2, 0, 2)
    assert metrics.character_errors("", "a b") == Errors(0, 0, 3, 0)
    assert metrics.rate([metrics.word_errors("", "a b"), metrics.word_errors("a b c d", "a b c d")]) == 0.5


def test_a_set_without_reference_units_has_a_finite_rate():
    assert metrics.rate([]) == 0
    assert metrics.rate([metrics.word_errors("", "")]) == 0
    assert metrics.rate([metrics.word_errors("", "a b"), metrics.word_errors("", "c")]) == 3
    assert metrics.interval([]) == Interval(0, 0)
    assert metrics.interval([metrics.word_errors("", "a b")]) == Interval(2, 2)


def random_errors(utterances: int, seed: int) -> list[Errors]:
    generator = np.random.default_rng(seed)
    units = generator.integers(1, 20, utterances)
    return [Errors(int(generator.binomial(count, 0.3)), 0, 0, int(count)) for count in units]


def test_interval_contains_the_rate_and_repeats():
    errors = random_errors(300, seed=1)
    low, high = metrics.interval(errors)
    assert low < metrics.rate(errors) < high
    parts = [(each.total, each.reference_units) for each in errors]
    assert metrics.ratio_interval(parts) == (low, high) != metrics.ratio_interval(parts, seed=1)
    inner_low, inner_high = metrics.ratio_interval(parts, confidence=0.5)
    assert low < inner_low < inner_high < high


def test_interval_agrees_with_the_spread_of_fresh_samples():
    rates = [metrics.rate(random_errors(300, seed)) for seed in range(100, 400)]
    low, high = metrics.interval(random_errors(300, seed=2))
    expected = np.quantile(rates, 0.975) - np.quantile(rates, 0.025)
    assert high - low == pytest.approx(expected, rel=0.2)


def test_interval_does_not_depend_on_how_it_is_cut_into_blocks(monkeypatch):
    errors = random_errors(50, seed=3)
    whole = metrics.interval(errors)
    monkeypatch.setattr(metrics, "_BLOCK", 7 * len(errors))
    assert metrics.interval(errors) == pytest.approx(whole)


def test_more_distinct_words_than_a_byte_holds():
    words = [one + other for one in string.ascii_lowercase for other in string.ascii_lowercase]
    assert metrics.word_errors(" ".join(words), " ".join(words[1:])) == Errors(0, 1, 0, len(words))


def test_importing_does_not_load_tensorflow():
    code = "import sys, tfvoice.metrics; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

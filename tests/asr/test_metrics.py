import string
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvoice import bootstrap
from tfvoice.asr import metrics
from tfvoice.asr.metrics import Errors, Pair
from tfvoice.bootstrap import Interval

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
def test_the_lines_of_aligned_have_columns(reference, hypothesis):
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


def test_spaces_count_as_characters_except_in_the_deepspeech_convention():
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


def test_an_interval_is_the_bootstrap_of_errors_over_reference_units():
    errors = [metrics.word_errors("a b c d", hypothesis) for hypothesis in ("a b c d", "a b", "x b c d", "")]
    parts = [(each.total, each.reference_units) for each in errors]
    assert metrics.interval(errors) == bootstrap.ratio_interval(parts) != Interval(0, 0)


def test_more_distinct_words_than_a_byte_holds():
    words = [one + other for one in string.ascii_lowercase for other in string.ascii_lowercase]
    assert metrics.word_errors(" ".join(words), " ".join(words[1:])) == Errors(0, 1, 0, len(words))


def test_importing_does_not_load_tensorflow():
    code = "import sys, tfvoice.asr.metrics; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

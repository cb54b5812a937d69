"""Laws of the error rates of pronunciations."""

import pytest

from tfvoice.tts.g2p import metrics
from tfvoice.tts.g2p.metrics import WordResult


def words(text):
    return tuple(text.split())


# Right; right by its second variant; wrong in stress; one phoneme missing.
RESULTS = [
    WordResult("a", (words("AH0"), words("EY1")), words("AH0")),
    WordResult("b", (words("B IY1 Z"), words("B IY1")), words("B IY1")),
    WordResult("c", (words("S IY1"),), words("S IY0")),
    WordResult("d", (words("D IY1 Z"),), words("D IY1")),
]


def test_the_nearest_variant_is_scored_or_the_first():
    assert [one.total for one in metrics.errors(RESULTS)] == [0, 0, 1, 1]
    assert [one.reference_units for one in metrics.errors(RESULTS)] == [1, 2, 2, 3]
    assert [one.total for one in metrics.errors(RESULTS, variants=False)] == [0, 1, 1, 1]


def test_of_equally_near_variants_the_first_is_taken():
    references = (words("B AA1 T"), words("B AO1 T"))
    assert metrics.nearest(references, words("B EH1 T"))[0] == references[0]


def test_rates_are_reported_in_four_ways():
    table = metrics.table(RESULTS)
    assert {key: rates.wer for key, rates in table.items()} == {
        "stress": 0.5, "stress_first": 0.75, "no_stress": 0.25, "no_stress_first": 0.5,
    }  # fmt: skip
    assert table["stress"].per == pytest.approx(2 / 8) and table["no_stress_first"].per == pytest.approx(2 / 9)
    for rates in table.values():
        assert rates.wer_interval.low <= rates.wer <= rates.wer_interval.high
        assert rates.per_interval.low <= rates.per <= rates.per_interval.high


def test_an_empty_hypothesis_has_all_phonemes_wrong():
    (errors,) = metrics.errors([WordResult("x", (words("EH1 K S"),), ())])
    assert errors.total == errors.reference_units == 3


def test_no_words_have_no_errors():
    rates = metrics.rates([])
    assert (rates.per, rates.wer, rates.wer_interval) == (0, 0, (0, 0))

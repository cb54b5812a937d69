"""Error analysis of a recogniser, counted by hand."""

import pytest

from tfvoice.asr import error_analysis
from tfvoice.asr.error_analysis import Confusion, Group, MisrecognisedWord


def result(name, seconds, reference, hypothesis, speaker="p1"):
    return {"id": name, "speaker": speaker, "seconds": seconds, "reference": reference, "hypothesis": hypothesis}


RESULTS = [
    result("a", 0.5, "the cat", "the cat"),
    result("b", 1.0, "the dog sat", "the dig", "p2"),
    result("c", 20.0, "the dog", "a dog", "p2"),
]


def test_groups_have_corpus_level_rates_and_the_largest_is_first():
    found = error_analysis.groups(RESULTS, lambda result: result["speaker"])
    assert found == [Group("p2", 2, 21.0, 3 / 5, pytest.approx(8 / 18)), Group("p1", 1, 0.5, 0.0, 0.0)]


def test_lengths_and_levels_are_in_order():
    assert [group.name for group in error_analysis.by_length(RESULTS)] == ["below 1 s", "1 to 2 s", "16 s and more"]
    levels = {"a": -16.0, "b": -60.0, "c": -12.5}
    assert [group.name for group in error_analysis.by_level(RESULTS, levels)] == [
        "below -45 dB",
        "-20 to -15 dB",
        "-15 dB and more",
    ]


def test_misrecognised_words_come_with_their_hypotheses():
    assert error_analysis.misrecognised_words(RESULTS) == [
        MisrecognisedWord("dog", 2, 1, [("dig", 1)]),
        MisrecognisedWord("sat", 1, 1, [("", 1)]),
        MisrecognisedWord("the", 3, 1, [("a", 1)]),
    ]


def test_substitutions_deletions_and_insertions_of_characters_are_counted():
    found = error_analysis.confusions(
        [result("a", 1, "cat", "bat"), result("b", 1, "cat", "bats"), result("c", 1, "x", "")]
    )
    assert found == [Confusion("c", "b", 2), Confusion("", "s", 1), Confusion("x", "", 1)]
    assert error_analysis.confusions(RESULTS[:1]) == []

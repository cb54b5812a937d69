"""Where a recogniser goes wrong, counted by hand."""

import pytest

from tfvoice.asr import error_analysis
from tfvoice.asr.error_analysis import Confusion, Group, Wrong


def reading(name, seconds, reference, hypothesis, speaker="p1"):
    return {"id": name, "speaker": speaker, "seconds": seconds, "reference": reference, "hypothesis": hypothesis}


READINGS = [
    reading("a", 0.5, "the cat", "the cat"),
    reading("b", 1.0, "the dog sat", "the dig", "p2"),
    reading("c", 20.0, "the dog", "a dog", "p2"),
]


def test_groups_have_corpus_level_rates_the_largest_first():
    found = error_analysis.groups(READINGS, lambda one: one["speaker"])
    assert found == [Group("p2", 2, 21.0, 3 / 5, pytest.approx(8 / 18)), Group("p1", 1, 0.5, 0.0, 0.0)]


def test_lengths_and_levels_are_in_order():
    assert [group.name for group in error_analysis.by_length(READINGS)] == ["below 1 s", "1 to 2 s", "16 s and more"]
    levels = {"a": -16.0, "b": -60.0, "c": -12.5}
    assert [group.name for group in error_analysis.by_level(READINGS, levels)] == [
        "below -45 dB",
        "-20 to -15 dB",
        "-15 dB and more",
    ]


def test_words_tell_what_was_read_instead():
    assert error_analysis.wrong_words(READINGS) == [
        Wrong("dog", 2, 1, [("dig", 1)]),
        Wrong("sat", 1, 1, [("", 1)]),
        Wrong("the", 3, 1, [("a", 1)]),
    ]


def test_characters_that_are_taken_for_others_left_out_and_put_in():
    found = error_analysis.confusions(
        [reading("a", 1, "cat", "bat"), reading("b", 1, "cat", "bats"), reading("c", 1, "x", "")]
    )
    assert found == [Confusion("c", "b", 2), Confusion("", "s", 1), Confusion("x", "", 1)]
    assert error_analysis.confusions(READINGS[:1]) == []

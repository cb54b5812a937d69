"""Dashes, brackets and blank lines between words, and the places of tokens."""

import pytest

from tfvoice.text.english.normalizer import normalize_english


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("one - two", "one , two"),
        ("one—two", "one , two"),
        ("one-two", "one two"),
        ("1-2", "one to two"),
        ("-1", "minus one"),
        ("9 - 5 = 4", "nine minus five equals four"),
        ("one (two) three", "one , two , three"),
        ("one(s)", "one s"),
        ("1) one", "one , one"),
        ("one\n\ntwo", "one . two"),
        ("one\ntwo", "one two"),
    ],
)
def test_marks(written, spoken):
    assert normalize_english(written).spoken == spoken


def test_tokens_know_their_place():
    text = "It costs $3.50 — “really”?"
    result = normalize_english(text)
    places = {token.text: text[token.start : token.end] for token in result.tokens}
    assert places["three"] == places["cents"] == "$3.50"
    assert places[","] == " — "
    assert places["really"] == "“really”"
    assert places["?"] == "?"


def test_capitals_shout_only_in_a_sentence_without_small_letters():
    assert normalize_english("GIVE IT TO US. The US is big.").spoken == "give it to us . the u s is big ."

"""Symbols: words, pauses, or only emphasis, by what stands beside them."""

import pytest

from tfvoice.text.english.symbols import read_symbol
from tfvoice.text.normalize import normalize


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("so... well", "so , well"),
        ("so... Well", "so . well"),
        ("* one", "one"),
        ("3 * 4", "three times four"),
        ("3*4", "three times four"),
        ("press * now", "press asterisk now"),
        ("*one* **two** __three__", "one two three"),
        ("a >= b", "a greater than or equal to b"),
        ("a > b", "a greater than b"),
        ("> quoted", "quoted"),
        ("<b>bold</b>", "bold"),
        ("<gulp> ahem", "gulp ahem"),
        ("<5 and >3", "less than five and greater than three"),
        ("C#", "c sharp"),
        ("press #", "press hash"),
        ("#5", "number five"),
        (".NET", "dot net"),
        ("x³", "x cubed"),
        ("~5 or ~$5", "about five or about five dollars"),
        ("a | b", "a b"),
        ("a / b", "a slash b"),
        ("2π", "two pi"),
    ],
)
def test_symbols(written, spoken):
    assert normalize(written).spoken == spoken


def test_emoticons_footnotes_and_markup_are_reported():
    assert [part.reason for part in normalize("hi :-) word¹ <br/>").unspoken] == ["emoticon", "numbers", "markup"]


def test_a_greek_letter_has_a_name_and_a_greek_word_has_none():
    assert read_symbol("α", 0) == ("alpha", 1)
    assert read_symbol("αβ", 0) is None


def test_silent_punctuation_is_not_read():
    assert all(read_symbol(mark, 0) is None for mark in "\"'-—([{}])")

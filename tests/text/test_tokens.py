"""Pieces to tokens: pauses are merged, and silent characters belong to the token beside them."""

from tfvoice.text.folding import fold
from tfvoice.text.tokens import Piece, Token, assemble, why_unspoken


def assembled(text, *pieces):
    return assemble(text, fold(text), [Piece(*piece) for piece in pieces])


def test_all_words_of_a_piece_have_its_span():
    result = assembled("42!", (0, 2, "forty two"), (2, 3, "!"))
    assert result.tokens == (Token("forty", 0, 2), Token("two", 0, 2), Token("!", 2, 3))
    assert result.words == ("forty", "two")
    assert result.spoken == "forty two !"


def test_capitals_are_the_names_of_letters():
    assert [token.letter for token in assembled("a US", (0, 1, "a"), (2, 4, "U S's")).tokens] == [False, True, True]


def test_the_strongest_of_several_pauses_is_kept():
    result = assembled("a, ?.", (0, 1, "a"), (1, 2, ","), (3, 4, "?"), (4, 5, "."))
    assert result.tokens == (Token("a", 0, 1), Token("?", 1, 5))


def test_a_pause_does_not_hide_what_is_to_be_reported():
    result = assembled("a, ♥, b", (0, 1, "a"), (1, 2, ","), (4, 5, ","), (6, 7, "b"))
    assert result.spoken == "a , b"
    assert [(part.text, part.start) for part in result.unspoken] == [("♥", 3)]


def test_pauses_before_the_first_word_are_silent():
    assert assembled("...a", (0, 3, "."), (3, 4, "a")).tokens == (Token("a", 0, 4),)


def test_silent_characters_belong_to_the_token_beside_them():
    result = assembled('say "hi" (', (0, 3, "say"), (5, 7, "hi"))
    assert [(token.start, token.end) for token in result.tokens] == [(0, 3), (4, 10)]
    assert not result.unspoken


def test_all_else_is_reported():
    result = assembled("hi ♥ Привет мир", (0, 2, "hi"))
    assert [(part.text, part.reason) for part in result.unspoken] == [
        ("♥", "emoji or pictures"),
        ("Привет", "Cyrillic letters"),
        ("мир", "Cyrillic letters"),
    ]
    assert str(result.unspoken[0]) == "'♥' at 3: emoji or pictures"


def test_a_piece_with_a_reason_is_reported():
    result = assembled("hi :)", (0, 2, "hi"), (3, 5, "", "emoticon"))
    assert [(part.start, part.end, part.reason) for part in result.unspoken] == [(3, 5, "emoticon")]


def test_punctuation_alone_is_reported():
    assert assembled("(!)").unspoken[0].reason == "punctuation without words"
    assert assembled(" \n").tokens == assembled("").tokens == ()


def test_sentences_end_after_their_mark():
    result = assembled("a. b! c", (0, 1, "a"), (1, 2, "."), (3, 4, "b"), (4, 5, "!"), (6, 7, "c"))
    assert [" ".join(token.text for token in sentence) for sentence in result.sentences] == ["a .", "b !", "c"]


def test_reasons():
    reasons = {"ж": "Cyrillic letters", "中": "CJK letters", "5": "numbers", "€": "symbols", "\0": "control characters"}
    assert {character: why_unspoken(character) for character in reasons} == reasons
    assert not any(map(why_unspoken, "\"'()-—,. \n\u200d\u0301"))

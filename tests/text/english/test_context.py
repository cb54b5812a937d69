"""What stands around a place, and which marks end a sentence."""

import pytest

from tfvoice.text.english import context


def test_words_around_a_place():
    text = 'See the "Route" 66 sign'
    place = text.index("66")
    assert context.previous_word(text, place) == "Route"
    assert context.previous_word("Route # 66", 8) == "Route"
    assert context.previous_word("Dr. Smith", 4) == "Dr"
    assert context.next_word(text, place + 2) == "sign"
    assert context.next_word("a 5", 1) == "5"
    assert context.previous_word("", 0) == context.next_word("", 0) == ""


def test_chunks_start_after_blanks_and_opening_marks():
    assert context.starts_chunk("a", 0)
    assert context.starts_chunk("(a", 1)
    assert not context.starts_chunk("ab", 1)


@pytest.mark.parametrize("text", ["etc.", "etc. The dog", 'etc." ', "etc.\n\nso"])
def test_a_dot_may_end_the_sentence_too(text):
    assert context.ends_sentence(text, 3)


@pytest.mark.parametrize("text", ["etc. and so", "Inc. Magazine", "Jr., who"])
def test_a_dot_may_only_end_the_abbreviation(text):
    assert not context.ends_sentence(text, text.index("."))


@pytest.mark.parametrize(
    "text", ["end. Now", "end.", "end. 5", 'he said." Now', "what? No", "Was it I. Yes", "wait... Now"]
)
def test_boundaries(text):
    place = max(text.rfind(mark) for mark in ".?!")
    assert context.is_boundary(text, place)


@pytest.mark.parametrize(
    "text", ["3.5", "Dr. Smith", "e.g. this", "No. 5", "wait... and", '"What?" he', "J. Smith", "a.m. now"]
)
def test_no_boundaries(text):
    place = max(text.rfind(mark) for mark in ".?!")
    assert not context.is_boundary(text, place)

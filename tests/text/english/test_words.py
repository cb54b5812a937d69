"""Words by what stands around them."""

import pytest

from tfvoice.text.english.words import is_abbreviated, read_word
from tfvoice.text.normalize import normalize


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("St. Paul", "saint"),
        ("Dr. Who", "doctor"),
        ("No. 5", "number"),
        ("No. They", "no"),
        ("MR. BEAN", "mister"),
        ("e.g. this", "for example"),
        ("U.S. law", "U S"),
        ("vs. them", "versus"),
        ("w/o it", "without"),
        ("hello.", "hello"),
    ],
)
def test_the_first_word(text, spoken):
    assert read_word(text, 0)[0] == spoken


def test_the_dot_remains_where_it_ends_the_sentence():
    assert read_word("etc. The end", 0) == ("et cetera", 3)
    assert read_word("etc. and so on", 0) == ("et cetera", 4)
    assert normalize("I live on Main St. The house is old.").spoken == "i live on main street . the house is old ."


def test_streets_follow_a_name_and_saints_stand_before_one():
    assert (
        normalize("St. James St. and Elm Dr. near Dr. Oz").spoken == "saint james street and elm drive near doctor oz"
    )


def test_roman_numerals_need_a_name_or_a_noun():
    assert normalize("Henry V, Act V, V for victory").spoken == "henry the fifth , act five , v for victory"
    assert normalize("Charles I of Spain and I met Henry, I think").words[:4] == ("charles", "the", "first", "of")
    assert normalize("I saw Henry and I left").spoken == "i saw henry and i left"


def test_capitals_alone_are_letters_but_the_article_and_the_pronoun():
    letters = [token.text for token in normalize("A plan. I like plan A, vitamin B and it.").tokens if token.letter]
    assert letters == ["a", "b"]


def test_states_stand_after_a_city():
    assert normalize("Salem, OR 97301").words[:2] == ("salem", "oregon")
    assert normalize("Yeah, OK.").spoken == "yeah , ok ."


def test_abbreviated():
    assert is_abbreviated("U.S. law", 0)
    assert not is_abbreviated("main.py", 0)


def test_no_letter_is_no_word():
    assert read_word("5", 0) is None

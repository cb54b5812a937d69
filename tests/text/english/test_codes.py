"""What is read by its characters, and where it ends."""

import pytest

from tfvoice.text.english import codes


def test_a_reading_ends_before_the_punctuation():
    assert codes.read_address("www.a-b.org/c, then", 0) == ("W W W dot A dash B dot org slash C", 13)
    assert codes.read_address("https://x.io.", 0) == ("X dot I O", 12)
    assert codes.read_code("(555) 123-4567.", 0) == ("five five five , one two three , four five six seven", 14)


@pytest.mark.parametrize("text", ["hello", "Hello.World", "and/or", "well-known", "3.5", "a.", "it's"])
def test_ordinary_text_is_no_address(text):
    assert codes.read_address(text, 0) is None


def test_an_address_begins_where_a_word_begins():
    assert codes.read_address("xa@b.com", 1) is None
    assert codes.read_address("(a@b.com", 1)


@pytest.mark.parametrize("text", ["350-1000", "10-15", "3.14", "1 555", "vest"])
def test_numbers_are_no_codes(text):
    assert codes.read_code(text, 0) is None


def test_the_ending_of_an_address_is_spelled_and_words_in_it_are_not():
    assert codes.speak_address("me@it.co.uk") == "me at it dot co dot U K"
    assert codes.speak_address("myFile_v2.txt") == "my file underscore V two dot T X T"


def test_letters_and_digits_in_one_word():
    assert codes.read_chunk("B2B's now", 0) == ("B two B's", 5)
    assert codes.read_chunk("-", 0) is None

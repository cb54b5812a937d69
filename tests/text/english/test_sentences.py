"""Sentences of a long text: abbreviations are no ends, nothing is lost, and memory is bounded."""

import tracemalloc

import pytest

from tfvoice.text.english.sentences import sentences

TEXT = """Dr. Smith paid $3.50 to Mr. T. He left, e.g. at 5 p.m. The U.S. Army came. "Really?" he asked. “Yes!” She
went to St. Louis. See No. 5. He doesn't... and then. 'Stop.' Then J. K. Rowling spoke, etc. But not now!

A title without a mark

Pi is 3.14. It works at 3 a.m. and later vs. him. Was it I? Jan. 5 was cold. 今天很好。明天呢？ The end"""
SPLIT = [
    "Dr. Smith paid $3.50 to Mr. T.",
    "He left, e.g. at 5 p.m.",
    "The U.S. Army came.",
    '"Really?" he asked.',
    "“Yes!”",
    "She\nwent to St. Louis.",
    "See No. 5.",
    "He doesn't... and then.",
    "'Stop.'",
    "Then J. K. Rowling spoke, etc.",
    "But not now!",
    "A title without a mark",
    "Pi is 3.14.",
    "It works at 3 a.m. and later vs. him.",
    "Was it I?",
    "Jan. 5 was cold.",
    "今天很好。",
    "明天呢？",
    "The end",
]


def test_sentences():
    assert [sentence.text for sentence in sentences(TEXT)] == SPLIT


@pytest.mark.parametrize("longest", [20, 31, 600])
@pytest.mark.parametrize("size", [1, 7, 5000])
def test_nothing_is_lost_whatever_the_parts_and_the_length(size, longest):
    text = TEXT * 20
    parts = (text[start : start + size] for start in range(0, len(text), size))
    end = 0
    for sentence in sentences(parts, longest):
        assert text[sentence.start : sentence.start + len(sentence.text)] == sentence.text
        assert sentence.text == sentence.text.strip()
        assert 0 < len(sentence.text) <= longest
        assert not text[end : sentence.start].strip()
        end = sentence.start + len(sentence.text)
    assert not text[end:].strip()


def test_the_parts_do_not_matter():
    whole = list(sentences(TEXT * 20))
    assert list(sentences((TEXT * 20).splitlines(keepends=True))) == whole
    assert list(sentences(iter(TEXT * 20))) == whole


def test_a_long_sentence_is_cut_at_a_pause_or_a_blank():
    cut = [sentence.text for sentence in sentences("one two three, four five six seven eight nine ten", 25)]
    assert cut == ["one two three,", "four five six seven", "eight nine ten"]


def test_memory_is_bounded():
    lines = (f"This is line {number} of a long book, as they all are.\n" for number in range(4000))
    tracemalloc.start()
    count = sum(1 for _ in sentences(lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 200_000


def test_no_text_has_no_sentences():
    assert not list(sentences(""))
    assert not list(sentences([" ", "\n\n"]))


def test_the_length_has_a_floor():
    with pytest.raises(ValueError, match="longest is 5"):
        list(sentences("a", 5))

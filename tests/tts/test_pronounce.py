"""Laws of pronouncing texts: inline phonemes, lexicon, rule and model, in this order."""

import pytest

from tfvoice.text import lexicon
from tfvoice.text.phonemes import ARPABET, PhonemeError
from tfvoice.tts.pronounce import PronouncedWord, Pronouncer

WORDS = [
    "a AH0",
    "a. EY1",
    "one W AH1 N",
    "hello HH AH0 L OW1",
    "hello(2) HH EH0 L OW1",
    "isn't IH1 Z AH0 N T",
    "cat K AE1 T",
]


@pytest.fixture
def asked():
    """Each list of words that the model was asked for."""
    return []


@pytest.fixture
def pronouncer(asked):
    def predict(words):
        asked.append(list(words))
        return [("EH1", "K", "S") if word == "xxx" else () for word in words]

    return Pronouncer(lexicon.parse(WORDS, ARPABET, "small"), predict)


def test_every_word_has_its_source(pronouncer, asked):
    found = pronouncer.pronounce("Hello, Xxx! Isn’t {HH IY} cats xxx yyy?")
    assert [word[:3] for word in found] == [
        ("hello", ("HH", "AH0", "L", "OW1"), "lexicon"),
        ("xxx", ("EH1", "K", "S"), "g2p"),
        ("isn't", ("IH1", "Z", "AH0", "N", "T"), "lexicon"),
        ("HH IY", ("HH", "IY1"), "inline"),
        ("cats", ("K", "AE1", "T", "S"), "rule"),
        ("xxx", ("EH1", "K", "S"), "g2p"),
        ("yyy", (), "unknown"),
    ]
    # All at once, and each word once.
    assert asked == [["xxx", "yyy"]]


def test_the_model_is_not_asked_for_known_words(pronouncer, asked):
    assert [word.by for word in pronouncer.pronounce("cat's hello")] == ["rule", "lexicon"] and asked == []
    assert pronouncer.pronounce(" ") == []


def test_texts_are_normalised_and_what_is_no_word_is_kept_in_its_place(pronouncer):
    assert [(word.word, word.by) for word in pronouncer.pronounce("1 cat \U0001f408 hello")] == [
        ("one", "lexicon"),
        ("cat", "lexicon"),
        ("\U0001f408", "unspoken"),
        ("hello", "lexicon"),
    ]


def test_the_name_of_a_letter_is_no_article(pronouncer):
    assert [word.phonemes for word in pronouncer.pronounce("a cat")] == [("AH0",), ("K", "AE1", "T")]
    assert ("EY1",) in [word.phonemes for word in pronouncer.pronounce("the U.S.A. hello")]


def test_another_normaliser_is_named():
    small = lexicon.parse(["größe G R OW1"], ARPABET, "small")
    assert [word.by for word in Pronouncer(small, normalizer="plain").pronounce("Größe 7")] == ["lexicon", "unspoken"]


def test_without_a_model_words_are_unknown():
    (word,) = Pronouncer(lexicon.parse(WORDS, ARPABET, "small")).pronounce("xxx")
    assert word == PronouncedWord("xxx", (), "unknown")
    assert Pronouncer(lexicon.parse(WORDS, ARPABET, "small")).pronounce("a xxx")[1].start == 2


def test_lines_are_pronounced_as_each_alone_and_the_model_is_asked_for_many(pronouncer, asked):
    lines = ["Hello xxx\n", "\n", "{HH} zzz, xxx"]
    found = list(pronouncer.pronounce_lines(lines, "a file"))
    assert asked == [["xxx", "zzz"]]
    assert found == [(number, word) for number, line in enumerate(lines, 1) for word in pronouncer.pronounce(line)]
    assert [word.start for _, word in found] == [0, 6, 0, 5, 10]
    assert list(pronouncer.pronounce_lines(lines, "a file", at_once=1)) == found


def test_a_line_that_cannot_be_parsed_is_named_after_the_words_before_it(pronouncer):
    found = pronouncer.pronounce_lines(["cat", "{"], "a file")
    assert next(found)[1].word == "cat"
    with pytest.raises(PhonemeError, match=r"^a file: line 2: \{ at character 1 has no partner"):
        next(found)


def test_braces_without_phonemes_are_an_error(pronouncer):
    with pytest.raises(PhonemeError, match=r"\{HELLO\} at character 5: 'HELLO' is no phoneme"):
        pronouncer.pronounce("Say {HELLO}")


def test_pauses_are_words_of_silence_where_they_are_asked_for():
    pronouncer = Pronouncer(lexicon.cmudict())
    assert [word.by for word in pronouncer.pronounce("A cat, a dog.")] == ["lexicon"] * 4
    found = pronouncer.pronounce("A cat, a dog.", pauses=True)
    assert [(word.word, word.phonemes) for word in found if word.by == "pause"] == [(",", ("sil",)), (".", ("sil",))]
    assert [word.start for word in found] == [0, 2, 5, 7, 9, 12]

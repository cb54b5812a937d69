"""Laws of pronouncing texts: inline phonemes, lexicon, rule and model, in this order."""

import pytest

from tfvoice.text import lexicon
from tfvoice.text.phonemes import ARPABET, PhonemeError
from tfvoice.tts.pronounce import PronouncedWord, Pronouncer

WORDS = ["hello HH AH0 L OW1", "hello(2) HH EH0 L OW1", "isn't IH1 Z AH0 N T", "cat K AE1 T"]


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
    found = pronouncer.pronounce("Hello, XXX! Isn’t {HH IY} cats xxx yyy?")
    assert found == [
        PronouncedWord("hello", ("HH", "AH0", "L", "OW1"), "lexicon"),
        PronouncedWord("xxx", ("EH1", "K", "S"), "g2p"),
        PronouncedWord("isn't", ("IH1", "Z", "AH0", "N", "T"), "lexicon"),
        PronouncedWord("HH IY", ("HH", "IY1"), "inline"),
        PronouncedWord("cats", ("K", "AE1", "T", "S"), "rule"),
        PronouncedWord("xxx", ("EH1", "K", "S"), "g2p"),
        PronouncedWord("yyy", (), "unknown"),
    ]
    # All at once, and each word once.
    assert asked == [["xxx", "yyy"]]


def test_the_model_is_not_asked_for_known_words(pronouncer, asked):
    assert [word.by for word in pronouncer.pronounce("cat's hello")] == ["rule", "lexicon"] and asked == []
    assert pronouncer.pronounce(" 1 ... ") == []


def test_without_a_model_words_are_unknown():
    (word,) = Pronouncer(lexicon.parse(WORDS, ARPABET, "small")).pronounce("xxx")
    assert word == PronouncedWord("xxx", (), "unknown")


def test_braces_without_phonemes_are_an_error(pronouncer):
    with pytest.raises(PhonemeError, match=r"\{HELLO\} at character 5: 'HELLO' is no phoneme"):
        pronouncer.pronounce("Say {HELLO}")

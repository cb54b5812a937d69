"""Capitals are letters, a word, or a shout."""

import pytest

from tfvoice.text.english import acronyms


@pytest.mark.parametrize("word", ["FBI", "BBC", "HTML", "TV", "USA", "IBM", "HIV", "XML", "QRS"])
def test_spelled(word):
    assert acronyms.is_spelled(word)
    assert acronyms.speak_word(word) == " ".join(word)
    assert acronyms.speak_word(f"{word}'s") == f"{' '.join(word)}'s"
    assert acronyms.speak_word(f"{word}s") == f"{' '.join(word)}'s"


@pytest.mark.parametrize("word", ["NASA", "DOG", "STOP", "ME", "YOU", "HMM", "PSSST", "AAAH", "NTH", "WHATEVER"])
def test_spoken(word):
    assert not acronyms.is_spelled(word)
    assert acronyms.speak_word(word) == word.lower()


def test_in_a_shouted_sentence_only_acronyms_are_spelled():
    assert acronyms.speak_word("IKB", shouted=True) == "ikb"
    assert acronyms.speak_word("US", shouted=True) == "us"
    assert acronyms.speak_word("FBI", shouted=True) == "F B I"
    assert acronyms.speak_word("DVD", shouted=True) == "D V D"


def test_a_stressed_word_is_an_acronym_only_beside_certain_words():
    assert acronyms.speak_word("IT", before="do") == "it"
    assert acronyms.speak_word("IT", after="department") == "I T"
    assert acronyms.speak_word("WHO", before="the") == "W H O"
    assert acronyms.speak_word("IT'S") == "it's"


def test_small_letters_stay_but_known_abbreviations():
    assert acronyms.speak_word("McDonald's") == "mcdonald's"
    assert acronyms.speak_word("html") == "H T M L"
    assert acronyms.speak_word("PhD") == "P H D"
    assert acronyms.speak_word("Dept") == "department"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("B2B", "B two B"),
        ("A380", "A three eighty"),
        ("MP3s", "M P threes"),
        ("iPhone15", "iphone fifteen"),
        ("myFile", "my file"),
        ("covid19", "covid nineteen"),
        ("x12345", "X one two three four five"),
    ],
)
def test_letters_and_digits(written, spoken):
    assert acronyms.speak_mixed(written) == spoken

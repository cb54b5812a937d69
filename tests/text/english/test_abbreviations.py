"""The tables of abbreviations do not contradict each other."""

from tfvoice.text.english import abbreviations
from tfvoice.text.normalize import normalize


def test_spoken_words_are_words():
    tables = (
        abbreviations.TITLES,
        abbreviations.STREETS,
        abbreviations.NUMBERED,
        abbreviations.LEADING_ABBREVIATIONS,
        abbreviations.CLOSING_ABBREVIATIONS,
        abbreviations.UNDOTTED,
        abbreviations.MIXED,
        abbreviations.MONTHS,
        abbreviations.WEEKDAYS,
        abbreviations.STATES,
    )
    for table in tables:
        for written, spoken in table.items():
            words = spoken.lower().split()
            assert list(normalize(" ".join(words)).words) == words, written


def test_an_acronym_is_spelled_or_spoken():
    assert not abbreviations.SPOKEN_ACRONYMS & abbreviations.SPELLED_ACRONYMS
    assert not abbreviations.SHORT_WORDS & abbreviations.SPELLED_ACRONYMS
    assert abbreviations.ALSO_WORDS <= abbreviations.SPELLED_ACRONYMS
    assert not set(abbreviations.STRESSED) & abbreviations.SPELLED_ACRONYMS


def test_there_are_twelve_months_seven_days_and_fifty_states():
    assert len(abbreviations.MONTH_NAMES) == 12
    assert len(set(abbreviations.WEEKDAYS.values())) == 7
    assert len(abbreviations.STATES) == 50


def test_word_set():
    assert abbreviations.word_set(" a b\n b ") == {"a", "b"}

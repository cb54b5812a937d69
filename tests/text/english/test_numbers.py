"""Numbers as words: every number has its own, and cardinals, ordinals and Roman numerals agree."""

import itertools

import pytest

from tfvoice.text.english import numbers


def test_cardinals_are_all_different():
    spoken = [numbers.cardinal(str(number)) for number in range(20_000)]
    assert len(set(spoken)) == len(spoken)
    assert {len(words) for words in (numbers.cardinal(str(10**power)).split() for power in range(36))} == {1, 2, 3}


def test_a_large_number_names_all_its_scales():
    assert (
        numbers.cardinal("1002003004005006")
        == "one quadrillion two trillion three billion four million five thousand six"
    )


def test_a_number_beyond_the_scales_is_read_by_its_digits():
    assert numbers.cardinal("1" * numbers.MAX_DIGITS).startswith("one hundred eleven decillion")
    assert numbers.cardinal("12" * numbers.MAX_DIGITS).split() == ["one", "two"] * numbers.MAX_DIGITS
    assert len(numbers.cardinal("7" * 5000).split()) == 5000


def test_zeros_in_front_do_not_count():
    assert numbers.cardinal("007") == "seven"
    assert numbers.cardinal("000") == "zero"
    assert numbers.digits("007") == "zero zero seven"


def test_only_the_last_word_of_an_ordinal_differs():
    for number in range(1, 2000):
        assert numbers.ordinal(str(number)).split()[:-1] == numbers.cardinal(str(number)).split()[:-1]
        assert numbers.ordinal(str(number)).endswith(("first", "second", "third", "th"))
    assert numbers.ordinal("12") == "twelfth"
    assert numbers.ordinal("40") == "fortieth"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1984", "nineteen eighty four"),
        ("1900", "nineteen hundred"),
        ("1905", "nineteen oh five"),
        ("2000", "two thousand"),
        ("2005", "two thousand five"),
        ("2010", "twenty ten"),
        ("1066", "ten sixty six"),
        ("1002", "one thousand two"),
        ("476", "four seventy six"),
        ("79", "seventy nine"),
        ("0", "zero"),
    ],
)
def test_years(written, spoken):
    assert numbers.year(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("5", "five"),
        ("66", "sixty six"),
        ("101", "one oh one"),
        ("300", "three hundred"),
        ("1549", "fifteen forty nine"),
        ("2000", "two thousand"),
        ("90210", "nine zero two one zero"),
        ("007", "zero zero seven"),
    ],
)
def test_pairs(written, spoken):
    assert numbers.pairs(written) == spoken


def test_fractions_and_plurals():
    assert numbers.fraction("1", "2") == "one half"
    assert numbers.fraction("3", "2") == "three halves"
    assert numbers.fraction("3", "4") == "three quarters"
    assert numbers.fraction("2", "3") == "two thirds"
    assert numbers.fraction("1", "0") == "one over zero"
    assert numbers.fraction("120", "80") == "one hundred twenty over eighty"
    assert numbers.plural("mile per hour") == "miles per hour"
    assert numbers.plural("nineteen sixty") == "nineteen sixties"
    assert numbers.plural("inch") == "inches"


def test_roman_numerals_count():
    parts = [
        ["", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM"],
        ["", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"],
        ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"],
    ]
    written = ["".join(numeral) for numeral in itertools.product(*parts)]
    assert [numbers.roman(numeral) for numeral in written[1:]] == list(range(1, 1000))
    assert all(numbers.roman(word) is None for word in ("", "IIX", "IIII", "VV", "A", "iv", "MMMM"))

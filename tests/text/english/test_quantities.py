"""Amounts, with what may follow them."""

import pytest

from tfvoice.text.english import quantities
from tfvoice.text.normalize import normalize


def test_numbers_as_they_are_written():
    assert quantities.speak_number("1,024.50") == "one thousand twenty four point five zero"
    assert quantities.speak_number(".5") == "point five"
    assert quantities.speak_number("05") == "zero five"


def test_powers():
    assert quantities.speak_power("2") == "squared"
    assert quantities.speak_power("⁻³") == "to the power of minus three"


def test_a_reading_ends_with_what_it_has_read():
    assert quantities.read_quantity("5 km away", 0) == ("five kilometers", 4)
    assert quantities.read_quantity("5 in 10", 0) == ("five", 1)
    assert quantities.read_quantity("$1.2 million,", 0) == ("one point two million dollars", 12)
    assert quantities.read_quantity("4K", 0) is None
    assert quantities.read_quantity("km", 0) is None


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("in 1984 workers left", "in nineteen eighty four workers left"),
        ("1984 workers left", "one thousand nine hundred eighty four workers left"),
        ("1,984 left", "one thousand nine hundred eighty four left"),
        ("room 1984", "room nineteen eighty four"),
        ("code 1984", "code one nine eight four"),
        ("1984 km", "one thousand nine hundred eighty four kilometers"),
        ("Python 3.10", "python three point ten"),
        ("it is 3.10", "it is three point one zero"),
        ("305 Oak Street", "three oh five oak street"),
        ("305 oaks", "three hundred five oaks"),
    ],
)
def test_context_decides(written, spoken):
    assert normalize(written).spoken == spoken

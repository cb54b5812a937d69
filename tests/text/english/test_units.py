"""Units and currencies: symbols stand for words that stay as they are."""

from tfvoice.text.english import units
from tfvoice.text.normalize import normalize


def test_names_are_words():
    for unit in [*units.UNITS.values(), *units.ATTACHED.values(), *(c.unit for c in units.CURRENCIES.values())]:
        for name in unit:
            words = name.lower().split()
            assert list(normalize(" ".join(words)).words) == words


def test_case_and_prefix_count():
    spoken = {symbol: units.UNITS[symbol].one for symbol in ("MB", "Mb", "mW", "MW", "kHz", "km²", "m/s"[:1])}
    assert spoken == {
        "MB": "megabyte",
        "Mb": "megabit",
        "mW": "milliwatt",
        "MW": "megawatt",
        "kHz": "kilohertz",
        "km²": "square kilometer",
        "m": "meter",
    }


def test_every_unit_is_read_after_a_number():
    for symbol, unit in units.UNITS.items():
        assert normalize(f"7 {symbol}").words == ("seven", *unit.several.lower().split()), symbol
        assert normalize(f"1 {symbol}").words == ("one", *unit.one.lower().split()), symbol


def test_every_currency_is_read_before_a_number():
    for symbol, currency in {**units.CURRENCIES, **units.CURRENCY_CODES}.items():
        assert normalize(f"{symbol}7").words == ("seven", *currency.unit.several.lower().split()), symbol


def test_irregular_plurals():
    assert units.UNITS["ft"].several == "feet"
    assert units.UNITS["kHz"].several == "kilohertz"
    assert units.UNITS["mph"].several == "miles per hour"

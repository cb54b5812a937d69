"""Symbols of units and currencies, and their words.

A unit is written after a number ("5 km", "60 mph"); its case matters ("MB" and "Mb"). What is also an ordinary word or
a letter is only taken for a unit where it touches the number, "5in".
"""

from typing import NamedTuple

from tfvoice.text.english.abbreviations import word_set
from tfvoice.text.english.numbers import plural


class Unit(NamedTuple):
    """A unit or a currency: the words for one and for several."""

    one: str
    several: str


class Currency(NamedTuple):
    """A currency; `cent` is its hundredth, None where amounts are read as decimals."""

    unit: Unit
    cent: Unit | None


def _unit(one: str, several: str = "") -> Unit:
    return Unit(one, several or plural(one))


_METRIC = {
    "m": "meter",
    "g": "gram",
    "l": "liter",
    "L": "liter",
    "W": "watt",
    "Wh": "watt hour",
    "V": "volt",
    "A": "amp",
    "Ah": "amp hour",
    "Hz": "hertz",
    "J": "joule",
    "cal": "calorie",
    "Pa": "pascal",
    "s": "second",
    "Ω": "ohm",
    "mol": "mole",
    "N": "newton",
    "bar": "bar",
    "F": "farad",
}
_PREFIXES = {"k": "kilo", "M": "mega", "G": "giga", "T": "tera", "c": "centi", "d": "deci", "m": "milli", "h": "hecto"}
_PREFIXES |= {"μ": "micro", "n": "nano"}
# Which prefixes are written with which unit; all others would be noise ("dW", "hs").
_PREFIXED = {
    "m": "kcdmμn",
    "g": "kmμn",
    "l": "cdmμh",
    "L": "cdmμh",
    "mol": "mμn",
    "N": "kM",
    "bar": "m",
    "W": "kMGTm",
    "Wh": "kMGT",
    "V": "kmM",
    "A": "mk",
    "Ah": "m",
    "Hz": "kMGT",
    "J": "kM",
    "cal": "k",
    "Pa": "khM",
    "s": "mμn",
    "Ω": "kM",
    "F": "μn",
}
_DATA = {"B": "byte", "b": "bit"}
_DATA_PREFIXES = {"K": "kilo", "k": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta"}
_OTHER = {
    "mph": _unit("mile per hour"),
    "kph": _unit("kilometer per hour"),
    "kmh": _unit("kilometer per hour"),
    "mpg": _unit("mile per gallon"),
    "rpm": _unit("revolution per minute"),
    "bpm": _unit("beat per minute"),
    "fps": _unit("frame per second"),
    "psi": _unit("pound per square inch"),
    "ft": _unit("foot", "feet"),
    "yd": _unit("yard"),
    "yds": _unit("yard"),
    "mi": _unit("mile"),
    "lb": _unit("pound"),
    "lbs": _unit("pound"),
    "oz": _unit("ounce"),
    "gal": _unit("gallon"),
    "qt": _unit("quart"),
    "pt": _unit("pint"),
    "tsp": _unit("teaspoon"),
    "tbsp": _unit("tablespoon"),
    "cc": _unit("C C", "C C"),
    "ha": _unit("hectare"),
    "hp": _unit("horsepower", "horsepower"),
    "dB": _unit("decibel"),
    "px": _unit("pixel"),
    "dpi": _unit("dot per inch"),
    "kn": _unit("knot"),
    "eV": _unit("electron volt"),
    "mmHg": _unit("millimeter of mercury", "millimeters of mercury"),
    "Mbit": _unit("megabit"),
    "Gbit": _unit("gigabit"),
    "kbit": _unit("kilobit"),
    "KiB": _unit("kibibyte"),
    "MiB": _unit("mebibyte"),
    "GiB": _unit("gibibyte"),
    "TiB": _unit("tebibyte"),
    "‱": _unit("per ten thousand", "per ten thousand"),
    "fl oz": _unit("fluid ounce"),
    "fl. oz.": _unit("fluid ounce"),
    "min": _unit("minute"),
    "mins": _unit("minute"),
    "sec": _unit("second"),
    "secs": _unit("second"),
    "h": _unit("hour"),
    "hr": _unit("hour"),
    "hrs": _unit("hour"),
    "wk": _unit("week"),
    "wks": _unit("week"),
    "mo": _unit("month"),
    "mos": _unit("month"),
    "yr": _unit("year"),
    "yrs": _unit("year"),
    "kt": _unit("knot"),
    "Kbps": _unit("kilobit per second"),
    "kbps": _unit("kilobit per second"),
    "Mbps": _unit("megabit per second"),
    "Gbps": _unit("gigabit per second"),
    "°C": _unit("degree celsius", "degrees celsius"),
    "°F": _unit("degree fahrenheit", "degrees fahrenheit"),
    "° C": _unit("degree celsius", "degrees celsius"),
    "° F": _unit("degree fahrenheit", "degrees fahrenheit"),
    "°": _unit("degree"),
    "%": _unit("percent", "percent"),
    "‰": _unit("per thousand", "per thousand"),
    "¢": _unit("cent"),
    "sq ft": _unit("square foot", "square feet"),
    "sq. ft.": _unit("square foot", "square feet"),
    "sq mi": _unit("square mile"),
    "sq km": _unit("square kilometer"),
    "sq m": _unit("square meter"),
    "cu ft": _unit("cubic foot", "cubic feet"),
    "cu. ft.": _unit("cubic foot", "cubic feet"),
    "cu in": _unit("cubic inch"),
    "cu. in.": _unit("cubic inch"),
    "cu m": _unit("cubic meter"),
    "cu. m": _unit("cubic meter"),
}
_POWERS = {"²": "square", "2": "square", "^2": "square", "³": "cubic", "3": "cubic", "^3": "cubic"}
_LENGTHS = {"m": "meter", "km": "kilometer", "cm": "centimeter", "mm": "millimeter"}

# Only where they touch the number, because they are ordinary words, letters or scales otherwise.
ATTACHED = {
    "in": _unit("inch"),
    "c": _unit("cent"),
    "st": _unit("stone", "stone"),
    "F": _unit("degree fahrenheit", "degrees fahrenheit"),
}
# Often written with a dot, which then does not end a sentence by itself.
DOTTED = word_set("st in ft yd yds mi lb lbs oz gal qt pt tsp tbsp min mins sec secs hr hrs wk wks mo mos yr yrs")


def _units() -> dict[str, Unit]:
    table = {symbol: _unit(name, name if name == "hertz" else "") for symbol, name in _METRIC.items()}
    for symbol in ("A", "F", "J", "N"):
        del table[symbol]  # "5 A students"
    for symbol, prefixes in _PREFIXED.items():
        for prefix in prefixes:
            name = _PREFIXES[prefix] + _METRIC[symbol]
            table[prefix + symbol] = _unit(name, name if symbol == "Hz" else "")
    for prefix, spoken in _DATA_PREFIXES.items():
        table |= {prefix + symbol: _unit(spoken + name) for symbol, name in _DATA.items()}
    for symbol, name in {**_LENGTHS, "ft": "foot", "in": "inch", "mi": "mile"}.items():
        for power, spoken in _POWERS.items():
            several = "feet" if symbol == "ft" else plural(name)
            table[symbol + power] = Unit(f"{spoken} {name}", f"{spoken} {several}")
    for power in _POWERS:
        if power[-1] in "²2":
            table["s" + power] = Unit("second squared", "seconds squared")
    return table | _OTHER


UNITS = _units()

_DOLLAR = _unit("dollar")
_CENT = _unit("cent")
_POUND = Currency(_unit("pound"), Unit("penny", "pence"))
_EURO = Currency(_unit("euro"), _CENT)
# Before the number.
CURRENCIES = {
    "$": Currency(_DOLLAR, _CENT),
    "US$": Currency(_unit("U S dollar"), _CENT),
    "C$": Currency(_unit("canadian dollar"), _CENT),
    "CA$": Currency(_unit("canadian dollar"), _CENT),
    "A$": Currency(_unit("australian dollar"), _CENT),
    "AU$": Currency(_unit("australian dollar"), _CENT),
    "NZ$": Currency(_unit("new zealand dollar"), _CENT),
    "HK$": Currency(_unit("hong kong dollar"), _CENT),
    "S$": Currency(_unit("singapore dollar"), _CENT),
    "£": _POUND,
    "€": _EURO,
    "¥": Currency(Unit("yen", "yen"), None),
    "R$": Currency(Unit("real", "reais"), None),
    "₹": Currency(_unit("rupee"), None),
    "₩": Currency(Unit("won", "won"), None),
    "₽": Currency(_unit("ruble"), None),
    "₺": Currency(_unit("lira"), None),
    "₪": Currency(_unit("shekel"), None),
    "₫": Currency(Unit("dong", "dong"), None),
    "฿": Currency(Unit("baht", "baht"), None),
    "₿": Currency(_unit("bitcoin"), None),
}
# Before or after the number.
CURRENCY_CODES = {
    "USD": Currency(_unit("U S dollar"), _CENT),
    "EUR": _EURO,
    "GBP": Currency(_unit("british pound"), _POUND.cent),
    "JPY": CURRENCIES["¥"],
    "CAD": CURRENCIES["C$"],
    "AUD": CURRENCIES["A$"],
    "CHF": Currency(_unit("swiss franc"), None),
    "CNY": Currency(Unit("yuan", "yuan"), None),
    "INR": Currency(_unit("indian rupee"), None),
    "BTC": CURRENCIES["₿"],
}
# After an amount of money that they touch: "$5M".
SHORT_SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mm": "million"}
SHORT_SCALES |= {"b": "billion", "B": "billion", "bn": "billion", "t": "trillion", "T": "trillion", "tn": "trillion"}

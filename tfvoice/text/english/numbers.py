"""Numbers as English words, the way most Americans read them aloud.

Every function returns words in lower case, separated by spaces, without hyphens and without "and": 105 is "one hundred
five". Which of them fits a number in a text is decided in `tfvoice.text.english.quantities`.
"""

import re

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# The short scale; each name is a thousand times the one before.
_SCALES = (
    *("-", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion"),
    *("octillion", "nonillion", "decillion"),
)
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_NUMERAL = re.compile("(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
# Longer integers have no name in the table: their digits are read one by one.
MAX_DIGITS = 3 * len(_SCALES)


def digits(text: str) -> str:
    """Digits one by one: "007" is "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in text)


def cardinal(text: str) -> str:
    """A whole number of ASCII digits; "1000000" is "one million". More than `MAX_DIGITS` digits are read one by one."""
    text = text.lstrip("0") or "0"
    if len(text) > MAX_DIGITS:
        return digits(text)
    number = int(text)
    groups = []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.append(_below_thousand(group) + (f" {scale}" if scale != "-" else ""))
    return " ".join(reversed(groups)) or _ONES[0]


def ordinal(text: str) -> str:
    """The place in an order: "22" is "twenty second"."""
    return to_ordinal(cardinal(text))


def to_ordinal(words: str) -> str:
    """Makes the last word of a cardinal an ordinal: "twenty two" becomes "twenty second"."""
    *before, last = words.split()
    last = f"{last[:-1]}ieth" if last.endswith("y") else _ORDINALS.get(last, f"{last}th")
    return " ".join([*before, last])


def year(text: str) -> str:
    """A year of one to four digits: "1984" is "nineteen eighty four", "2005" is "two thousand five"."""
    number = int(text)
    if number < 100 or number >= 10_000 or number % 1000 < 10 or 2000 <= number < 2010:
        return cardinal(text)
    return pairs(str(number))


def pairs(text: str) -> str:
    """The digits of a room, route or flight in groups: "101" is "one oh one", "747" is "seven forty seven".

    Digits after a leading zero, and five or more of them, are read one by one; full thousands as a cardinal.
    """
    if (text[0] == "0" and len(text) > 1) or len(text) > 4:
        return digits(text)
    high, low = int(text[:-2] or 0), int(text[-2:])
    if high == 0 or int(text) % 1000 == 0:
        return cardinal(text)
    if low == 0:
        return f"{_below_thousand(high)} hundred"
    return f"{_below_thousand(high)} {minutes(low)}"


def minutes(number: int) -> str:
    """A number from 1 to 99 after an hour or a century: 5 is "oh five"."""
    return f"oh {_ONES[number]}" if number < 10 else _below_thousand(number)


def plural(words: str) -> str:
    """The last word as a plural: "nineteen ninety" is "nineteen nineties", "mile per hour" keeps its "per hour"."""
    head, per, tail = words.partition(" per ")
    if head.endswith(("x", "ch", "s")):
        return f"{head}es{per}{tail}"
    if head.endswith("y") and not head.endswith(("ay", "ey", "oy")):
        return f"{head[:-1]}ies{per}{tail}"
    return f"{head}s{per}{tail}"


def fraction(numerator: str, denominator: str) -> str:
    """Two whole numbers as a fraction: "3", "4" is "three quarters", and "120", "80" is read with "over"."""
    below = int(denominator[:7])
    if below < 2 or (below > 100 and below != 1000) or (below > 12 and int(numerator[:7]) >= below):
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    part = {2: "half", 4: "quarter"}.get(below) or to_ordinal(_hundredth(below))
    if int(numerator[:7]) != 1:
        part = "halves" if part == "half" else plural(part)
    return f"{cardinal(numerator)} {part}"


def roman(text: str) -> int | None:
    """The value of a Roman numeral in capitals, from 1 to 3999; None for anything else, such as "IIX"."""
    if not _ROMAN_NUMERAL.fullmatch(text):
        return None
    values = [_ROMAN[letter] for letter in text]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def _hundredth(number: int) -> str:
    """The words of a denominator; "one" is not said in "hundredth"."""
    return {100: "hundred", 1000: "thousand"}.get(number) or _below_thousand(number)


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(_TENS[rest // 10])
        rest %= 10
    if rest:
        words.append(_ONES[rest])
    return " ".join(words)

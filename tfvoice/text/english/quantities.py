"""Numbers in a text: amounts with units and currencies, fractions, ranges, ordinals, years, and what context decides.

An amount is a whole number, a decimal or a fraction. A range of amounts, a scale ("million"), a unit and "per" another
unit may follow; money has its currency before or after it.
"""

import re
from typing import NamedTuple

from tfvoice.text.english import units
from tfvoice.text.english.abbreviations import STATES, STREET_NAMES, word_set
from tfvoice.text.english.context import next_word, previous_word
from tfvoice.text.english.numbers import cardinal, digits, fraction, minutes, ordinal, pairs, plural, year

_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
# Thousands apart by blanks, where it cannot be several numbers: "1 000 000", "12 050".
_SPACED = re.compile(
    r"(?:[1-9]\d?(?: \d{3}){2,11}|[1-9]\d{0,2}(?: \d{3}){0,5}(?: 0\d\d)(?: \d{3}){0,5})(?! ?\d|[-.,/:]\d|\w)"
)
# As in most of Europe.
_EUROPEAN = re.compile(r"([1-9]\d{0,2}(?:\.\d{3}|\s\d{3}){1,11}),(\d{1,2})(?![\d.,])")
_NUMBER = re.compile(rf"{_INTEGER}(?:\.\d+)?|\.\d+")
_VULGAR = {
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅐": "1/7", "⅑": "1/9", "⅒": "1/10", "⅓": "1/3", "⅔": "2/3", "⅕": "1/5"},
    **{"⅖": "2/5", "⅗": "3/5", "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"},
}
_PART = (
    rf"(?P<numerator>\d{{1,4}})/(?P<denominator>\d{{1,4}})(?:rds|ths|nds|th)?(?![\w/])|(?P<vulgar>[{''.join(_VULGAR)}])"
)
_FRACTION = re.compile(_PART)
_MIXED_FRACTION = re.compile(rf"(\d{{1,9}})(?:[ -](?=\d)|\s?(?=[{''.join(_VULGAR)}]))(?:{_PART})")
_RANGE = re.compile(r"(?:\s[-–—]\s|[-–—−])(?=[\d.¼½¾⅓⅔])")
_SCALE = re.compile(r"[\s-](thousand|million|billion|trillion)\b")
# "1.2m copies": of what is counted, "m" is a million.
_MILLIONS = re.compile(
    r"m(?=\s(?:people|copies|users|viewers|views|fans|jobs|homes|customers|children|women|men|shares|households|workers|"
    r"voters|barrels|tons|tonnes|subscribers|followers|downloads|passengers|visitors|tourists|years)\b)"
)
_SHORT_SCALE = re.compile(rf"\s?({'|'.join(sorted(units.SHORT_SCALES, key=len, reverse=True))})(?![A-Za-z0-9])")
_BARE_SCALES = {"M": "million", "bn": "billion", "x": "times"}
_BARE_SCALE = re.compile(rf"({'|'.join(_BARE_SCALES)})(?![A-Za-z0-9²³^]|\s?[-+=*/−]\s?[\da-z])")
_SYMBOLS = "|".join(re.escape(symbol) for symbol in sorted(units.UNITS, key=len, reverse=True))
_UNIT = re.compile(rf"(\s?|-)({_SYMBOLS})(?![A-Za-z0-9²³])(?!'[A-Za-z])")
_ATTACHED = re.compile(rf"(?:-|(?<=\d\d)|(?=in|c|st))({'|'.join(units.ATTACHED)})(?![A-Za-z0-9])(?!'[A-Za-z]|-\d|-a-)")
_INCHES = re.compile(r"\sin(?=\.\s[a-z(]|\.?[,;)]|\.?\s*$)|(?<=(?:ft|'\s)\s\d)\s?in\b|(?<=ft\s\d\d)\s?in\b")
_PER = re.compile(rf"\s?/\s?({_SYMBOLS})(?![A-Za-z0-9²³])|\s?/\s?(?=[A-Za-z]{{2}})")
_POWER = re.compile(r"\^(-?\d{1,4})(?!\d)|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_MONEY = re.compile("|".join(re.escape(symbol) for symbol in sorted(units.CURRENCIES, key=len, reverse=True)) + "")
_COMMA_CENTS = re.compile(r"(\d{1,6}),(\d\d)(?![\d,.])")
_COMPOUND = re.compile(r"-[a-z]")  # "$10-a-day"
_CODE = re.compile(rf"({'|'.join(units.CURRENCY_CODES)})\s?(?=[\d.])")
_CURRENCY_SIGNS = "".join(symbol for symbol in units.CURRENCIES if len(symbol) == 1)
_AFTER_MONEY = re.compile(rf"\s?([{_CURRENCY_SIGNS}])(?!\d)|\s({'|'.join(units.CURRENCY_CODES)})\b")
_ORDINAL = re.compile(rf"({_INTEGER})(?:(?<!1\d)(?<=1)(?:st|ST)|nd|rd|th|ND|RD|TH|(?<=11)st)(?!\w)")
_PLURAL = re.compile(r"(\d+)'?s(?!\w|'\w)")
_FEET = re.compile(
    r"(\d{1,2})'\s?(\d{1,2}(?:\.\d)?)(?:\"|'')|(\d{1,3})'(?=\s?[x×]|\s(?:tall|wide|high|long|deep|by)\b)"
)
_FEET_BY = re.compile(r"(\d{1,3})'\s?[x×]\s?(\d{1,3})'(?!\w)")
_INCH_MARK = re.compile(r"(\d{1,3}(?:\.\d+)?)\"(?!\w)")
_BY = re.compile(
    rf"({_INTEGER}(?:\.\d+)?)\s?[x×]\s?({_INTEGER}(?:\.\d+)?)(?:\s?[x×]\s?({_INTEGER}(?:\.\d+)?))?(s?)(?!\w|\.\d)"
)
_RATIO = re.compile(r"(\d{1,4}):(\d{1,3}(?:,\d{3})+|\d{1,7})(?:\.(\d{1,3}))?(?![\d:])")
_BEARING = re.compile(r"(\d{1,3}(?:\.\d+)?)°\s?([NSEW])\b")
_AIRLINER = re.compile(r"(7[0-8]7)-(\d{3})(s?)(?!\w)")
_DURATION = re.compile(r"(\d{1,3})\s?h(?:\s?(\d{1,2})\s?m(?:in)?)(?:\s?(\d{1,2})\s?s)?(?!\w)")
_COORDINATE = re.compile(r"(\d{1,3})°\s?(\d{1,2})'\s?(?:(\d{1,2}(?:\.\d+)?)(?:\"|'')\s?)?([NSEW]\b)?")
_HOUSE = re.compile(
    rf"\s(?:[NSEW]\.?\s)?(?:(?:[A-Z][a-z]{{1,20}}|\d{{1,3}}(?:st|nd|rd|th))\s){{1,3}}(?:{'|'.join(sorted(STREET_NAMES))})\b"
)
# No inches, at the start of a text or after anything but a digit.
_QUOTATION_MARK = re.compile(r'(?<!\d)"')
_IS_RESULT = re.compile(r"\s?=")

# Phrases of numbers with a reading of their own.
_PHRASES = {"24/7": "twenty four seven", "20/20": "twenty twenty", "50/50": "fifty fifty", "50-50": "fifty fifty"}
_PHRASE = re.compile(rf"({'|'.join(_PHRASES)})(?![\w/-])")
_SERVICES = frozenset({"911", "411", "311", "211"})
# Chapter and verse follow these.
_BOOKS = word_set("""
    genesis exodus leviticus numbers deuteronomy joshua judges ruth samuel kings chronicles ezra nehemiah esther job
    psalm psalms proverbs isaiah jeremiah lamentations ezekiel daniel hosea joel amos obadiah jonah micah nahum
    habakkuk zephaniah haggai zechariah malachi matthew mark luke john acts romans corinthians galatians ephesians
    ecclesiastes philippians colossians thessalonians timothy titus philemon hebrews james peter jude revelation
    """)
_NUMBERED_BOOK = re.compile(
    r"([123])(?=\s(?:Samuel|Kings|Chronicles|Corinthians|Thessalonians|Timothy|Peter|John|Maccabees)\s\d)"
)
_AIRLINERS = word_set("707 717 727 737 747 757 767 777 787")
_ARTICLES = word_set("a an the")
# A number after these is read by its digits in groups, or one by one.
_IN_PAIRS = word_set("route highway interstate hwy rte room rm apartment apt suite flight boeing bus area rfc")
_BY_DIGIT = word_set("zip code pin extension ext account id serial password dial")
_VERSIONED = word_set("version python java php ruby ios android macos ubuntu tensorflow keras chapter section")
_IN_YEAR = word_set("""
    in since by from until till during before after around circa early late mid of year spring summer autumn fall winter
    january february march april may june july august september october november december
    """)
# Small words after a number that end in s and are no plural.
_NO_PLURALS = word_set("as is was has does this his its us yes plus versus perhaps always sometimes across")
_SINGULAR_AFTER = frozenset({"a", "an"})
_NO_NOUNS = word_set("a and as at but by for from if in is into less more of off on or over per than that the to was")
_DIRECTIONS = {"N": "north", "S": "south", "E": "east", "W": "west"}


class _Amount(NamedTuple):
    """A number in a text.

    Attributes:
      written: without anything after it.
      spoken: its words.
      end: where it ends.
      one: whether a unit after it is singular.
    """

    written: str
    spoken: str
    end: int
    one: bool = False


def read_quantity(text: str, start: int) -> tuple[str, int] | None:
    """Reads what begins with a digit, a vulgar fraction or a currency.

    Args:
      text: folded.
      start: where it begins.

    Returns:
      what is said, and where it ends in the text; None if there is no number.
    """
    money = _read_money(text, start)
    if money:
        return money
    for pattern, speak in _RULES:
        match = pattern.match(text, start)
        spoken = match and speak(match)
        if spoken:
            return spoken, match.end()
    return _read_by(text, start) or _read_amounts(text, start)


def speak_number(written: str) -> str:
    """A whole number or decimal as it is written: "1,024.5" is "one thousand twenty four point five"."""
    whole, point, decimals = written.replace(",", "").partition(".")
    words = [] if not whole else [digits(whole)] if whole[0] == "0" and len(whole) > 1 else [cardinal(whole)]
    return " ".join([*words, "point", digits(decimals)] if point else words)


def speak_power(written: str) -> str:
    """An exponent: "2" is "squared", "6" is "to the power of six"."""
    exponent = written.translate(_SUPERSCRIPTS)
    short = {"2": "squared", "3": "cubed"}.get(exponent)
    sign = {"-": "minus ", "+": "plus "}.get(exponent[0], "")
    return short or f"to the power of {sign}{cardinal(exponent.lstrip('+-') or '0')}"


def _amount(text: str, start: int) -> _Amount | None:
    """The number at a place: a mixed fraction, a fraction, or digits."""
    match = _MIXED_FRACTION.match(text, start)
    if match and (match["vulgar"] or int(match["numerator"]) < int(match["denominator"])):
        return _Amount(match[0], f"{cardinal(match[1])} and {_speak_fraction(match)}", match.end())
    match = _FRACTION.match(text, start)
    if match:
        improper = not match["vulgar"] and int(match["numerator"]) > int(match["denominator"])
        return _Amount(match[0], _speak_fraction(match), match.end(), one=not improper)
    match = _SPACED.match(text, start)
    if match:
        written = match[0].replace(" ", "")
        return _Amount(written, speak_number(written), match.end())
    match = _EUROPEAN.match(text, start)
    if match:
        written = re.sub(r"\D", "", match[1]) + "." + match[2]
        return _Amount(written, speak_number(written), match.end())
    match = _NUMBER.match(text, start)
    return match and _Amount(match[0], speak_number(match[0]), match.end(), one=match[0] == "1")


def _speak_fraction(match: re.Match) -> str:
    numerator, denominator = (
        _VULGAR[match["vulgar"]].split("/") if match["vulgar"] else match.group("numerator", "denominator")
    )
    if denominator == "10" and not match["vulgar"]:
        return f"{cardinal(numerator)} out of ten"
    return fraction(numerator, denominator)


def _read_amounts(text: str, start: int) -> tuple[str, int] | None:
    """An amount or a range of two, with a scale, a unit or a currency after it."""
    first = _amount(text, start)
    if not first:
        return None
    second = _second_amount(text, first.end)
    last = second or first
    end = last.end
    scale = _SCALE.match(text, end)
    spoken = f"{first.spoken} to {second.spoken}" if second else first.spoken
    one = last.one and not scale
    if scale:
        spoken, end = f"{spoken} {scale[1]}", scale.end()
    millions = _MILLIONS.match(text, end)
    if millions:
        return f"{spoken} million", millions.end()
    unit = _read_unit(text, end, one or _is_adjective_from(text, start, end))
    if unit:
        return f"{spoken} {unit[0]}", unit[1]
    if (
        (last.written[-1] in _VULGAR or "/" in last.written)
        and text[end : end + 1] == '"'
        and not _is_quoted(text, start)
    ):
        inch = units.ATTACHED["in"]
        return f"{spoken} {inch.one if one else inch.several}", end + 1
    if scale:
        return spoken, end
    power = _POWER.match(text, end)
    if power:
        return f"{spoken} {speak_power(power[1] or power[2])}", power.end()
    short = _BARE_SCALE.match(text, end)
    if short:
        return f"{spoken} {_BARE_SCALES[short[1]]}", short.end()
    if text[end : end + 1].isalpha() and last.written.isdecimal():
        return None
    return _bare(text, start, first, second), end


def _second_amount(text: str, end: int) -> _Amount | None:
    """The other end of a range; None where there is none, or where the sign is a minus ("5 - 3 = 2")."""
    sign = _RANGE.match(text, end)
    second = sign and _amount(text, sign.end())
    if not second or _IS_RESULT.match(text, second.end):
        return None
    return second


def _is_adjective_from(text: str, start: int, end: int) -> bool:
    """Whether an amount and its unit describe a noun, so that the unit is singular: "a 5 km run", "5-km"."""
    if text[end : end + 1] == "-":
        return True
    return previous_word(text, start).lower() in _SINGULAR_AFTER and text[start - 1 : start].isspace()


def _read_unit(text: str, end: int, one: bool) -> tuple[str, int] | None:
    """A unit after an amount, with what it is "per"."""
    match = _UNIT.match(text, end)
    unit = match and units.UNITS[match[2]]
    symbol = match and match[2]
    if symbol == "s" and not match[1] and re.search(r"-\d{3,}$|\d{4}$", text[max(0, end - 8) : end]):
        return None  # "737-800s"
    if match and match[1] == "-" and not symbol.isalpha():
        return None
    if not match:
        match = _ATTACHED.match(text, end) or _INCHES.match(text, end)
        if match:
            symbol = match[0].strip("- ")
            unit = units.ATTACHED[symbol]
    if not unit:
        return _read_code(text, end, one)
    spoken, end = _with_per(text, unit.one if one else unit.several, match.end())
    if symbol.endswith("."):
        end -= 1
    if (symbol in units.DOTTED or symbol.endswith(".")) and re.match(r"\.[\s)]*[a-z0-9,;(]", text[end : end + 8]):
        end += 1
    return spoken, end


def _read_code(text: str, end: int, one: bool) -> tuple[str, int] | None:
    """A currency after an amount."""
    match = _AFTER_MONEY.match(text, end)
    if not match:
        return None
    unit = (units.CURRENCIES.get(match[1]) or units.CURRENCY_CODES[match[2]]).unit
    return _with_per(text, unit.one if one else unit.several, match.end())


def _with_per(text: str, spoken: str, end: int) -> tuple[str, int]:
    """A unit with what it is per: "/h" after kilometers, "/month" after dollars."""
    per = _PER.match(text, end)
    if not per:
        return spoken, end
    return (f"{spoken} per {units.UNITS[per[1]].one}" if per[1] else f"{spoken} per"), per.end()


def _read_money(text: str, start: int) -> tuple[str, int] | None:
    """A currency before an amount: "$3.50", "£1.2 million", "USD 5", "$5-10"."""
    symbol = _MONEY.match(text, start)
    code = None if symbol else _CODE.match(text, start)
    match = symbol or code
    if not match:
        return None
    currency = units.CURRENCIES[symbol[0]] if symbol else units.CURRENCY_CODES[code[1]]
    begin = match.end()
    minus = text[begin : begin + 1] in "-−" and text[begin + 1 : begin + 2].isdecimal()
    begin += minus + (text[begin : begin + 1] == " ")
    comma = _COMMA_CENTS.match(text, begin)
    first = _Amount(f"{comma[1]}.{comma[2]}", "", comma.end()) if comma else _amount(text, begin)
    if not first:
        return None
    sign = "minus " if minus else ""
    second = _second_amount(text, first.end)
    end = second.end if second else first.end
    scale = _SCALE.match(text, end) or _SHORT_SCALE.match(text, end)
    after = scale.end() if scale else end
    adjective = bool(_COMPOUND.match(text, after)) or (
        previous_word(text, start).lower() in _SINGULAR_AFTER and _is_noun(next_word(text, after))
    )
    if scale:
        end = scale.end()
    scale_word = scale and units.SHORT_SCALES.get(scale[1], scale[1])
    return _with_per(text, sign + _speak_money(currency, first, second, scale_word, adjective), end)


def _speak_money(
    currency: units.Currency, first: _Amount, second: _Amount | None, scale: str | None, adjective: bool
) -> str:
    last = second or first
    unit = currency.unit.one if adjective or (last.one and not scale) else currency.unit.several
    if second or scale:
        amount = f"{first.spoken} to {second.spoken}" if second else first.spoken
        return f"{amount} {scale} {unit}" if scale else f"{amount} {unit}"
    whole, point, cents = first.written.replace(",", "").partition(".")
    if not point or not currency.cent or len(cents) != 2:
        return f"{first.spoken} {unit}"
    major, minor = int(whole[:9] or 0), int(cents)
    unit = currency.unit.one if adjective or major == 1 else currency.unit.several
    hundredths = f"{cardinal(cents)} {currency.cent.one if minor == 1 else currency.cent.several}"
    if major and minor:
        return f"{cardinal(whole)} {unit} and {hundredths}"
    return hundredths if minor else f"{cardinal(whole or '0')} {unit}"


def _is_noun(word: str) -> bool:
    return word.islower() and word not in _NO_NOUNS


def _bare(text: str, start: int, first: _Amount, second: _Amount | None) -> str:
    """Numbers without a unit: their context tells years, routes, codes and houses from counts."""
    end = second.end if second else first.end
    before = previous_word(text, start).lower()
    spoken = _in_context(text, start, end, first, before)
    if not second:
        return spoken
    return f"{spoken} to {_in_context(text, start, end, second, 'in' if spoken != first.spoken else before)}"


def _in_context(text: str, start: int, end: int, amount: _Amount, before: str) -> str:
    written = amount.written
    if not written.isdecimal():
        if before in _VERSIONED and re.fullmatch(r"\d{1,4}\.\d{1,4}", written):
            return " point ".join(cardinal(part) for part in written.split("."))
        return amount.spoken
    if (before in _BY_DIGIT and len(written) > 2) or (len(written) == 5 and before.upper() in STATES):
        return digits(written)
    if (
        before in _IN_PAIRS
        or (before == "us" and text[start - 1] == "-")
        or (2 < len(written) < 5 and _HOUSE.match(text, end))
    ):
        return pairs(written)
    if written in _SERVICES and not next_word(text, end).islower():
        return digits(written)
    if written in _AIRLINERS and (before in _ARTICLES or not next_word(text, end).islower()):
        return pairs(written)
    return year(written) if _is_year(text, end, written, before) else amount.spoken


def _is_year(text: str, end: int, written: str, before: str) -> bool:
    """Whether four digits are read as a year is, which is also how most read 1100 to 2099 before other nouns."""
    if before == "year" and len(written) == 4:
        return True
    if len(written) != 4 or written[0] not in "12" or int(written) > 2099:
        return False
    if before in _IN_YEAR:
        return int(written) > 1000
    after = next_word(text, end)
    counted = after.islower() and after.endswith("s") and after not in _NO_PLURALS and text[end : end + 1] == " "
    return int(written) >= 1100 and (not counted or written.endswith("00"))


def _ordinal(match: re.Match) -> str:
    return ordinal(match[1].replace(",", ""))


def _plural(match: re.Match) -> str:
    if len(match[1]) == 1 and "'" not in match[0]:
        return ""  # seconds
    return plural(pairs(match[1])) if len(match[1]) < 5 else ""


def _feet(match: re.Match) -> str:
    feet, inches, only_feet = match.groups()
    if only_feet:
        return f"{cardinal(only_feet)} {units.UNITS['ft'].one if only_feet == '1' else units.UNITS['ft'].several}"
    unit = units.UNITS["ft"]
    inch = units.ATTACHED["in"]
    return (
        f"{cardinal(feet)} {unit.one if feet == '1' else unit.several} "
        f"{speak_number(inches)} {inch.one if inches == '1' else inch.several}"
    )


def _inch_mark(match: re.Match) -> str:
    inch = units.ATTACHED["in"]
    one = match[1] == "1" or _is_adjective_from(match.string, match.start(), match.end())
    return (
        ""
        if _is_quoted(match.string, match.start())
        else f"{speak_number(match[1])} {inch.one if one else inch.several}"
    )


def _is_quoted(text: str, start: int) -> bool:
    """Whether a quotation mark is open at a place, so that the next one closes it and means no inches."""
    opened = False
    for mark in _QUOTATION_MARK.finditer(text, max(0, start - 300), start):
        opened = text[mark.start() - 1 : mark.start()].strip("([{-—") in ("", " ", "\n", "\t")
    return opened


def _ratio(match: re.Match) -> str:
    first, second, decimals = match[1], match[2].replace(",", ""), match[3]
    if previous_word(match.string, match.start()).lower() in _BOOKS and not decimals:
        return f"{cardinal(first)} {cardinal(second)}"
    if len(second) == 2 and (int(first) > 24 or decimals) and 0 < int(second) < 60:
        duration = f"{cardinal(first)} {minutes(int(second))}"
        return f"{duration} point {digits(decimals)}" if decimals else duration
    return f"{cardinal(first)} to {speak_number(second + '.' + decimals) if decimals else cardinal(second)}"


def _bearing(match: re.Match) -> str:
    return f"{speak_number(match[1])} degree{'s' * (match[1] != '1')} {_DIRECTIONS[match[2]]}"


def _airliner(match: re.Match) -> str:
    before = previous_word(match.string, match.start()).lower()
    if before != "boeing" and before not in _ARTICLES:
        return ""
    spoken = f"{pairs(match[1])} {pairs(match[2])}"
    return plural(spoken) if match[3] else spoken


def _duration(match: re.Match) -> str:
    """Hours, minutes and seconds, in which "m" is no meter: "1h 45m"."""
    words = [
        f"{cardinal(amount)} {name}{'s' * (amount != '1')}"
        for amount, name in zip(match.groups(), ("hour", "minute", "second"), strict=True)
        if amount
    ]
    return " ".join(words)


def _coordinate(match: re.Match) -> str:
    degrees, arc_minutes, seconds, direction = match.groups()
    words = [f"{cardinal(degrees)} degree{'s' * (degrees != '1')} {cardinal(arc_minutes)} minutes"]
    if seconds:
        words.append(f"{speak_number(seconds)} seconds")
    if direction:
        words.append(_DIRECTIONS[direction])
    return " ".join(words)


def _read_by(text: str, start: int) -> tuple[str, int] | None:
    """Sides of a rectangle, "3 x 4 m", or a product, "3 × 4 = 12"."""
    match = _BY.match(text, start)
    if not match:
        return None
    joint = " times " if _IS_RESULT.match(text, match.end()) else " by "
    sides, several = list(filter(None, match.groups()[:3])), match[4]
    spoken = joint.join(pairs(side) if side.isdecimal() and len(side) < 5 else speak_number(side) for side in sides)
    unit = _read_unit(text, match.end(), False)
    if several:
        return plural(spoken), match.end()
    return (f"{spoken} {unit[0]}", unit[1]) if unit else (spoken, match.end())


_RULES = (
    (_PHRASE, lambda match: _PHRASES[match[1]]),
    (_ORDINAL, _ordinal),
    (_PLURAL, _plural),
    (_FEET_BY, lambda match: f"{cardinal(match[1])} feet by {cardinal(match[2])} feet"),
    (_FEET, _feet),
    (_INCH_MARK, _inch_mark),
    (_RATIO, _ratio),
    (_COORDINATE, _coordinate),
    (_BEARING, _bearing),
    (_AIRLINER, _airliner),
    (_DURATION, _duration),
    (_NUMBERED_BOOK, lambda match: ordinal(match[1])),
)

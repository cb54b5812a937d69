"""Dates, times of day, decades and eras.

A pattern that looks like a date and is none, such as 13/45/2026, is left to the other rules.
"""

import re

from tfvoice.text.english import abbreviations, context
from tfvoice.text.english.numbers import cardinal, minutes, ordinal, plural, year

MONTH = "|".join(
    sorted(
        [
            spelled
            for name in (*abbreviations.MONTHS, *abbreviations.MONTH_NAMES)
            for spelled in (name.title(), name.upper())
        ],
        key=len,
        reverse=True,
    )
)
_WEEKDAY = "|".join(sorted(abbreviations.WEEKDAYS, key=len, reverse=True))
DAY = "|".join(
    [*abbreviations.WEEKDAYS, *(f"{name.title()}s?" for name in dict.fromkeys(abbreviations.WEEKDAYS.values()))]
)
_END = r"(?![\w/]|[.,:-]\d)"
_ISO_DATE = re.compile(rf"(\d{{4}})([-/])(\d\d)\2(\d\d)(?:(?:T(?=\d\d:\d\d))|{_END})")
_NUMERIC_DATE = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2(\d{{4}}|\d\d){_END}")
_MONTH_AND_DAY = re.compile(rf"(\d{{1,2}})/(\d{{1,2}}){_END}")
_MONTH_DATE = re.compile(
    rf"({MONTH})\b\.?(?:\s+|-(?=\d{{1,2}}-[12]))(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-–]\s?(\d{{1,2}})(?:st|nd|rd|th)?)?"
    rf"(?:(?:,?\s+|-)([12]\d{{3}})(?![\d:,]\d|\w))?(?![\w:/]|[.,]\d)"
)
_MONTH_RANGE = re.compile(rf"({MONTH})\.?\s?[-–]\s?(?=(?:{MONTH})\b)")
_MONTH_YEAR = re.compile(rf"({MONTH})\b\.?,?\s+([12]\d{{3}})(?!\w|[.,]\d)")
_DAY_MONTH = re.compile(
    rf"(\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-–]\s?(\d{{1,2}})(?:st|nd|rd|th)?)?[\s-](?:of\s)?({MONTH})\b"
    rf"(?:(?:\.?,?\s|-)([12]\d{{3}})(?!\w|[.,]\d))?"
)
_WEEKDAY_DATE = re.compile(
    rf"({_WEEKDAY})\b(?:\.(?=,|\s+(?:[\da-z]|(?:{MONTH})\b))|(?=,?\s+(?:(?:{MONTH})\b|\d))|(?<!Sun)(?=\.))"
)
_WEEKDAY_RANGE = re.compile(rf"({DAY})\b\.?\s?[-–]\s?({DAY})\b(?!-)")
_MERIDIEM = r"\s?([AaPp])(?:\.\s?[Mm]\b|[Mm]\b)"
_CLOCK = re.compile(
    rf"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:\.(\d{{1,6}}))?(?:{_MERIDIEM}|([ap])\b)?(Z\b|\s?(?:hrs|h)\b)?"
    r"(?![\d:]|[A-Za-z])"
)
_DOTTED_CLOCK = re.compile(rf"(1[0-2]|0?[1-9])\.([0-5]\d){_MERIDIEM}")
_ZONE = re.compile(r"(UTC|GMT)\s?([+\-−–])\s?(\d{1,2})(?::?([0-5]\d))?(?!\w)")
_FOUR_DIGITS = re.compile(r"(0\d)([0-5]\d)\s?(?:hrs|hours|h)\b")
_HOUR = re.compile(rf"(1[0-2]|0?[1-9]){_MERIDIEM}")
_DECADE = re.compile(r"'?(\d0|[12]\d\d0)'?s(?!\w|'\w)")
_SHORT_YEAR = re.compile(r"'(\d\d)(?![\w'])")
_ERA = re.compile(r"(\d{1,4})\s?(B\.?C\.?E|B\.?C|A\.?D|C\.?E)(?![A-Za-z])")
_AFTER_ERA = re.compile(r"(?:A\.?D)\.?\s(\d{1,4})(?![\d:,]\d|\w)")
_BEFORE_DATES = abbreviations.word_set("on until till by since before after dated from due")


def read_date(text: str, start: int) -> tuple[str, int] | None:
    """Reads a date, a time of day, a decade or an era.

    Args:
      text: folded.
      start: where it begins.

    Returns:
      what is said, and where it ends in the text; None if there is none.
    """
    for pattern, speak in _RULES[text[start].isalpha()]:
        match = pattern.match(text, start)
        spoken = match and speak(match)
        if spoken:
            return spoken, _end(match)
    return None


def _end(match: re.Match) -> int:
    """The end of a match, with the last dot of "p.m." or "Sept." unless it ends the sentence."""
    end = match.end()
    if match.string[end : end + 1] == "." and (
        match[0][-2:-1] == "." or match[0].endswith(tuple(abbreviations.MONTHS))
    ):
        return end if context.ends_sentence(match.string, end) else end + 1
    return end


def _iso_date(match: re.Match) -> str:
    return _month_day_year(match[3], match[4], match[1])


def _numeric_date(match: re.Match) -> str:
    month, separator, day, written_year = match.groups()
    if separator != "/" and len(written_year) == 2:
        return ""
    if separator == "." or (int(month) > 12 >= int(day)):
        month, day = day, month
    return _month_day_year(month, day, written_year)


def _month_and_day(match: re.Match) -> str:
    if match[0] == "9/11":
        return "nine eleven"
    if context.previous_word(match.string, match.start()).lower() not in _BEFORE_DATES:
        return ""
    return _month_day_year(match[1], match[2], "")


def _month_day_year(month: str, day: str, written_year: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return ""
    return f"{abbreviations.MONTH_NAMES[int(month) - 1]} {ordinal(day)}{_year(written_year)}"


def _year(written: str | None) -> str:
    """A year after a day; two digits are read as they stand: "05" is "oh five"."""
    if not written:
        return ""
    if len(written) == 2:
        return " zero zero" if written == "00" else f" {minutes(int(written))}"
    return f" {year(written)}"


def _month(written: str) -> str:
    return abbreviations.MONTHS.get(written.title(), written.lower())


def _month_date(match: re.Match) -> str:
    month, day, last_day, written_year = match.groups()
    if not 1 <= int(day) <= 31:
        return ""
    until = f" to {ordinal(last_day)}" if last_day else ""
    return f"{_month(month)} {ordinal(day)}{until}{_year(written_year)}"


def _month_year(match: re.Match) -> str:
    return f"{_month(match[1])}{_year(match[2])}"


def _day_month(match: re.Match) -> str:
    day, last_day, month, written_year = match.groups()
    if not 1 <= int(day) <= 31 or (month == "May" and match.string[match.end() : match.end() + 2] == " I"):
        return ""
    article = "" if context.previous_word(match.string, match.start()).lower() == "the" else "the "
    until = f" to the {ordinal(last_day)}" if last_day else ""
    return f"{article}{ordinal(day)}{until} of {_month(month)}{_year(written_year)}"


def _month_range(match: re.Match) -> str:
    return f"{_month(match[1])} to"


def _weekday(match: re.Match) -> str:
    return abbreviations.WEEKDAYS[match[1]]


def _weekday_range(match: re.Match) -> str:
    first, last = (abbreviations.WEEKDAYS.get(day, day.lower()) for day in match.groups())
    return f"{first} to {last}"


def _zone(match: re.Match) -> str:
    zone, sign, hours, rest = match.groups()
    words = [*zone, "plus" if sign == "+" else "minus", cardinal(hours)]
    return " ".join([*words, minutes(int(rest))] if rest and int(rest) else words)


def _dotted_clock(match: re.Match) -> str:
    hour, minute, half = match.groups()
    return " ".join(filter(None, [cardinal(hour), int(minute) and minutes(int(minute)), f"{half.upper()} M"]))


def _four_digits(match: re.Match) -> str:
    hour, minute = match.groups()
    return f"zero {cardinal(hour)} {'hundred' if minute == '00' else minutes(int(minute))} hours"


def _clock(match: re.Match) -> str:
    hour, minute, second, tenths, half, short_half, suffix = match.groups()
    half = half or short_half
    words = [cardinal(hour)]
    if int(minute):
        words.append(minutes(int(minute)))
    elif second:
        words.append("zero zero" if int(second) else "o'clock")
    elif suffix and suffix != "Z":
        words.append("hundred")
    elif not half:
        words = _full_hour(int(hour))
    if second and int(second):
        words.append(minutes(int(second)))
    if tenths:
        words.append("point " + " ".join(cardinal(digit) for digit in tenths))
    if half:
        words.append(f"{half.upper()} M")
    if suffix:
        words.append("U T C" if suffix == "Z" else "hours")
    return " ".join(words)


def _full_hour(hour: int) -> list[str]:
    if hour in (0, 24):
        return ["midnight"]
    return [cardinal(str(hour)), "o'clock" if hour <= 12 else "hundred"]


def _hour(match: re.Match) -> str:
    return f"{cardinal(match[1])} {match[2].upper()} M"


def _decade(match: re.Match) -> str:
    if match[1] in ("00", "10"):
        return "" if match[1] == "10" else "two thousands"
    return plural(year(match[1]))


def _short_year(match: re.Match) -> str:
    return "zero zero" if match[1] == "00" else minutes(int(match[1]))


def _era(match: re.Match) -> str:
    return f"{year(match[1])} {' '.join(match[2].replace('.', ''))}"


def _after_era(match: re.Match) -> str:
    return f"A D {year(match[1])}"


# By whether they begin with a letter; the first that fits is taken.
_RULES = {
    True: (
        (_MONTH_DATE, _month_date),
        (_MONTH_YEAR, _month_year),
        (_MONTH_RANGE, _month_range),
        (_WEEKDAY_RANGE, _weekday_range),
        (_WEEKDAY_DATE, _weekday),
        (_ZONE, _zone),
        (_AFTER_ERA, _after_era),
    ),
    False: (
        (_ISO_DATE, _iso_date),
        (_NUMERIC_DATE, _numeric_date),
        (_MONTH_AND_DAY, _month_and_day),
        (_DAY_MONTH, _day_month),
        (_CLOCK, _clock),
        (_DOTTED_CLOCK, _dotted_clock),
        (_FOUR_DIGITS, _four_digits),
        (_HOUR, _hour),
        (_DECADE, _decade),
        (_SHORT_YEAR, _short_year),
        (_ERA, _era),
    ),
}

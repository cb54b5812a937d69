"""Words of letters: abbreviations, initials, Roman numerals, and ordinary words by their case."""

import re

from tfvoice.text.english import abbreviations, acronyms, context
from tfvoice.text.english.numbers import cardinal, ordinal, roman, year

_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")
_DOTTED = re.compile(r"((?:[A-Za-z]{1,3}\.){1,8}[A-Za-z]{1,3})(?![A-Za-z0-9@])")
# No article stands before these.
_LETTER_A = re.compile(r"A(?:[-–][A-Za-z0-9]|\+|\s[+=]|[,;:.!?)](?:\s|$))")
_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
_ABBREVIATION = re.compile(r"([A-Za-z]{1,7})\.")
_SLASHED = {
    "w/o": "without",
    "w/": "with",
    "c/o": "care of",
    "b/c": "because",
    "A/C": "A C",
    "n/a": "N A",
    "N/A": "N A",
}
_SLASHED |= {"km/h": "kilometers per hour", "m/s": "meters per second"}
_SLASHED_WORD = re.compile(rf"({'|'.join(re.escape(word) for word in _SLASHED)})(?![A-Za-z])(?!/)")
_ROMAN_WORD = re.compile(r"[IVXLCDM]{1,15}(?=('s)?(?![A-Za-z0-9']))")
_AMPERSAND = re.compile(r"([A-Z]{1,3})&([A-Z]{1,3})(s?)(?![A-Za-z])")
_STATE = re.compile(rf"({'|'.join(abbreviations.STATES)})(?=\s+\d{{5}}\b|[.,;:!?)]|\s*$|\s+[a-z])")
_DOTTED_STATE = re.compile(rf"({'|'.join(abbreviations.DOTTED_STATES)})\.")
# "Yeah, ID."
_STATES_OR_WORDS = abbreviations.word_set("ID OK HI OH ME IN OR")
_NUMBER_NEXT = re.compile(r"\s?[#(]?(?:\d|[IVXL]{2,8}\b|[VX]\b)")
_NUMBER_OF = re.compile(r"\sof\b")
_ARTICLES = frozenset({"a", "the", "total", "any"})
_NAME_NEXT = re.compile(r"\s+(?:[\"'(]?[A-Z])")

# After these, a Roman numeral of any length is a cardinal.
_COUNTED = abbreviations.word_set("""
    chapter part book volume act scene section appendix article title war type phase class level stage unit figure table
    bowl number lesson canto verse psalm rocky fantasy corps apollo gemini saturn page vol ch episode season round grade
    category amendment schedule
    """)
# After these, it is the place in a line of rulers or popes; "I" needs more than that.
_RULERS = abbreviations.word_set("""
    henry elizabeth louis george charles james william richard edward john paul pius benedict gregory leo napoleon
    alexander nicholas philip francis ivan peter catherine frederick ramses rameses ptolemy mary urban clement
    innocent boniface adrian sixtus julius otto felipe juan carlos edmund robert david malcolm harald haakon gustav
    gustavus christian victor umberto wilhelm friedrich ludwig maximilian ferdinand joseph leopold albert baldwin
    constantine theodosius justinian michael basil darius xerxes cyrus artaxerxes mehmed selim suleiman murad mahmud
    abdul hassan mohammed alfonso pedro manuel henri philippe humbert amenhotep thutmose seti cleopatra margaret
    margrethe haile pope king queen
    """)
_NOT_RULED_BY_X = frozenset({"malcolm", "king", "queen", "pope"})
# What may follow "Charles I" where the "I" is no pronoun.
_AFTER_FIRST = re.compile(r"\s*(?:$|[.,;:!?)\"'-]|(?:of|and|in|was|is|became|ruled|reigned|died|who|had)\b)")
_STREET_NAME = re.compile(r"(?:\b([A-Z][a-z]+)('s)?|\d(?:st|nd|rd|th)|\b[A-Z])\s$")
_OPENING_WORD = re.compile(r"(?:^|[.!?:;\n][\"')]*\s*|[\"(]|(?<![a-z])')[A-Z][a-z]+\s$")
_DIRECTIONS = abbreviations.word_set("East West North South E W N S")
# These are names of streets at the start of a sentence, too.
_STREETS = abbreviations.word_set(
    "Main Elm Oak Maple Pine Cedar Walnut Wall Park High Broad Market Church Baker Downing"
)
# Of these, what follows is a title in the middle of a sentence, too: "Mount St. Helens", "East St. Louis".
_BEFORE_TITLES = abbreviations.word_set(
    "Mount Port Lake Fort Cape East West North South Professor President Dear Hello Hi"
)
# Two letters or more that stand alone and are no acronym.
_ALONE = re.compile(r"II|III|VII|VIII|IX|X(?!X{1,2}(?![IVX]))[IVX]+|M[MDCLXVI]{3,}")


# All abbreviations of small letters without a dot.
ABBREVIATED = frozenset(
    word
    for word in (*abbreviations.UNDOTTED, *abbreviations.MIXED, *map(str.lower, abbreviations.SPELLED_ACRONYMS), "pp")
    if word.islower()
)


def read_word(text: str, start: int, shouted: bool = False) -> tuple[str, int] | None:
    """Reads what begins with a letter.

    Args:
      text: folded.
      start: where it begins.
      shouted: whether it stands in a sentence without small letters.

    Returns:
      what is said, and where it ends in the text; None if no letter is there.
    """
    for read in (
        _read_slashed,
        _read_ampersand,
        _read_state,
        _read_dotted,
        _read_abbreviation,
        _read_undotted,
        _read_roman,
    ):
        reading = read(text, start)
        if reading:
            return reading
    match = _WORD.match(text, start)
    if not match:
        return None
    if _is_letter(text, start, match, shouted):
        return match[0], match.end()
    if match[0] == "CO" and text[match.end() : match.end() + 1] == "-":
        return "co", match.end()
    shouted = shouted or text[start - 1 : start] == "'"
    around = (context.previous_word(text, start), context.next_word(text, match.end())) if match[0].isupper() else ()
    return acronyms.speak_word(match[0], shouted, *around), match.end()


def is_abbreviated(text: str, start: int) -> bool:
    """Whether letters with dots between them begin at a place, "U.S." or "e.g.", and no file name or address."""
    return bool(_read_dotted(text, start))


def _is_letter(text: str, start: int, match: re.Match, shouted: bool) -> bool:
    """Whether a capital alone is the name of a letter: "Plan B"; "A" and "I" are words at the start of a sentence."""
    if re.fullmatch("[A-HJ-Z]'s", match[0]):
        return True
    if len(match[0]) > 1 or not match[0].isupper() or shouted:
        return False
    if match[0] == "I":
        return text[match.end() : match.end() + 1] == "-" and text[match.end() + 1 : match.end() + 2].isdecimal()
    if _LETTER_A.match(text, start):
        return True
    return match[0] != "A" or (
        bool(context.previous_word(text, start)) and not re.search(r"[.!?:\n\"'(]\s*$", text[max(0, start - 8) : start])
    )


def _read_slashed(text: str, start: int) -> tuple[str, int] | None:
    match = "/" in text[start + 1 : start + 3] and _SLASHED_WORD.match(text, start)
    return (_SLASHED[match[1]], match.end()) if match else None


def _read_ampersand(text: str, start: int) -> tuple[str, int] | None:
    """Capitals with an ampersand between them: "AT&T"."""
    match = _AMPERSAND.match(text, start)
    if not match:
        return None
    return f"{acronyms.letters(match[1])} and {acronyms.letters(match[2])}" + "'s" * bool(match[3]), match.end()


def _read_state(text: str, start: int) -> tuple[str, int] | None:
    """A state after a city: "Boston, MA"."""
    if text[start - 2 : start] != ", " or not text[start - 3 : start - 2].isalpha():
        return None
    dotted = _DOTTED_STATE.match(text, start)
    if dotted and context.previous_word(text, start - 2).istitle():
        dot = dotted.end() - 1
        return abbreviations.DOTTED_STATES[dotted[1]], dot if context.ends_sentence(text, dot) else dot + 1
    match = _STATE.match(text, start)
    city = context.previous_word(text, start - 2)
    if not match or not city.istitle():
        return None
    first = not context.previous_word(text, start - 2 - len(city))
    if first and match[1] in _STATES_OR_WORDS and not re.match(r"\s+\d{5}", text[match.end() : match.end() + 8]):
        return None
    return abbreviations.STATES[match[1]], match.end()


def _read_dotted(text: str, start: int) -> tuple[str, int] | None:
    """Letters with dots between them: "e.g.", "U.S.", "Ph.D.", with the last dot unless it ends the sentence."""
    match = _DOTTED.match(text, start)
    if not match:
        return None
    written, end = match[1], match.end()
    if written.endswith(".s") and written[:-2].isupper():
        return f"{acronyms.letters(written[:-2].replace('.', ''))}'s", end
    if written in abbreviations.INITIALISMS:
        spoken = abbreviations.INITIALISMS[written]
    elif written in abbreviations.MIXED:
        spoken = abbreviations.MIXED[written]
    elif _LETTERS.fullmatch(written) and (text[end : end + 1] == "." or written.isupper()):
        spoken = acronyms.letters(written.replace(".", ""))
    else:
        return None
    if text[end : end + 1] != ".":
        return spoken, end
    possessive = re.compile(r"\.('s)(?![A-Za-z])").match(text, end)
    if possessive:
        return f"{spoken}'s", possessive.end()
    if written in abbreviations.INITIALISMS:
        return spoken, end + 1
    return spoken, end if context.ends_sentence(text, end) else end + 1


def _read_abbreviation(text: str, start: int) -> tuple[str, int] | None:
    """An abbreviation with a dot; the dot remains where it also ends the sentence."""
    match = _ABBREVIATION.match(text, start)
    if not match:
        return None
    written, dot, end = _title(match[1]), match.end() - 1, match.end()
    numbered = abbreviations.NUMBERED.get(written)
    if numbered and _NUMBER_NEXT.match(text, end):
        return numbered, end
    if written == "no" and _NUMBER_OF.match(text, end) and context.previous_word(text, start) in _ARTICLES:
        return "number", end
    if written in abbreviations.STREETS and _is_after_name(text, start, end):
        return abbreviations.STREETS[written], dot if context.ends_sentence(text, dot) else end
    if written in abbreviations.TITLES and _NAME_NEXT.match(text, end):
        return abbreviations.TITLES[written], end
    if written in abbreviations.LEADING_ABBREVIATIONS:
        return abbreviations.LEADING_ABBREVIATIONS[written], end
    if written in abbreviations.CLOSING_ABBREVIATIONS:
        return abbreviations.CLOSING_ABBREVIATIONS[written], dot if context.ends_sentence(text, dot) else end
    if written in abbreviations.MONTHS and written != "May":
        return abbreviations.MONTHS[written], dot if context.ends_sentence(text, dot) else end
    if written == "v" and context.previous_word(text, start).istitle() and _NAME_NEXT.match(text, end):
        return "versus", end
    if written in abbreviations.TITLES_WITHOUT_DOT and not context.ends_sentence(text, dot):
        return abbreviations.TITLES[written], end
    if len(written) == 1 and written.isupper() and written != "I" and _NAME_NEXT.match(text, end):
        return (written, end) if not context.ends_sentence(text, dot) else None
    return None


def _title(written: str) -> str:
    """An abbreviation in capitals as the tables have it: "MR" as "Mr"."""
    return written.title() if len(written) > 1 and written.isupper() else written


def _is_after_name(text: str, start: int, end: int) -> bool:
    """Whether a street's name or number stands before an abbreviation: "Main St.", "5th Ave.", but "Ask Dr. Lee"."""
    before = text[max(0, start - 24) : start]
    name = _STREET_NAME.search(before)
    written, opening = _title(text[start:end].rstrip(".")), _OPENING_WORD.search(before)
    if not name or (opening and name[1] in abbreviations.STARTERS) or (name[2] and written == "Dr"):
        return False
    # A capital at the start of a sentence makes no name of a word; what decides is the name after a title.
    unsure = name[1] in _BEFORE_TITLES or (opening and name[1] not in _STREETS)
    following = context.next_word(text, end)
    title = _NAME_NEXT.match(text, end) and following not in abbreviations.STARTERS | _DIRECTIONS
    return not (unsure and title and written in abbreviations.TITLES)


def _read_undotted(text: str, start: int) -> tuple[str, int] | None:
    """An abbreviation without a dot."""
    match = _WORD.match(text, start)
    if not match or match.end() - start > 7 or (text[match.end() : match.end() + 1] == "." and match[0] != "etc"):
        return None
    written, end = _title(match[0]), match.end()
    if written in abbreviations.STREETS and _is_after_name(text, start, end):
        return abbreviations.STREETS[written], end
    if written in abbreviations.TITLES_WITHOUT_DOT and _NAME_NEXT.match(text, end):
        return abbreviations.TITLES[written], end
    if written in ("No", "Nos", "pp", "p", "Vol", "Fig") and re.compile(r"\s\d").match(text, end):
        return abbreviations.NUMBERED[written], end
    return (abbreviations.UNDOTTED[written], end) if written in abbreviations.UNDOTTED else None


def _read_roman(text: str, start: int) -> tuple[str, int] | None:
    """A Roman numeral, by what stands before it."""
    match = _ROMAN_WORD.match(text, start)
    value = match and roman(match[0])
    if not value:
        return None
    before = context.previous_word(text, start)
    close = before and text[start - 1 : start].isspace() and text[start - 2 : start - 1].isalpha()
    written, digits = match[0], str(value)
    if close and before.lower() in _COUNTED and (before[0].isupper() or len(written) > 1):
        spoken = cardinal(digits)
    elif close and before.lower() in _RULERS and before.istitle() and _is_ruler(text, match, before):
        spoken = f"the {ordinal(digits)}"
    elif close and before.istitle() and len(written) > 1 and _ALONE.fullmatch(written):
        spoken = f"the {ordinal(digits)}" if written in ("II", "III") and _is_person(text, start) else cardinal(digits)
    elif len(written) > 1 and _ALONE.fullmatch(written):
        spoken = year(digits) if value > 1000 else cardinal(digits)
    else:
        return None
    return spoken + (match[1] or ""), match.end() + len(match[1] or "")


def _is_ruler(text: str, match: re.Match, before: str) -> bool:
    if match[0] in "IX" and before.lower() in _NOT_RULED_BY_X:
        return False
    return match[0] != "I" or bool(_AFTER_FIRST.match(text, match.end()))


def _is_person(text: str, start: int) -> bool:
    """Whether two names stand before a place: "Thurston Howell III", but "Rocky II"."""
    return bool(re.search(r"[A-Z][a-z]+\.?,?\s+(?:[A-Z]\.?\s+)?[A-Z][a-z]+\s$", text[max(0, start - 40) : start]))

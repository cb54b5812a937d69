"""What stands around a place in a folded text, and where sentences end.

All functions look at a few dozen characters at most, so that a text is read in linear time whatever it holds.
"""

import re

from tfvoice.text.english.abbreviations import (
    CLOSING_ABBREVIATIONS,
    INITIALISMS,
    LEADING_ABBREVIATIONS,
    MONTHS,
    NUMBERED,
    STARTERS,
    STREETS,
    TITLES,
    WEEKDAYS,
)

_REACH = 48
_LAST_WORD = re.compile(r"([A-Za-z]+(?:'[A-Za-z]+)?)\.?[\s:#(\"'-]*$")
_LAST_CHUNK = re.compile(r"[^\s\"'(\[{]+$")
_NEXT_WORD = re.compile(r"[\s\"'(\[]*([A-Za-z]+(?:'[A-Za-z]+)?|\d)")
_BLANK_LINE = re.compile(r"[ \t\r]*\n[ \t\r]*\n")
_CLOSERS = "\"')]}"
_DOTTED_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")


def previous_word(text: str, start: int) -> str:
    """The word before a place with nothing but blanks, a dot or opening punctuation between; "" if there is none."""
    match = _LAST_WORD.search(text[max(0, start - _REACH) : start])
    return match[1] if match else ""


def next_word(text: str, end: int) -> str:
    """The word, or the first digit of a number, after a place; "" if something else follows."""
    match = _NEXT_WORD.match(text, end, end + _REACH)
    return match[1] if match else ""


def starts_chunk(text: str, start: int) -> bool:
    """Whether a place is after a blank, an opening bracket or quotation mark, or at the start of the text."""
    return start == 0 or text[start - 1].isspace() or text[start - 1] in "\"'([{<*_,;:"


def ends_sentence(text: str, dot: int) -> bool:
    """Whether the dot after an abbreviation is also the end of a sentence.

    It is where nothing follows, and where a word follows that often begins a sentence but seldom is a name ("The").

    Args:
      text: folded.
      dot: the place of the dot.
    """
    end = dot + 1
    while end < len(text) and text[end] in _CLOSERS:
        end += 1
    rest = text[end : end + _REACH]
    if not rest.strip():
        return True
    if _BLANK_LINE.match(rest):
        return True
    return rest[0].isspace() and next_word(text, end) in STARTERS


def is_boundary(text: str, mark: int) -> bool:
    """Whether a sentence ends with the mark (one of . ? !) at a place, the last of its run."""
    end = mark + 1
    while end < len(text) and text[end] in _CLOSERS:
        end += 1
    if end < len(text) and not text[end].isspace():
        return False
    following = text[end : end + _REACH].lstrip()
    if _BLANK_LINE.match(text, end):
        return True
    if following[:1].islower() or (following[:1] in "\"'([" and following[1:2].islower()):
        return False
    if text[mark] != "." or text[mark - 1 : mark] == ".":
        return True
    return _dot_is_boundary(text, mark, following)


def _dot_is_boundary(text: str, dot: int, following: str) -> bool:
    match = _LAST_CHUNK.search(text[max(0, dot - _REACH) : dot])
    before = match[0] if match else ""
    if before in TITLES or before in WEEKDAYS or before in MONTHS:
        street = before in STREETS and previous_word(text, dot - len(before))[:1].isupper()
        return ends_sentence(text, dot) if street or before not in TITLES else False
    if before in NUMBERED and following[:1].isdecimal():
        return False
    if before in CLOSING_ABBREVIATIONS or before in STREETS:
        return ends_sentence(text, dot)
    if before in INITIALISMS or before in LEADING_ABBREVIATIONS:
        return False
    if _DOTTED_LETTERS.fullmatch(before) or (len(before) == 1 and before.isupper() and before != "I"):
        return ends_sentence(text, dot)
    return True

"""Unicode folding that remembers places: any text with the characters of ASCII where that changes no sound.

Letters lose their accents ("é" is "e"), ligatures and width forms are resolved as in Unicode NFKC ("ﬁ" is "fi"),
typographic quotation marks and apostrophes become the plain ones, digits of all scripts become 0 to 9, and invisible
format characters vanish. Superscripts, vulgar fractions, dashes and trademark signs stay, because NFKC would change
what they mean: "3½" would become "31/2". Letters of other scripts stay and are composed (NFC).
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

APOSTROPHES = frozenset("'’ʼ＇")

# Characters of ASCII text that Unicode does not decompose, or not to what is read.
_SPELLINGS = {
    **dict.fromkeys("‘’‚‛ʹʻʼ′`´ꞌ", "'"),
    **dict.fromkeys("“”„‟«»‹›″〝〞", '"'),
    **dict.fromkeys("‐‑⁃﹣－", "-"),
    **dict.fromkeys("—―⸺⸻", "—"),
    **dict.fromkeys("⁄∕", "/"),
    **dict.fromkeys("\u2028\u2029\x85\x0b\x0c", "\n"),
    **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"},
    **{"đ": "d", "Đ": "D", "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ı": "i", "ŋ": "ng", "Ŋ": "Ng", "ħ": "h"},
    **{"№": "No.", "℅": "c/o", "、": ",", "。": ".", "،": ",", "؛": ";", "؟": "?", "।": ".", "·": "·"},
}
_KEPT = frozenset("¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻™℠ªº")


@dataclass(frozen=True)
class Folded:
    """A folded text and where its characters come from.

    Attributes:
      text: the folded text.
      starts: for each of its characters, where the written characters that it stands for begin.
      ends: for each of its characters, where they end.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def fold(text: str) -> Folded:
    """Folds a text; see the module."""
    if text.isascii() and "`" not in text and "\x0b" not in text and "\x0c" not in text:
        return Folded(text, range(len(text)), range(1, len(text) + 1))
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        spelled = fold_character(text[start:end])
        folded.append(spelled)
        starts.extend([start] * len(spelled))
        ends.extend([end] * len(spelled))
        start = end
    return Folded("".join(folded), starts, ends)


def spelling(word: str) -> str:
    """The form of a word in which lexicons and normalisers meet, in any script.

    Small letters as in Unicode NFKC, the plain apostrophe, and no invisible characters.
    """
    if word.isascii():
        return word.lower()
    visible = "".join(symbol for symbol in word if unicodedata.category(symbol) != "Cf")
    lower = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).lower())
    return "".join("'" if symbol in APOSTROPHES else symbol for symbol in lower)


def fold_character(character: str) -> str:
    """The folded form of one character with the combining marks after it; "" if it is invisible."""
    if len(character) > 8:  # Not kept: there are endless piles of marks.
        return _fold(character[:8])
    return _fold(character)


@functools.lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    if character.isascii():
        return _SPELLINGS.get(character, character)
    base = character[0]
    if base in _SPELLINGS:
        return _SPELLINGS[base]
    if base in _KEPT:
        return base
    if unicodedata.category(base) == "Cf" or unicodedata.combining(base):
        return ""
    if unicodedata.category(base) == "Nd":
        return str(unicodedata.digit(base))
    composed = unicodedata.normalize("NFKC", character)
    spelled = []
    for part in composed:
        decomposed = unicodedata.normalize("NFKD", part)
        if part in _SPELLINGS:
            spelled.append(_SPELLINGS[part])
        elif decomposed[0] in _SPELLINGS:
            spelled.append(_SPELLINGS[decomposed[0]])
        elif decomposed[0].isascii() and decomposed[0].isalnum():
            spelled.append("".join(symbol for symbol in decomposed if not unicodedata.combining(symbol)))
        else:
            spelled.append(part)
    # A spacing accent is a blank with a mark in NFKC: what is no blank in the text must not become one.
    return "".join(spelled) if base.isspace() or not "".join(spelled)[:1].isspace() else base

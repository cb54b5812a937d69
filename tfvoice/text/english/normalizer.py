"""Written English to spoken words: the order in which the rules are tried, dashes and brackets.

A text is folded to ASCII, then cut from left to right. At each place the first rule that fits says what is spoken and
where it ends; what no rule speaks is silent punctuation or reported by `tfvoice.text.tokens.assemble`. American
readings: see docs/normalization.md.
"""

import re
from bisect import bisect_right

from tfvoice.text.english import codes, dates, quantities, units, words
from tfvoice.text.english.symbols import Reading, read_symbol
from tfvoice.text.folding import fold
from tfvoice.text.tokens import PAUSES, Normalized, Piece, assemble

# Nine words of ten: small letters before a blank or a comma, which no rule changes unless they are in a table.
_PLAIN = re.compile(r"([a-z]{2,})(?:'[a-z]+)?(?=[\s,])")
_BLANKS = re.compile(r"\s+")
_DASHES = re.compile(r"\s+(?:-{1,3}|–)\s+|\s*(?:—|-{2,3}|–{2,})\s*")
_SENTENCE = re.compile(r"[^.?!\n]+")
_RANGE = re.compile(rf"(?:\s[-–]\s|[-–—])(?=[\d$£€¥.])|[-–](?=(?:{dates.MONTH}|{dates.DAY})\b)")
_EQUATION = re.compile(r"[\d.,]{1,12}\s?=")
_BY = re.compile(r"x(?=\s?\d)")  # "5 in. x 7 in."
# A mark of Wikipedia and of papers, where a word or a sentence ends: "so.[1][2]", but "x[1]" and "see [1]".
_FOOTNOTE = re.compile(
    r"(?:\[(?:[1-9]\d{0,2}|(?<=[.,;:!?\]]\[)[a-z]|note \d{1,2}|citation needed)\]){1,9}(?=[\s.,;:!?)\"']|$)"
)
_GRADE = re.compile(r"(?:^|[^A-Za-z])[A-F][-–](?![A-Za-z0-9])")


def normalize_english(text: str) -> Normalized:
    """Turns written English into spoken words; see docs/normalization.md.

    Args:
      text: any Unicode.

    Returns:
      words of the letters a to z with apostrophes inside, pauses, and what could not be spoken.
    """
    folded = fold(text)
    return assemble(text, folded, _Scan(folded.text).pieces())


class _Scan:
    """One pass over a folded text."""

    def __init__(self, text: str):
        self.text = text
        self.starts, self.shouted = _shouted_sentences(text)
        # End of the last piece that was read from digits, after which a hyphen is a range.
        self.number_end = -1
        # Brackets that began with a pause, and end with one.
        self.brackets = 0

    def pieces(self):
        """Yields the pieces of the text in order."""
        start = 0
        while start < len(self.text):
            reading = self._read(start)
            if reading is None:
                start += 1
                continue
            spoken, end, *reason = reading
            if spoken or not self.text[start].isspace():
                yield Piece(start, end, spoken, *reason)
            start = end

    def _read(self, start: int) -> Reading:
        symbol = self.text[start]
        if symbol.isspace():
            return self._read_dash(start) or self._read_blanks(start)
        if symbol.isascii() and symbol.isalpha():
            return self._read_letters(start)
        if symbol.isdecimal() or symbol in "¼½¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚$£€¥₹₩₽₺₪₫฿₿'.(+":
            reading = self._read_digits(start)
            if reading:
                return reading
        return self._read_dash(start) or self._read_bracket(start) or read_symbol(self.text, start)

    def _read_letters(self, start: int) -> tuple[str, int] | None:
        plain = _PLAIN.match(self.text, start)
        if plain and plain[1] not in words.ABBREVIATED:
            return plain[0], plain.end()
        after_letter = start > 0 and self.text[start - 1].isalnum()
        if self.text[start - 1 : start].isspace() and start - 1 == self.number_end and _BY.match(self.text, start):
            return "by", start + 1
        if not after_letter:
            for read in (dates.read_date, codes.read_code, quantities.read_quantity):
                reading = read(self.text, start)
                if reading:
                    return self._number(reading)
            if not words.is_abbreviated(self.text, start):
                reading = codes.read_address(self.text, start)
                if reading:
                    return reading
        shouted = self.shouted[bisect_right(self.starts, start) - 1]
        reading = words.read_word(self.text, start, shouted)
        mixed = reading and self.text[reading[1] - 1].isalpha() and self.text[reading[1] : reading[1] + 1].isdecimal()
        return codes.read_chunk(self.text, start) if mixed else reading

    def _read_digits(self, start: int) -> tuple[str, int] | None:
        after_letter = start > 0 and self.text[start - 1].isalnum()
        symbol = self.text[start]
        if after_letter and not symbol.isdecimal():
            return None
        reading = codes.read_address(self.text, start) if symbol.isdecimal() or symbol == "." else None
        if reading:
            return reading
        for read in (dates.read_date, codes.read_code, quantities.read_quantity):
            reading = read(self.text, start)
            if reading:
                return self._number(reading)
        return codes.read_chunk(self.text, start) if symbol.isdecimal() else None

    def _number(self, reading: tuple[str, int]) -> tuple[str, int]:
        self.number_end = reading[1]
        return reading

    def _read_blanks(self, start: int) -> tuple[str, int]:
        """A blank line is the end of a sentence; other blanks say nothing, and are passed at once."""
        end = _BLANKS.match(self.text, start).end()
        return "." if self.text.count("\n", start, end) > 1 else "", end

    def _read_dash(self, start: int) -> tuple[str, int] | None:
        """A dash: "to" between numbers, "minus" before one, otherwise a pause."""
        if self.text[start] not in "-–—− \t\n":
            return None
        spaced = _RANGE.match(self.text, start)
        if spaced and start == self.number_end and not _EQUATION.match(self.text, spaced.end()):
            return "to", spaced.end()
        dash = _DASHES.match(self.text, start)
        if dash:
            equation = self.text[dash.end() : dash.end() + 1].isdecimal() and start == self.number_end
            return "minus" if equation else ",", dash.end()
        if self.text[start] in "-–" and (
            self._is_sign(start) or _GRADE.search(self.text[max(0, start - 2) : start + 2])
        ):
            return "minus", start + 1
        return None

    def _is_sign(self, start: int) -> bool:
        follows = self.text[start + 1 : start + 3]
        before = self.text[start - 1 : start]
        money = follows[:1] in units.CURRENCIES
        return (follows[:1].isdecimal() or (follows[:1] == "." and follows[1:].isdecimal()) or money) and (
            not before or before.isspace() or before in "([{\"'=<>/*"
        )

    def _read_bracket(self, start: int) -> Reading:
        """A pause around what is in brackets, unless they are part of a word: "file(s)"."""
        before = self.text[start - 1 : start]
        footnote = _FOOTNOTE.match(self.text, start)
        if footnote and (before in PAUSES or self.text[max(0, start - 2) : start].isalpha()) and start > 1:
            return "", footnote.end(), "footnote"
        opening = self.text[start] in "([{"
        if not opening and self.text[start] not in ")]}":
            return None
        if opening and (not start or before.isspace() or before in PAUSES):
            self.brackets += 1
            return ",", start + 1
        if not opening and self.brackets:
            self.brackets -= 1
            return ",", start + 1
        if not opening and before.isdecimal() and self.text[start + 1 : start + 2].isspace():
            return ",", start + 1  # "1) one"
        return None


def _shouted_sentences(text: str) -> tuple[list[int], list[bool]]:
    """Where sentences begin, roughly, and whether they are in capitals: two words of capitals and no small letter."""
    starts, shouted = [0], [False]
    for match in _SENTENCE.finditer(text):
        sentence = match[0]
        starts.append(match.start())
        shouted.append(sentence.isupper() and len(re.findall(r"[A-Z]{2,}", sentence)) > 1)
    return starts, shouted

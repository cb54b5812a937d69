"""Written English to spoken words: the order in which the rules are tried, and the marks between words.

A text is folded to ASCII, then cut from left to right. At each place the first rule that fits says what is spoken and
where it ends; what no rule speaks is silent punctuation or reported by `tfvoice.text.tokens.assemble`. American
readings: see docs/normalization.md.
"""

import re
from bisect import bisect_right

from tfvoice.text import codes, dates, quantities, units, words
from tfvoice.text.folding import fold
from tfvoice.text.tokens import PAUSES, Normalized, Piece, assemble

# Nine words of ten: small letters before a blank or a comma, which no rule changes unless they are in a table.
_PLAIN = re.compile(r"([a-z]{2,})(?:'[a-z]+)?(?=[\s,])")
_BLANKS = re.compile(r"\s+")
_ELLIPSIS = re.compile(r"\.(?:\s?\.)+")
_DASHES = re.compile(r"\s+(?:-{1,3}|–)\s+|\s*(?:—|-{2,3}|–{2,})\s*")
_MARKS = re.compile(r"[,.?!;:]")
_EMOTICON = re.compile(r"(?:[:;=8][-'^]?[()DPpOo3|\\/*\[\]]+|<3|[xX]D|\^_?\^|¯\\_\(ツ\)_/¯)(?=[\s.,!?]|$)")
_SENTENCE = re.compile(r"[^.?!\n]+")
_EXPONENT = re.compile(r"\^([+-]?\d{1,4})(?!\d)|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})")
_SECTIONS = re.compile(r"(§§?)\s?(?=\d)")
_HASH = re.compile(r"#\s?(?=\d)")
_RANGE = re.compile(r"(?:\s[-–]\s|[-–—])(?=[\d$£€¥.])")
_EQUATION = re.compile(r"[\d.,]{1,12}\s?=")
_GREEK = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta"},
    **{"κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau"},
    **{"φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "gamma", "Δ": "delta", "Θ": "theta", "Λ": "lambda"},
    **{"Π": "pi", "Σ": "sigma", "Φ": "phi", "Ψ": "psi", "Ω": "omega"},
}
# What is said for a symbol that no other rule takes.
_SYMBOLS = {
    "&": "and",
    "@": "at",
    "#": "hash",
    "+": "plus",
    "=": "equals",
    "%": "percent",
    "‰": "per thousand",
    "°": "degrees",
    "©": "copyright",
    "®": "registered",
    "™": "trademark",
    "§": "section",
    "¶": "paragraph",
    "<": "less than",
    ">": "greater than",
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "≠": "not equal to",
    "≈": "approximately",
    "±": "plus or minus",
    "×": "times",
    "÷": "divided by",
    "−": "minus",
    "√": "square root of",
    "∞": "infinity",
    "^": "caret",
    "~": "tilde",
    "|": "bar",
    "\\": "backslash",
    "→": "to",
    "$": "dollars",
    "£": "pounds",
    "€": "euros",
    "¥": "yen",
    "¢": "cents",
    "₹": "rupees",
}
_OPERATORS = {">=": "greater than or equal to", "<=": "less than or equal to", "!=": "not equal to", "==": "equals"}
_OPERATORS |= {"&&": "and", "||": "or", "->": "to", "=>": "to"}
_OPERATOR = re.compile("|".join(map(re.escape, _OPERATORS)))
_SHARP = re.compile(r"(?<![A-Za-z])[A-G]$")
_DOT_NAME = re.compile(r"\.(?=[A-Za-z])")
_STARS = re.compile(r"\*+|_+|#{2,}|={2,}|~{2,}|\^{2,}|\|{2,}|\+{3,}|>{2,}|<{2,}")


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

    def _read(self, start: int) -> tuple[str, int] | tuple[str, int, str] | None:
        symbol = self.text[start]
        if symbol.isspace():
            return self._read_dash(start) or self._read_blanks(start)
        if symbol.isascii() and symbol.isalpha():
            return self._read_letters(start)
        if symbol.isdecimal() or symbol in "¼½¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚$£€¥₹₩₽₺₪₫฿₿'.(+":
            reading = self._read_digits(start)
            if reading:
                return reading
        return self._read_dash(start) or self._read_symbol(start)

    def _read_letters(self, start: int) -> tuple[str, int] | None:
        plain = _PLAIN.match(self.text, start)
        if plain and plain[1] not in words.ABBREVIATED:
            return plain[0], plain.end()
        after_letter = start > 0 and self.text[start - 1].isalnum()
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
        following = self.text[reading[1] : reading[1] + 1] if reading else ""
        return codes.read_chunk(self.text, start) if following.isdecimal() else reading

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
        if self.text[start] in "-–" and self._is_sign(start):
            return "minus", start + 1
        return None

    def _is_sign(self, start: int) -> bool:
        follows = self.text[start + 1 : start + 3]
        before = self.text[start - 1 : start]
        money = follows[:1] in units.CURRENCIES
        return (follows[:1].isdecimal() or follows[:1] == "." and follows[1:].isdecimal() or money) and (
            not before or before.isspace() or before in "([{\"'=<>/*"
        )

    def _read_symbol(self, start: int) -> tuple[str, int] | tuple[str, int, str] | None:
        text = self.text
        emoticon = _EMOTICON.match(text, start)
        if emoticon and (start == 0 or text[start - 1].isspace()):
            return "", emoticon.end(), "emoticon"
        reading = codes.read_address(text, start) if text[start] in "#@~/._" else None
        if reading:
            return reading
        operator = _OPERATOR.match(text, start)
        if operator:
            return _OPERATORS[operator[0]], operator.end()
        if _DOT_NAME.match(text, start) and (start == 0 or text[start - 1].isspace()):
            return "dot", start + 1
        ellipsis = _ELLIPSIS.match(text, start)
        if ellipsis:
            follows = text[ellipsis.end() : ellipsis.end() + 8].lstrip()
            return "," if follows[:1].islower() else ".", ellipsis.end()
        if _MARKS.match(text, start):
            return text[start], start + 1
        return self._read_spoken_symbol(start)

    def _read_spoken_symbol(self, start: int) -> tuple[str, int] | None:
        text, symbol = self.text, self.text[start]
        before, follows = text[start - 1 : start], text[start + 1 : start + 2]
        exponent = _EXPONENT.match(text, start)
        if exponent and (before.isalnum() or before == ")"):
            footnote = not exponent[1] and text[max(0, start - 3) : start].isalpha() and start > 2
            return None if footnote else (quantities.speak_power(exponent[1] or exponent[2]), exponent.end())
        sections = _SECTIONS.match(text, start)
        if sections:
            return "sections" if len(sections[1]) > 1 else "section", sections.end()
        if symbol == "#" and _SHARP.search(text[max(0, start - 2) : start]):
            return "sharp", start + 1
        number = _HASH.match(text, start)
        if number:
            return "number", number.end()
        if symbol in "()[]{}":
            return self._read_bracket(start)
        if symbol in "*/_<>|~":
            return self._read_mark(start, before, follows)
        if symbol in _GREEK:
            lone = not before.isalpha() and not follows.isalpha()
            return (_GREEK[symbol], start + 1) if lone else None
        stars = _STARS.match(text, start)
        if stars:
            return "", stars.end()
        return (_SYMBOLS[symbol], start + 1) if symbol in _SYMBOLS else None

    def _read_bracket(self, start: int) -> tuple[str, int] | None:
        """A pause around what is in brackets, unless they are part of a word: "file(s)"."""
        before = self.text[start - 1 : start]
        opening = self.text[start] in "([{"
        if opening and (not start or before.isspace() or before in PAUSES):
            self.brackets += 1
            return ",", start + 1
        if not opening and self.brackets:
            self.brackets -= 1
            return ",", start + 1
        if not opening and before.isdecimal() and self.text[start + 1 : start + 2].isspace():
            return ",", start + 1  # "1) one"
        return None

    def _read_mark(self, start: int, before: str, follows: str) -> tuple[str, int] | None:
        """Marks that are words, or only emphasis, or quotation marks of a kind."""
        text, symbol = self.text, self.text[start]
        alone = (not before or before.isspace()) and (not follows or follows.isspace())
        if symbol == "*":
            between = before.isdecimal() and follows.isdecimal()
            operands = alone and text[start - 2 : start - 1].isalnum() and text[start + 2 : start + 3].isalnum()
            if between or (operands and (text[start - 2].isdecimal() or text[start + 2].isdecimal())):
                return "times", start + 1
            return ("asterisk", start + 1) if alone and start and operands else ("", start + 1)
        if symbol == "/":
            return ("slash", start + 1) if alone else ("over", start + 1) if before.isdecimal() and follows.isdecimal() else ("", start + 1)
        if symbol in "<>":
            tag = not follows.isspace() and symbol == "<" and re.compile(r"</?[A-Za-z][^<>\n]{0,60}>").match(text, start)
            closing = symbol == ">" and not alone and (before.isalpha() or before in "\"'/!")
            return ("", start + 1) if tag or closing or (symbol == ">" and start == 0) else (_SYMBOLS[symbol], start + 1)
        if symbol == "~":
            return ("about", start + 1) if follows.isdecimal() or follows in units.CURRENCIES else ("tilde" if alone else "", start + 1)
        return ("bar" if symbol == "|" and not alone else "", start + 1)


def _shouted_sentences(text: str) -> tuple[list[int], list[bool]]:
    """Where sentences begin, roughly, and whether they are in capitals: two words of capitals and no small letter."""
    starts, shouted = [0], [False]
    for match in _SENTENCE.finditer(text):
        sentence = match[0]
        starts.append(match.start())
        shouted.append(sentence.isupper() and len(re.findall(r"[A-Z]{2,}", sentence)) > 1)
    return starts, shouted

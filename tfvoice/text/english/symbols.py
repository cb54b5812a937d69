"""Marks and symbols: pauses, words such as "percent", and what is only emphasis."""

import re

from tfvoice.text.english import codes, quantities, units

Reading = tuple[str, int] | tuple[str, int, str] | None

_ELLIPSIS = re.compile(r"\.(?:\s?\.)+")
_MARKS = re.compile(r"[,.?!;:]")
_EMOTICON = re.compile(r"(?:[:;=8][-'^]?[()DPpOo3|\\/*\[\]]+|<3|[xX]D|\^_?\^|¯\\_\(ツ\)_/¯)(?=[\s.,!?]|$)")
_EXPONENT = re.compile(r"\^([+-]?\d{1,4})(?!\d)|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})")
_SECTIONS = re.compile(r"(§§?)\s?(?=\d)")
_HASH = re.compile(r"#\s?(?=\d)")
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
    "‱": "per ten thousand",
    "♭": "flat",
    "♯": "sharp",
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
# "3 times/week"
_PER_TIME = re.compile(r"(?:second|minute|hour|hr|day|week|month|year|person)\b")
_COUNTED = re.compile(r"\d\s[a-z]+$")
_DOT_NAME = re.compile(r"\.(?=[A-Za-z])")
# Rules and fences of plain text.
_REPEATED = re.compile(r"#{2,}|={2,}|\^{2,}|\+{3,}")
_MARKUP = re.compile(
    r"</?(?:a|b|i|u|p|br|hr|em|tt|h[1-6]|li|ol|ul|dl|dt|dd|td|tr|th|sup|sub|pre|img|div|span|code|strong|table|small)"
    r"(?:\s[^<>\n]{0,300})?/?>"
)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,60}>")


def read_symbol(text: str, start: int) -> Reading:
    """Reads a mark or a symbol.

    Args:
      text: folded.
      start: where it is; not at a letter, a digit or a blank.

    Returns:
      what is said ("" for emphasis), where it ends in the text, and for emoticons and markup the reason why nothing is
      said; None for silent punctuation, and for what has no words.
    """
    emoticon = _EMOTICON.match(text, start)
    if emoticon and (start == 0 or text[start - 1].isspace()):
        return "", emoticon.end(), "emoticon"
    markup = _MARKUP.match(text, start)
    if markup:
        return "", markup.end(), "markup"
    reading = codes.read_address(text, start) if text[start] in "#@~/._" else None
    if reading:
        return reading
    operator = _OPERATOR.match(text, start)
    if operator:
        return _OPERATORS[operator[0]], operator.end()
    return _read_pause(text, start) or _read_before_number(text, start) or _read_alone(text, start)


def _read_pause(text: str, start: int) -> Reading:
    if _DOT_NAME.match(text, start) and (start == 0 or text[start - 1].isspace()):
        return "dot", start + 1
    ellipsis = _ELLIPSIS.match(text, start)
    if ellipsis:
        follows = text[ellipsis.end() : ellipsis.end() + 8].lstrip()
        return "," if follows[:1].islower() else ".", ellipsis.end()
    return (text[start], start + 1) if _MARKS.match(text, start) else None


def _read_before_number(text: str, start: int) -> Reading:
    """Exponents, and marks that say what the number after them is."""
    before = text[start - 1 : start]
    exponent = _EXPONENT.match(text, start)
    if exponent and ((before.isalnum() and before not in "⁰¹²³⁴⁵⁶⁷⁸⁹") or before == ")"):
        footnote = not exponent[1] and start > 2 and text[start - 3 : start].isalpha()
        return None if footnote else (quantities.speak_power(exponent[1] or exponent[2]), exponent.end())
    sections = _SECTIONS.match(text, start)
    if sections:
        return "sections" if len(sections[1]) > 1 else "section", sections.end()
    if text[start] == "#" and _SHARP.search(text[max(0, start - 2) : start]):
        return "sharp", start + 1
    number = _HASH.match(text, start)
    return ("number", number.end()) if number else None


def _read_alone(text: str, start: int) -> Reading:
    """A symbol by its neighbours."""
    symbol, before, follows = text[start], text[start - 1 : start], text[start + 1 : start + 2]
    if symbol in _BY_NEIGHBOURS:
        return _BY_NEIGHBOURS[symbol](text, start, before, follows), start + 1
    if symbol in _GREEK:
        return None if before.isalpha() or follows.isalpha() else (_GREEK[symbol], start + 1)
    repeated = _REPEATED.match(text, start)
    if repeated:
        return "", repeated.end()
    return (_SYMBOLS[symbol], start + 1) if symbol in _SYMBOLS else None


def _is_alone(before: str, follows: str) -> bool:
    return (not before or before.isspace()) and (not follows or follows.isspace())


def _star(text: str, start: int, before: str, follows: str) -> str:
    """A product, the name of the sign, or emphasis."""
    if before.isdecimal() and follows.isdecimal():
        return "times"
    operands = text[max(0, start - 2) : start - 1], text[start + 2 : start + 3]
    if not _is_alone(before, follows) or not all(map(str.isalnum, operands)):
        return ""
    return "times" if any(map(str.isdecimal, operands)) else "asterisk"


def _slash(text: str, start: int, before: str, follows: str) -> str:
    if _is_alone(before, follows):
        return "slash"
    if _PER_TIME.match(text, start + 1) and _COUNTED.search(text[max(0, start - 24) : start]):
        return "per"
    return "over" if before.isdecimal() and follows.isdecimal() else ""


def _less(text: str, start: int, before: str, follows: str) -> str:
    """Silent where a tag begins."""
    return "" if _TAG.match(text, start) else _SYMBOLS["<"]


def _greater(text: str, start: int, before: str, follows: str) -> str:
    """Silent where a tag ends, and where a line is quoted."""
    tag = before.isalpha() or (before and before in "\"'/!")
    quoted = before in ("", "\n") and follows.isspace()
    return "" if quoted or (tag and not _is_alone(before, follows)) else _SYMBOLS[">"]


def _tilde(text: str, start: int, before: str, follows: str) -> str:
    if follows.isdecimal() or follows in units.CURRENCIES:
        return "about"
    return "tilde" if _is_alone(before, follows) else ""


def _bar(text: str, start: int, before: str, follows: str) -> str:
    """Alone, it separates the columns of a table."""
    return "" if _is_alone(before, follows) else "bar"


_BY_NEIGHBOURS = {
    "*": _star,
    "/": _slash,
    "<": _less,
    ">": _greater,
    "~": _tilde,
    "|": _bar,
    "_": lambda text, start, before, follows: "",
}

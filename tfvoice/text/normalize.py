"""Written text to spoken words, by language.

A normaliser is a function from a text to `Normalized`: words and pauses with the places that they come from, and what
it cannot speak. `NORMALIZERS` lists those that come with the package; in Python, any other function of that type is
taken in place of a name.
"""

import unicodedata
from collections.abc import Callable, Iterator

from tfvoice.errors import TfvoiceError
from tfvoice.text.english.normalizer import normalize_english
from tfvoice.text.folding import Folded, fold_character
from tfvoice.text.tokens import PAUSES, Normalized, Piece, assemble

Normalizer = Callable[[str], Normalized]


def normalize_plain(text: str) -> Normalized:
    """Any script whose words are separated by blanks: words in small letters, pauses, and nothing else.

    Digits and symbols are unspoken. For a language without a normaliser of its own, with a lexicon of its words.
    """
    return assemble(text, Folded(text, range(len(text)), range(1, len(text) + 1)), _plain_pieces(text))


NORMALIZERS: dict[str, Normalizer] = {"en": normalize_english, "plain": normalize_plain}


def normalize(text: str, normalizer: str | Normalizer = "en") -> Normalized:
    """Turns a written text into spoken words.

    Args:
      text: any Unicode.
      normalizer: a key of `NORMALIZERS`, or a function of that type.

    Raises:
      TfvoiceError: there is no normaliser of that name.
    """
    if isinstance(normalizer, str):
        if normalizer not in NORMALIZERS:
            raise TfvoiceError(f"{normalizer!r} is no normaliser; choose one of {', '.join(NORMALIZERS)}.")
        normalizer = NORMALIZERS[normalizer]
    return normalizer(text)


def _plain_pieces(text: str) -> Iterator[Piece]:
    start = 0
    while start < len(text):
        end = _word_end(text, start)
        if end > start:
            word = "".join(symbol for symbol in text[start:end] if unicodedata.category(symbol) != "Cf")
            lower = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).lower())
            yield Piece(start, end, "".join(map(_apostrophe, lower)))
        elif fold_character(text[start])[:1] in PAUSES and fold_character(text[start]):
            end = start + 1
            yield Piece(start, end, fold_character(text[start])[0])
        start = max(end, start + 1)


def _word_end(text: str, start: int) -> int:
    """The end of the word at a place: letters with their marks, and apostrophes and joiners between letters."""
    end = start
    if not text[start].isalpha():
        return start
    while end < len(text):
        inside = _apostrophe(text[end]) == "'" or unicodedata.category(text[end]) == "Cf"
        letter_follows = end + 1 < len(text) and text[end + 1].isalpha()
        if not (text[end].isalpha() or unicodedata.category(text[end])[0] == "M" or (inside and letter_follows)):
            break
        end += 1
    return end


def _apostrophe(symbol: str) -> str:
    return "'" if symbol in "'’ʼ＇" else symbol

"""Written text to spoken words, by language.

A normaliser is a function from a text to `Normalized`: words and pauses with the places that they come from, and what
it cannot speak. `NORMALIZERS` lists those that come with the package; `module:function` names one of the user's
own, and in Python, any function of that type is taken in place of a name.
"""

import importlib
import unicodedata
from collections.abc import Callable, Iterator

from tfvoice.errors import TfvoiceError
from tfvoice.text.english.normalizer import normalize_english
from tfvoice.text.folding import APOSTROPHES, Folded, fold_character, spelling
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
      normalizer: a name as for `find`, or a function.

    Raises:
      TfvoiceError: there is no normaliser of that name.
    """
    return (find(normalizer) if isinstance(normalizer, str) else normalizer)(text)


def find(name: str) -> Normalizer:
    """The normaliser of a name.

    Args:
      name: a key of `NORMALIZERS`, or `module:function`. The module is imported, which runs it: names must come from
        the user, never from a file or a client.

    Raises:
      TfvoiceError: there is none.
    """
    if name in NORMALIZERS:
        return NORMALIZERS[name]
    module, _, function = name.partition(":")
    if not (module and function):
        known = ", ".join(NORMALIZERS)
        raise TfvoiceError(f"{name!r} is no normaliser; choose one of {known}, or name your own as MODULE:FUNCTION.")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        reason = str(error).lower()
        raise TfvoiceError(f"{name}: {reason}; put the folder of {module}.py on PYTHONPATH.") from error
    if not callable(found):
        raise TfvoiceError(f"{name}: {module} has no function {function}; define it, from a text to a Normalized.")
    return found


def _plain_pieces(text: str) -> Iterator[Piece]:
    start = 0
    while start < len(text):
        end = _word_end(text, start)
        if end > start:
            yield Piece(start, end, spelling(text[start:end]))
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
        inside = text[end] in APOSTROPHES or unicodedata.category(text[end]) == "Cf"
        letter_follows = end + 1 < len(text) and text[end + 1].isalpha()
        if not (text[end].isalpha() or unicodedata.category(text[end])[0] == "M" or (inside and letter_follows)):
            break
        end += 1
    return end

"""Phonemes: inventories, pronunciations as text, stress, and phonemes that a text gives inline.

A pronunciation is a tuple of symbols. The vowels of English end with their stress: 1 primary, 2 secondary, 0 none
(`AH0`). Which symbols there are is data and comes with a lexicon; `ARPABET` is what CMUdict uses. A symbol of another
language may end with a digit, too, such as a tone: it is treated as stress.
"""

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tfvoice.errors import TfvoiceError

Pronunciation = tuple[str, ...]

# What is between words and at the ends of an utterance.
SILENCE = "sil"
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y",
    "Z", "ZH",
)  # fmt: skip
STRESSES = ("0", "1", "2")

_INLINE = re.compile(r"\{([^{}]*)\}")
_BRACE = re.compile(r"[{}]")


class PhonemeError(TfvoiceError):
    """A symbol that is not in an inventory, or phonemes that are not written as such."""


@dataclass(frozen=True)
class PhonemeInventory:
    """The symbols of a lexicon.

    Attributes:
      symbols: with stress, in the order of their ids. Silence is not among them: no word holds it.
    """

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, pronunciations: Iterable[Pronunciation]) -> "PhonemeInventory":
        """The inventory of pronunciations: every symbol that occurs, sorted."""
        return cls(tuple(sorted(set().union(*pronunciations))))

    @functools.cached_property
    def bases(self) -> tuple[str, ...]:
        """The symbols without stress, and silence before them: the classes of models of sound."""
        return (SILENCE, *sorted({base(symbol) for symbol in self.symbols}))

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of each symbol."""
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    @functools.cached_property
    def base_ids(self) -> dict[str, int]:
        """The id of each symbol without stress; 0 is silence."""
        return {symbol: number for number, symbol in enumerate(self.bases)}

    @functools.cached_property
    def unmarked(self) -> frozenset[str]:
        """Symbols without stress that occur with stress only: the vowels of English."""
        return frozenset(self.bases[1:]) - set(self.symbols)

    def encode(self, pronunciation: Iterable[str]) -> list[int]:
        """Ids of symbols; raises `PhonemeError` for one that is not here."""
        try:
            return [self.ids[symbol] for symbol in pronunciation]
        except KeyError as error:
            raise PhonemeError(self.unknown(error.args[0])) from None

    def decode(self, ids: Iterable[int]) -> Pronunciation:
        """Symbols of ids."""
        return tuple(self.symbols[number] for number in ids)

    def parse(self, text: str) -> Pronunciation:
        """Parses `HH AH0 L OW1`, in any case.

        Where no vowel has stress, as in `HH AH L OW`, the first one gets primary stress and the others none; where
        some have, those without a digit get none.

        Raises:
          PhonemeError: there is no symbol, or one that is not in the inventory.
        """
        symbols = [self._cased.get(symbol.lower(), symbol) for symbol in text.split()]
        if not symbols:
            raise PhonemeError("there are no phonemes.")
        for symbol in symbols:
            if symbol not in self.ids and symbol not in self.unmarked:
                raise PhonemeError(self.unknown(symbol))
        return self._stressed(symbols)

    def unknown(self, symbol: str) -> str:
        """What is wrong with a symbol, as a sentence that names the nearest one, or all of them."""
        candidates = self.symbols if stress(symbol) is not None else self.bases[1:]
        close = difflib.get_close_matches(symbol.upper(), candidates, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(self.symbols)}."
        return f"{symbol!r} is no phoneme; {advice}"

    @functools.cached_property
    def _cased(self) -> dict[str, str]:
        """The symbols by their lower case, where that is of one symbol only."""
        every = [*self.symbols, *self.unmarked]
        lower = [symbol.lower() for symbol in every]
        return dict(zip(lower, every, strict=True)) if len(set(lower)) == len(every) else {}

    def _stressed(self, symbols: list[str]) -> Pronunciation:
        pending = not any(stress(symbol) is not None for symbol in symbols)
        stressed = []
        for symbol in symbols:
            if symbol in self.unmarked:
                marked = symbol + ("1" if pending else "0")
                # An inventory may lack it.
                symbol = marked if marked in self.ids else next(one for one in self.symbols if base(one) == symbol)
                pending = False
            stressed.append(symbol)
        return tuple(stressed)


ARPABET = PhonemeInventory(tuple(sorted([*CONSONANTS, *(vowel + mark for vowel in VOWELS for mark in STRESSES)])))


def base(symbol: str) -> str:
    """A symbol without its stress."""
    return symbol.rstrip("0123456789") or symbol


def stress(symbol: str) -> int | None:
    """The stress of a symbol; None where it has none, as consonants."""
    digits = symbol[len(base(symbol)) :]
    return int(digits) if digits else None


def without_stress(pronunciation: Iterable[str]) -> Pronunciation:
    """A pronunciation without stress."""
    return tuple(map(base, pronunciation))


def format(pronunciation: Iterable[str]) -> str:
    """A pronunciation as text, which `PhonemeInventory.parse` reads."""
    return " ".join(pronunciation)


class InlineSegment(NamedTuple):
    """A part of a text: written words, or phonemes in braces.

    Attributes:
      start, end: place in the text, the braces included.
      text: as written, without braces.
      phonemes: of a part in braces; None: the part is to be normalised.
    """

    start: int
    end: int
    text: str
    phonemes: Pronunciation | None


def split_inline(text: str, inventory: PhonemeInventory = ARPABET) -> list[InlineSegment]:
    """Splits a text at phonemes in braces, `Say {HH AH0 L OW1} to her.`; it comes before normalisation.

    Braces that enclose no phonemes are an error, because a typing error would otherwise be spoken as letters, and so is
    a brace without its partner.

    Args:
      text: as written.
      inventory: of the phonemes.

    Returns:
      The parts, none of them empty; together they are the text.

    Raises:
      PhonemeError: a pair of braces holds anything but phonemes, or a brace has no partner.
    """
    segments, end = [], 0
    for match in _INLINE.finditer(text):
        _refuse_brace(text, end, match.start())
        if match.start() > end:
            segments.append(InlineSegment(end, match.start(), text[end : match.start()], None))
        end = match.end()
        try:
            phonemes = inventory.parse(match[1])
        except PhonemeError as error:
            place = f"{match[0]} at character {match.start() + 1}"
            raise PhonemeError(f"{place}: {error} Write phonemes in braces, as {{HH AH0 L OW1}}.") from None
        segments.append(InlineSegment(match.start(), end, match[1], phonemes))
    _refuse_brace(text, end, len(text))
    if end < len(text):
        segments.append(InlineSegment(end, len(text), text[end:], None))
    return segments


def _refuse_brace(text: str, start: int, end: int) -> None:
    if brace := _BRACE.search(text, start, end):
        raise PhonemeError(
            f"{brace[0]} at character {brace.start() + 1} has no partner; write phonemes in braces, as "
            "{HH AH0 L OW1}, or delete it."
        )

"""Pronunciation lexicons in the format of CMUdict, CMUdict itself, and endings by rule.

A line is a word and its phonemes, `hello HH AH0 L OW1`; `hello(2)` is a variant, and the first pronunciation of a word
is its usual one. `#` begins a comment, and so does `;;;` at the start of a line. Case and Unicode forms do not matter.

CMUdict (github.com/cmusphinx/cmudict, BSD 2-clause, licence beside it) is part of the package: 126,052 words of North
American English. The 135,166 lines are split in 0.1 s; a pronunciation is parsed when it is looked up.
"""

import functools
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tfvoice.errors import TfvoiceError
from tfvoice.text import phonemes
from tfvoice.text.folding import fold, spelling
from tfvoice.text.phonemes import ARPABET, PhonemeError, PhonemeInventory, Pronunciation

# In place of a file.
CMUDICT = "cmudict"
CMUDICT_PATH = Path(__file__).parent / "data" / "cmudict.dict.gz"

_VARIANT = re.compile(r"(.+)\((\d+)\)")
_SIBILANTS = frozenset(["S", "Z", "SH", "ZH", "CH", "JH"])
_VOICELESS = frozenset(["P", "T", "K", "F", "TH"])
# Endings of written words, longest first, and what takes their place in the word that is looked up.
_ENDINGS = (("'s", ""), ("s'", "s"), ("s'", ""), ("ies", "y"), ("s", ""), ("es", ""))
# Of a word in `s` these are no ending: "glass", "bonus", "basis".
_NO_PLURAL = ("ss", "us", "is")


class LexiconError(TfvoiceError):
    """A lexicon that cannot be read: names the file, the line and the fact."""


class FoundWord(NamedTuple):
    """The pronunciations of a word, the usual one first.

    Attributes:
      pronunciations: at least one.
      by: `lexicon`, or `rule`: the word without its ending is in the lexicon.
    """

    pronunciations: tuple[Pronunciation, ...]
    by: Literal["lexicon", "rule"]


class PronunciationLexicon:
    """Words and their pronunciations.

    Args:
      texts: the pronunciations of each word in lower case, as text, one a line.
      inventory: the phonemes.
      source: where it comes from, for messages.
    """

    def __init__(self, texts: dict[str, str], inventory: PhonemeInventory, source: str):
        self.inventory = inventory
        self.source = source
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, word: str) -> bool:
        return spelling(word) in self._texts

    def words(self) -> list[str]:
        """All words, in the order of the file."""
        return list(self._texts)

    def pronunciations(self, word: str) -> tuple[Pronunciation, ...]:
        """The pronunciations of a word, no two alike; empty where it is not here."""
        text = self._texts.get(spelling(word))
        return () if text is None else tuple(dict.fromkeys(tuple(line.split()) for line in text.split("\n")))

    def find(self, word: str) -> FoundWord | None:
        """Looks up a word, and else, in English, the word without a possessive or plural ending."""
        if found := self.pronunciations(word):
            return FoundWord(found, "lexicon")
        if not self._is_english:
            return None
        word = word.lower()
        for ending, replacement in _ENDINGS:
            stem = word.removesuffix(ending) + replacement
            if not word.endswith(ending) or (ending == "s" and word.endswith(_NO_PLURAL)):
                continue
            if found := self.pronunciations(stem):
                plural = ending == "s'" and replacement == "s"
                return FoundWord(found if plural else tuple(map(with_s, found)), "rule")
        return None

    def after(self, own: "PronunciationLexicon") -> "PronunciationLexicon":
        """This lexicon with the words of another one before its own: their pronunciations replace those here.

        To words of English, the others lose their accents, as words of texts do: "café" is found as "cafe", too.
        """
        plain = {spelling(fold(word).text): text for word, text in own._texts.items()} if self._is_english else {}
        return PronunciationLexicon(self._texts | plain | own._texts, self.inventory, f"{own.source}, {self.source}")

    @functools.cached_property
    def _is_english(self) -> bool:
        return set(self.inventory.bases) <= set(ARPABET.bases)


def with_s(pronunciation: Pronunciation) -> Pronunciation:
    """A pronunciation with the English ending of plurals and possessives: s, z, or ih0 z after a sibilant."""
    last = phonemes.base(pronunciation[-1])
    if last in _SIBILANTS:
        return (*pronunciation, "IH0", "Z")
    return (*pronunciation, "S" if last in _VOICELESS else "Z")


def load(source: str | Path) -> PronunciationLexicon:
    """The lexicon of a name or a path: `cmudict`, or a file; errors as for `read`."""
    return cmudict() if str(source) == CMUDICT else read(source)


@functools.cache
def cmudict() -> PronunciationLexicon:
    """CMUdict, the copy that is part of the package."""
    texts: dict[str, str] = {}
    for line in cmudict_bytes().decode().split("\n"):
        if "#" in line:
            line = line.partition("#")[0].rstrip()
        word, _, text = line.partition(" ")
        if word.endswith(")"):
            texts[word[: word.index("(")]] += "\n" + text
        elif word:
            texts[word] = text
    return PronunciationLexicon(texts, ARPABET, CMUDICT)


def cmudict_bytes() -> bytes:
    """The file `cmudict.dict` as published."""
    return gzip.decompress(CMUDICT_PATH.read_bytes())


def read(path: str | Path, inventory: PhonemeInventory | None = None) -> PronunciationLexicon:
    """Reads a lexicon.

    Args:
      path: a UTF-8 file, perhaps compressed by gzip.
      inventory: the phonemes that it may use, vowels with or without stress; None: those that it does use.

    Raises:
      LexiconError: the file cannot be read, has no word, a line without phonemes, or a phoneme that is not in
        `inventory`.
    """
    content = read_bytes(path)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise LexiconError(f"{path}: line {number} is not UTF-8; save the lexicon as UTF-8.") from None
    if b"\0" in content:
        raise LexiconError(f"{path}: holds zero bytes, as UTF-16 does; save the lexicon as UTF-8.")
    return parse(lines, inventory, str(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a lexicon, decompressed; errors as for `read`."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise LexiconError(f"{path}: {reason}; name a lexicon, or {CMUDICT}.") from None


def parse(lines: Iterable[str], inventory: PhonemeInventory | None, source: str) -> PronunciationLexicon:
    """Parses the lines of a lexicon; arguments and errors as for `read`, `source` names it in messages."""
    texts: dict[str, str] = {}
    for number, word, text in _entries(lines, source):
        if inventory is not None:
            try:
                text = phonemes.format(inventory.parse(text))
            except PhonemeError as error:
                raise LexiconError(f"{source}: line {number}, {word}: {error}") from None
        texts[word] = f"{texts[word]}\n{text}" if word in texts else text
    if not texts:
        raise LexiconError(
            f"{source}: has no words; write a word and its phonemes in each line, as hello HH AH0 L OW1."
        )
    found = inventory or PhonemeInventory.of(text.split() for text in texts.values())
    return PronunciationLexicon(texts, found, source)


def _entries(lines: Iterable[str], source: str) -> Iterator[tuple[int, str, str]]:
    """The number, the word and the phonemes of each line that has some."""
    for number, line in enumerate(lines, 1):
        content = "" if line.startswith(";;;") else line.partition("#")[0]
        parts = content.split(None, 1)
        if not parts:
            continue
        if len(parts) == 1:
            raise LexiconError(
                f"{source}: line {number}, {line.strip()!r}, has no phonemes; write them after the word, as "
                "hello HH AH0 L OW1."
            )
        word = spelling(parts[0])
        if match := _VARIANT.fullmatch(word):
            word = match[1]
        yield number, word, " ".join(parts[1].split())

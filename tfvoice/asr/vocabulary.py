"""The words of an n-gram language model, read from its file, and how an alphabet spells them."""

import bz2
import gzip
import lzma
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet

_BINARY = b"mmap lm http://kheafield.com/code"
# KenLM goes by the first bytes too, whatever the name says.
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# KenLM splits at these; other white space belongs to words.
_FIELD = re.compile("[^ \t\n\v\f\r]+")


class Vocabulary(NamedTuple):
    """The words of a language model that an alphabet can spell.

    Attributes:
      words: the model's own form of each word, by how the alphabet spells it.
      unspelled: words that need characters the alphabet does not have.
    """

    words: dict[str, str]
    unspelled: list[str]


def spelled(words: Iterator[str], alphabet: Alphabet) -> Vocabulary:
    """Spells words with an alphabet, whose case and apostrophes may be others; of equal spellings the first counts."""
    found: dict[str, str] = {}
    unspelled = []
    for word in words:
        spelling = alphabet.normalise(word)
        if alphabet.unknown(word) or not spelling or " " in spelling:
            unspelled.append(word)
        else:
            found.setdefault(spelling, word)
    return Vocabulary(found, unspelled)


def listed(path: Path) -> Iterator[str]:
    """The words of an ARPA file, or of a KenLM binary, without the marks for sentences and the unknown."""
    with open(path, "rb") as file:
        start = file.read(len(_BINARY))
    for word in _from_binary(path) if start == _BINARY else _from_arpa(path, start):
        if not re.fullmatch("<.*>", word):
            yield word


def _from_binary(path: Path) -> Iterator[str]:
    """The strings at the end of the file, each closed by a zero; the first is `<unk>`."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.rfind(b"<unk>\0")
        if start < 0:
            raise TfvoiceError(
                f"--lm={path}: holds no list of its words, which build_binary writes unless told not to; give the ARPA."
            )
        words = content[start:].decode("utf-8", "replace").split("\0")
    yield from filter(None, words)


def _from_arpa(path: Path, start: bytes) -> Iterator[str]:
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)
    with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
        unigrams = False
        for line in lines:
            if line.startswith("\\"):
                if unigrams:
                    return
                unigrams = line.strip() == "\\1-grams:"
            elif unigrams and len(fields := _FIELD.findall(line)) > 1:
                yield fields[1]

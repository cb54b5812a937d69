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
from tfvoice.text import Alphabet

_BINARY = b"mmap lm http://kheafield.com/code"
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


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
        binary = file.read(len(_BINARY)) == _BINARY
    for word in _from_binary(path) if binary else _from_arpa(path):
        if not re.fullmatch("<.*>", word):
            yield word


def _from_binary(path: Path) -> Iterator[str]:
    """The strings at the end of the file, each closed by a zero; the first is `<unk>`."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.rfind(b"\0<unk>\0")
        if start < 0:
            raise TfvoiceError(
                f"--lm={path}: holds no list of its words, which build_binary writes unless told not to; give the ARPA."
            )
        words = content[start + 1 :].decode("utf-8", "replace").split("\0")
    yield from filter(None, words)


def _from_arpa(path: Path) -> Iterator[str]:
    with _OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8", errors="replace") as lines:
        unigrams = False
        for line in lines:
            if line.startswith("\\"):
                if unigrams:
                    return
                unigrams = line.strip() == "\\1-grams:"
            elif unigrams and len(fields := line.split()) > 1:
                yield fields[1]

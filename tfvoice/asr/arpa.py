"""Reads n-gram models in ARPA format (Doug Paul's, of SRILM, IRSTLM and KenLM), plain or compressed."""

import bz2
import gzip
import lzma
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfvoice.asr import ngrams
from tfvoice.asr.ngrams import FormatError, Model, Section

# By the first bytes, as KenLM does, not by the suffix.
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def read(path: Path) -> Model:
    """Reads an ARPA file.

    Raises:
      FormatError: it is none, or is damaged.
    """
    with open(path, "rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)
    try:
        with opener(path, "rb") as file:
            return _Reader(file).model()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{error}") from None


class _Reader:
    """One pass over the lines of a file; bytes, because those are split at the white space of the format only."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._number = 0
        self._ids: dict[bytes, int] = {b"<unk>": 0}

    def model(self) -> Model:
        counts = self._counts()
        unigrams, words = self._unigrams(counts[0])
        read = [self._section(order, count) for order, count in enumerate(counts[1:], 2)]
        self._line(rb"\\end\\", "\\end\\")
        if missing := [mark for mark in (ngrams.START, ngrams.END) if mark.encode() not in self._ids]:
            raise FormatError(f"it has no {missing[0]} among its words")
        has_unknown = not np.isnan(unigrams[0, 0])
        if not has_unknown:
            unigrams[0] = ngrams.MISSING_UNKNOWN, 0.0
        return Model(words, ngrams.build(unigrams, _completed(unigrams, read)), has_unknown)

    def _lines(self) -> Iterator[bytes]:
        for line in self._file:
            self._number += 1
            if line := line.strip():
                yield line
        raise FormatError("the file ends too early")

    def _line(self, pattern: bytes, expected: str) -> re.Match:
        line = next(self._lines())
        if not (match := re.fullmatch(pattern, line)):
            text = line[:40].decode("utf-8", "replace")
            raise FormatError(f"line {self._number} should be {expected}, but is {text!r}")
        return match

    def _counts(self) -> list[int]:
        self._line(rb"(?:\xef\xbb\xbf)?\\data\\", "\\data\\")
        counts = []
        for line in self._lines():
            if not (match := re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", line)):
                break
            counts.append(int(match[2]))
        if not counts or line != b"\\1-grams:":
            raise FormatError(f"line {self._number} should be \\1-grams:")
        return counts

    def _entries(self, order: int, count: int) -> Iterator[tuple[list[bytes], float, float]]:
        """The n-grams of a section: words, log10 of probability and of backoff weight."""
        lines = self._lines()
        for _ in range(count):
            fields = next(lines).split()
            try:
                score = float(fields[0])
                backoff = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
            except ValueError:
                score = backoff = float("nan")
            if not order + 1 <= len(fields) <= order + 2 or not (score <= 0 and abs(backoff) < float("inf")):
                text = b" ".join(fields)[:40].decode("utf-8", "replace")
                raise FormatError(
                    f"line {self._number} should be one of {count} {order}-grams: log10 of a probability, {order} "
                    f"words, and perhaps a backoff weight; but is {text!r}"
                )
            yield fields[1 : order + 1], score, backoff

    def _unigrams(self, count: int) -> tuple[np.ndarray, list[str]]:
        values = array("f", [float("nan"), 0.0])
        for (word,), score, backoff in self._entries(1, count):
            # Some tools write it in capitals.
            if word in (b"<unk>", b"<UNK>"):
                values[0], values[1] = score, backoff
            elif word not in self._ids:
                self._ids[word] = len(self._ids)
                values.extend((score, backoff))
        self._ids.setdefault(b"<UNK>", 0)
        words = [word.decode("utf-8", "replace") for word in self._ids]
        return np.frombuffer(values, np.float32).reshape(-1, 2).copy(), words[: len(values) // 2]

    def _section(self, order: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Word ids `[n-grams, order]`, and float32 `[n-grams, 2]`."""
        self._line(rb"\\%d-grams:" % order, f"\\{order}-grams:")
        ids, values, find = array("i"), array("f"), self._ids.__getitem__
        for words, score, backoff in self._entries(order, count):
            try:
                ids.extend(map(find, words))
            except KeyError as error:
                word = error.args[0].decode("utf-8", "replace")
                raise FormatError(f"line {self._number} has {word!r}, which is not among the 1-grams") from None
            values.extend((score, backoff))
        return (
            np.frombuffer(ids, np.int32).reshape(-1, order) if ids else np.zeros([0, order], np.int32),
            np.frombuffer(values, np.float32).reshape(-1, 2) if values else np.zeros([0, 2], np.float32),
        )


def _completed(unigrams: np.ndarray, read: list[tuple[np.ndarray, np.ndarray]]) -> list[Section]:
    """Adds the ends and the contexts of n-grams that a pruned model lacks.

    The search for an n-gram goes from its end to longer ones, and stops at the first that is missing. What is added has
    the probability that backing off gives it.
    """
    added: list[np.ndarray] = []
    for position in range(len(read) - 1, 0, -1):
        longer = np.concatenate([read[position][0], *added[-1:]])
        parts = np.concatenate([longer[:, 1:], longer[:, :-1]])
        missing = ~np.isin(ngrams.hashes(parts), ngrams.hashes(read[position - 1][0]))
        added.append(np.unique(parts[missing], axis=0))
    sections = []
    for (ids, values), extra in zip(read, [*reversed(added), read[-1][0][:0]] if read else [], strict=True):
        if len(extra):
            table = ngrams.build(unigrams, sections)
            scores = [_backed_off(table, words) for words in extra.tolist()]
            ids = np.concatenate([ids, extra])
            values = np.concatenate([values, np.array([(each, 0.0) for each in scores], np.float32)])
        sections.append(Section(ngrams.hashes(ids), values[:, 0], values[:, 1]))
    return sections


def _backed_off(table: ngrams.Table, words: list[int]) -> float:
    """log10 of the probability of the last of the words, with the shorter n-grams of the table."""
    # The table has no n-grams as long as this, but its states hold contexts of that length.
    state = ngrams.empty_state(table._replace(order=table.order + 1))
    deeper = table._replace(order=table.order + 1)
    for word in words:
        state, score = ngrams.next_state(deeper, state, word)
    return score / np.log(10)

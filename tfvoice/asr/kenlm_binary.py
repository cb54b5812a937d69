"""Reads the binaries of KenLM's build_binary: `probing`, and `trie` with its options -q, -b and -a (Heafield, 2011).

The file is a header, the hashes of the words, the n-grams, and the words. `probing` stores an n-gram by its hash, which
`ngrams` shares; `trie` as a tree that starts at the last word, in fields that are not aligned to bytes.
"""

import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfvoice.asr import ngrams
from tfvoice.asr.ngrams import FormatError, Model, Section

_MAGIC = b"mmap lm http://kheafield.com/code"
_VERSION = b"mmap lm http://kheafield.com/code format version 5\n\0"
# Floats, integers and padding that show the architecture of the machine that wrote the file.
_CHECK = np.array([0.0, 1.0, -0.5], "<f4").tobytes() + np.array([1, 2**32 - 1, 0, 1, 0], "<u4").tobytes()
_PARAMETERS = np.dtype(
    {
        "names": ["order", "multiplier", "type", "words", "version"],
        "formats": ["u1", "<f4", "<i4", "u1", "<u4"],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 20,
    }
)
_PROBING, _REST, _TRIE, _QUANTISED, _COMPRESSED, _BOTH = range(6)
_UNIGRAM = np.dtype([("score", "<f4"), ("backoff", "<f4")])
_TRIE_UNIGRAM = np.dtype([("score", "<f4"), ("backoff", "<f4"), ("next", "<u8")])
_ENTRY = np.dtype([("key", "<u8"), ("score", "<f4"), ("backoff", "<f4")])
_LONGEST = np.dtype([("key", "<u8"), ("score", "<f4")])


def is_one(path: Path) -> bool:
    """Whether a file is a KenLM binary, by its first bytes."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read(path: Path) -> Model:
    """Reads a KenLM binary.

    Raises:
      FormatError: it is damaged, or of a kind that cannot be read.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reader = _Reader(bytes(content))
    try:
        return reader.model()
    except (ValueError, IndexError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError("the KenLM binary is truncated") from None


class _Reader:
    """Reads one section of the file after the other."""

    def __init__(self, content: bytes):
        self._content = content
        self._position = 0

    def model(self) -> Model:
        parameters, counts = self._header()
        self._multiplier = parameters["multiplier"]
        probing = parameters["type"] == _PROBING
        self._skip(8 + (12 * self._buckets(counts[0]) if probing else 8 * counts[0]))
        unigrams, sections = self._probing(counts) if probing else self._trie(counts, parameters["type"])
        if not self._content.startswith(b"<unk>\0", self._position):
            raise FormatError("the KenLM binary has no list of words, which build_binary writes by default")
        words = self._content[self._position :].decode("utf-8", "replace").split("\0")[:-1]
        scores = np.stack([-np.abs(unigrams["score"]), unigrams["backoff"]], axis=1)[: len(words)]
        return Model(words, ngrams.build(scores, sections), bool(scores[0, 0] > ngrams.MISSING_UNKNOWN + 1))

    def _header(self) -> tuple[np.void, list[int]]:
        if not self._content.startswith(_VERSION):
            raise FormatError("the KenLM binary is unfinished, or not of version 5; build it again")
        self._skip(-(-(len(_VERSION) + 1) // 8) * 8)
        if self._array(np.dtype("u1"), len(_CHECK)).tobytes() != _CHECK:
            raise FormatError("the KenLM binary is of another architecture; build it again")
        parameters = self._array(_PARAMETERS, 1)[0]
        counts = self._array(np.dtype("<u8"), int(parameters["order"])).astype(int).tolist()
        self._position = -(-self._position // 8) * 8
        if parameters["type"] not in (_PROBING, _TRIE, _QUANTISED, _COMPRESSED, _BOTH):
            raise FormatError("a KenLM binary with rest costs cannot be read; build it without -r")
        return parameters, counts

    def _skip(self, size: int) -> None:
        self._position += size

    def _array(self, dtype: np.dtype, count: int) -> np.ndarray:
        found = np.frombuffer(self._content, dtype, count, self._position)
        self._position += found.nbytes
        return found

    def _buckets(self, entries: int) -> int:
        # KenLM multiplies in single precision.
        return max(entries + 1, int(np.float32(self._multiplier) * np.float32(entries)))

    def _probing(self, counts: list[int]) -> tuple[np.ndarray, list[Section]]:
        unigrams = self._array(_UNIGRAM, counts[0] + 1)
        sections = []
        for count in counts[1:-1]:
            entries = self._array(_ENTRY, self._buckets(count))
            entries = entries[entries["key"] != 0]
            sections.append(Section(entries["key"], -np.abs(entries["score"]), entries["backoff"]))
        longest = self._array(_LONGEST, self._buckets(counts[-1]))
        longest = longest[longest["key"] != 0]
        sections.append(Section(longest["key"], -np.abs(longest["score"]), np.zeros(len(longest), np.float32)))
        return unigrams, sections

    def _trie(self, counts: list[int], kind: int) -> tuple[np.ndarray, list[Section]]:
        bins = self._bins(len(counts)) if kind in (_QUANTISED, _BOTH) else [None] * (len(counts) - 1)
        unigrams = self._array(_TRIE_UNIGRAM, counts[0] + 2)
        keys = np.arange(counts[0], dtype=np.uint64)
        pointers = unigrams["next"][: counts[0] + 1]
        sections = []
        for place, count in enumerate(counts[1:]):
            last = place == len(counts) - 2
            following = 0 if last else counts[place + 2]
            high = self._high_bits(count + 1, following) if kind in (_COMPRESSED, _BOTH) and not last else None
            level = self._level(counts[0], count, following, bins[place], high, last)
            parents = np.repeat(keys, np.diff(pointers.astype(np.int64)))
            keys = ngrams.extended_hash(parents, level.words)
            pointers = level.pointers
            sections.append(Section(keys, level.scores, level.backoffs))
        return unigrams, sections

    def _bins(self, order: int) -> list[tuple[np.ndarray, ...]]:
        """The values that quantised probabilities and backoff weights stand for, by order from 2."""
        _, score_bits, backoff_bits = self._array(np.dtype("u1"), 8)[:3].astype(int).tolist()
        pairs = [
            (self._array(np.dtype("<f4"), 1 << score_bits), self._array(np.dtype("<f4"), 1 << backoff_bits))
            for _ in range(order - 2)
        ]
        return [*pairs, (self._array(np.dtype("<f4"), 1 << score_bits),)]

    def _high_bits(self, entries: int, largest: int) -> "_HighBits":
        """The table of -a: where the high bits of the pointers change."""
        start = self._position
        most_chopped = self._content[start + 1]
        self._position = -(-start // 8) * 8 + 8
        required = largest.bit_length()
        costs = [
            ((largest >> (required - chopped)) * 64 - entries * chopped, chopped)
            for chopped in range(min(required, most_chopped) + 1)
        ]
        inline = required - min(costs)[1]
        starts = self._array(np.dtype("<u8"), (largest >> inline) + 1)
        # The section is as long as if it began at the worst place.
        self._position = start + 8 * (1 + len(starts)) + 7
        return _HighBits(starts, inline)

    def _level(self, vocabulary: int, count: int, following: int, bins, high, last: bool) -> "_Level":
        """The n-grams of one length."""
        word_bits = vocabulary.bit_length()
        score_bits, backoff_bits = (
            (31, 32) if bins is None else [len(table).bit_length() - 1 for table in (*bins, [0])][:2]
        )
        backoff_bits = 0 if last else backoff_bits
        pointer_bits = 0 if last else following.bit_length() if high is None else high.inline
        total = word_bits + score_bits + backoff_bits + pointer_bits
        packed = self._array(np.dtype("u1"), ((1 + count) * total + 7) // 8 + 8)
        at = np.arange(count + 1, dtype=np.int64) * total
        words = _bits(packed, at[:-1], word_bits)
        weights = at[:-1] + word_bits
        backoffs = np.zeros(count, np.float32)
        if bins is None:
            scores = (_bits(packed, weights, 31).astype(np.uint32) | np.uint32(1 << 31)).view(np.float32)
            if not last:
                backoffs = _bits(packed, weights + 31, 32).astype(np.uint32).view(np.float32)
        else:
            scores = bins[0][_bits(packed, weights + backoff_bits, score_bits)]
            if not last:
                backoffs = bins[1][_bits(packed, weights, backoff_bits)]
        pointers = _bits(packed, at + (total - pointer_bits), pointer_bits)
        if high is not None:
            changes = np.searchsorted(high.starts, np.arange(count + 1, dtype=np.uint64), side="right") - 1
            pointers |= changes.astype(np.uint64) << np.uint64(high.inline)
        return _Level(words, scores, backoffs, pointers)


class _HighBits(NamedTuple):
    """For each value of the high bits of the pointers the first n-gram that has it; and how many bits are low."""

    starts: np.ndarray
    inline: int


class _Level(NamedTuple):
    """The n-grams of one length: first words, log10 of probabilities and backoff weights, and first longer n-grams."""

    words: np.ndarray
    scores: np.ndarray
    backoffs: np.ndarray
    pointers: np.ndarray


def _bits(packed: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """Reads uint64 of `count` bits, at most 57, at bit positions of little-endian bytes."""
    found = np.zeros(len(at), np.uint64)
    first = at >> 3
    for byte in range(8):
        found |= packed[np.minimum(first + byte, len(packed) - 1)].astype(np.uint64) << np.uint64(8 * byte)
    return (found >> (at & 7).astype(np.uint64)) & np.uint64((1 << count) - 1)

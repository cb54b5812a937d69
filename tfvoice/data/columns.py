"""Columns of a table of many utterances: texts and class ids, each in one buffer instead of an object for each row.

A Python string has 49 bytes beside its characters, and a NumPy array 112 beside its numbers: more than what they hold.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np


class _Column(Sequence):
    """Rows in one buffer, and where each of them ends in it; a subclass says what a row is."""

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        return self._row(int(self._ends[row]), int(self._ends[row + 1]))

    def __iter__(self) -> Iterator:
        return (self[row] for row in range(len(self)))

    def take(self, rows: np.ndarray) -> "_Column":
        """The column of some rows, in their order."""
        return type(self)(self[int(row)] for row in rows)


class Texts(_Column):
    """Texts, read only; a list of `str` to those that use it.

    Args:
      texts: their content.
    """

    def __init__(self, texts: Iterable[str] = ()):
        content, ends = bytearray(), array("q", [0])
        for text in texts:
            content += text.encode("utf-8", "surrogatepass")
            ends.append(len(content))
        self._content, self._ends = bytes(content), np.frombuffer(ends, np.int64)

    @classmethod
    def joined(cls, parts: Iterable["Texts"]) -> "Texts":
        """The rows of several columns, one after the other."""
        parts, result = list(parts), cls()
        result._content = b"".join(part._content for part in parts)
        result._ends = _joined_ends([part._ends for part in parts])
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None

    def _row(self, start: int, end: int) -> str:
        return self._content[start:end].decode("utf-8", "surrogatepass")


class ClassIds(_Column):
    """Sequences of class ids, read only; a list of int32 arrays to those that use it.

    Args:
      rows: their content, not negative; of another `ClassIds`, nothing is copied.
    """

    def __init__(self, rows: Iterable[np.ndarray] = ()):
        if isinstance(rows, ClassIds):
            self._values, self._ends = rows._values, rows._ends
            return
        rows = list(rows)
        self._ends = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int64)
        values = np.concatenate([np.zeros(0, np.int32), *rows])
        self._values = values.astype(np.min_scalar_type(int(values.max(initial=0))))

    @classmethod
    def joined(cls, parts: Iterable["ClassIds"]) -> "ClassIds":
        """The rows of several columns, one after the other."""
        parts, result = list(parts), cls()
        result._values = np.concatenate([np.zeros(0, np.uint8), *(part._values for part in parts)])
        result._ends = _joined_ends([part._ends for part in parts])
        return result

    @property
    def lengths(self) -> np.ndarray:
        """Class ids of each row, int32 `[rows]`."""
        return np.diff(self._ends).astype(np.int32)

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """A table of some rows, int32 `[rows, longest]`, padded with 0."""
        found = [self[int(row)] for row in rows]
        table = np.zeros((len(found), max(map(len, found))), np.int32)
        for row, values in enumerate(found):
            table[row, : len(values)] = values
        return table

    def _row(self, start: int, end: int) -> np.ndarray:
        return self._values[start:end].astype(np.int32)


def _joined_ends(parts: list[np.ndarray]) -> np.ndarray:
    starts = np.concatenate([[0], np.cumsum([part[-1] for part in parts], dtype=np.int64)]).astype(np.int64)
    moved = [part[1:] + start for part, start in zip(parts, starts[:-1], strict=True)]
    return np.concatenate([np.zeros(1, np.int64), *moved])

"""Sorts more lines than memory should hold, with files in a temporary folder."""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

# 100 MB of planned utterances; a smaller corpus is planned without a file.
LINES_IN_MEMORY = 200_000


class SortedLines:
    """Lines in order, which can be iterated over again and again.

    Up to `LINES_IN_MEMORY` stay in memory. Of more, sorted runs are written to a temporary folder and merged into one
    file. The folder, in `TMPDIR`, holds all lines twice while they are merged, and is deleted with this object.

    Args:
      lines: any number of texts, each without a line feed.
    """

    def __init__(self, lines: Iterable[str]):
        self._lines: list[str] = []
        self._count = 0
        self._folder: tempfile.TemporaryDirectory | None = None
        runs: list[Path] = []
        for line in lines:
            if len(self._lines) == LINES_IN_MEMORY:
                runs.append(self._write(f"run-{len(runs)}", sorted(self._lines)))
                self._lines = []
            self._lines.append(line)
            self._count += 1
        self._lines.sort()
        self._file = self._merged(runs) if runs else None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines) if self._file is None else _read(self._file)

    def _merged(self, runs: list[Path]) -> Path:
        merged = self._write("merged", heapq.merge(*map(_read, runs), self._lines))
        for run in runs:
            run.unlink()
        self._lines = []
        return merged

    def _write(self, name: str, lines: Iterable[str]) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tfvoice-")
        path = Path(self._folder.name, name)
        with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        return path


def _read(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            yield line[:-1]

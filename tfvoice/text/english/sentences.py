"""A long text as sentences, one after the other, at bounded memory.

A sentence ends with . ? or ! before a blank, unless the dot belongs to an abbreviation or small letters follow, and
with a blank line. Decimals, "Dr. Smith" and "e.g. this" are no ends (`tfvoice.text.english.context.is_boundary`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tfvoice.text.english.context import is_boundary

# Characters read at once, and those that must be known after a mark to judge it.
_BLOCK = 4096
_AHEAD = 128
# Of equal length, so that places stay.
_PLAIN_MARKS = str.maketrans("“”‘’«»…‼⁇।؟", '""\'\'"".!?.?')
_CANDIDATE = re.compile(r"[.?!](?=[\"')\]}]*\s)|(?P<certain>[。！？][」』”\"')]*|\n[ \t\r]*\n)")
_CLOSERS = re.compile(r"[\"')\]}]*")
_PAUSE = re.compile(r"[,;:—–](?=\s)")
_BLANK = re.compile(r"\s")
_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a longer text.

    Attributes:
      start: where it begins in the whole text, in characters.
      text: as it is written, without the blanks around it.
    """

    start: int
    text: str


def sentences(text: str | Iterable[str], longest: int = 600) -> Iterator[Sentence]:
    """Splits a text into sentences.

    Args:
      text: the text, or its parts in order, such as the lines of an open file with their line ends.
      longest: characters of the longest sentence. A longer one is cut at its last pause, else at its last blank; memory
        is bounded by this length, not by that of the text.

    Yields:
      the sentences in order; none is empty.

    Raises:
      ValueError: `longest` is below 20.
    """
    if longest < 20:
        raise ValueError(
            f"longest is {longest}: sentences of fewer than 20 characters would be cut inside their words."
        )
    buffer, offset = "", 0
    for block in _blocks(text):
        buffer += block
        start = _BLANKS.match(buffer).end()
        while len(buffer) - start > longest + _AHEAD:
            end = _end(buffer, start, longest)
            yield Sentence(offset + start, buffer[start:end].rstrip())
            start = _BLANKS.match(buffer, end).end()
        buffer, offset = buffer[start:], offset + start
    start = 0
    while start < len(buffer):
        end = _end(buffer, start, longest)
        yield Sentence(offset + start, buffer[start:end].rstrip())
        start = _BLANKS.match(buffer, end).end()


def _blocks(text: str | Iterable[str]) -> Iterator[str]:
    for part in [text] if isinstance(text, str) else text:
        for start in range(0, len(part), _BLOCK):
            yield part[start : start + _BLOCK]


def _end(buffer: str, start: int, longest: int) -> int:
    """Where the sentence ends that begins at a place, which is no blank."""
    window = buffer[start : start + longest + _AHEAD].translate(_PLAIN_MARKS)
    for candidate in _CANDIDATE.finditer(window):
        if candidate.end() > longest:
            break
        if candidate["certain"]:
            return start + candidate.end()
        if is_boundary(window, candidate.start()):
            return start + _CLOSERS.match(window, candidate.end(), longest).end()
    if len(window) <= longest:
        return len(buffer)
    for pattern in (_PAUSE, _BLANK):
        ends = [match.end() for match in pattern.finditer(window, longest // 3, longest)]
        if ends:
            return start + ends[-1]
    return start + longest

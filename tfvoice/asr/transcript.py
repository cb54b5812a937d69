"""Transcripts, and how they are written: text, JSON, and subtitles as SubRip or WebVTT."""

import functools
import html
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

# The usual limits of subtitles: two lines of 42 characters, for at most 7 seconds and at least one. A Chinese character
# is as wide as two others.
_LINES = 2
_LINE_COLUMNS = 42
_LONGEST_SECONDS = 7.0
_SHORTEST_SECONDS = 1.0
# A pause of this length ends a cue, however short it is.
_PAUSE_SECONDS = 1.0


class Word(NamedTuple):
    """A word, its start and end in seconds, and the lowest confidence among its characters, 0..1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording.

    Attributes:
      seconds: length of the recording.
      text: its words with single spaces between them, or nothing where the alphabet has no space; empty for silence.
      confidence: mean confidence of the words; None where there is no word.
      words: the words with their times.
      alternatives: the best texts, the first being `text`, where the decoder was to list them.
    """

    seconds: float
    text: str
    confidence: float | None
    words: list[Word]
    alternatives: tuple["Alternative", ...] = ()


class Alternative(NamedTuple):
    """One of the best texts of a recording, and its score: higher is better, and differences are natural logarithms."""

    text: str
    score: float


class Cue(NamedTuple):
    """A subtitle: its start and end in seconds, and its lines."""

    start: float
    end: float
    lines: list[str]


def to_text(_: str, transcript: Transcript) -> str:
    """Writes the text as one line."""
    return f"{transcript.text}\n"


def to_json(file: str, transcript: Transcript) -> str:
    """Writes everything as one line of JSON, so that several are JSON lines; times are rounded to milliseconds."""
    words = [_plain(word) for word in transcript.words]
    content = {
        "file": file,
        "seconds": round(transcript.seconds, 3),
        "text": transcript.text,
        "confidence": None if transcript.confidence is None else round(transcript.confidence, 4),
        "words": words,
    }
    if transcript.alternatives:
        content["alternatives"] = [{"text": text, "score": round(score, 4)} for text, score in transcript.alternatives]
    return json.dumps(content, ensure_ascii=False) + "\n"


def word_to_json(word: Word) -> str:
    """Writes one word as JSON, as `to_json` does, without the end of the line."""
    return json.dumps(_plain(word), ensure_ascii=False)


def to_srt(_: str, transcript: Transcript) -> str:
    """Writes SubRip subtitles."""
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues(transcript), 1)
    ]
    return "\n".join(blocks)


def to_vtt(_: str, transcript: Transcript) -> str:
    """Writes WebVTT subtitles (W3C, "WebVTT: The Web Video Text Tracks Format")."""
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{html.escape(chr(10).join(cue.lines), quote=False)}\n"
        for cue in cues(transcript)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


FORMATS: dict[str, Callable[[str, Transcript], str]] = {
    "text": to_text,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
}
SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}


def cues(transcript: Transcript) -> list[Cue]:
    """Divides the words of a transcript among subtitles.

    A cue takes words as long as they fit on its lines and into its time, and ends at a long pause. A cue that is full
    before that ends at the longest pause in its second half. A word that is longer than a line is split.

    Args:
      transcript: its words are in order of time.

    Returns:
      Cues that do not overlap, each shown for at least a second where the next one leaves room.
    """
    space = " " if " " in transcript.text else ""
    rest = [part for word in transcript.words for part in _parts(word, space)]
    groups: list[list[Word]] = []
    while rest:
        count = _fitting(rest)
        groups.append(rest[:count])
        rest = rest[count:]
    subtitles = []
    for number, group in enumerate(groups):
        start, end = group[0].start, max(group[-1].end, group[0].start + _SHORTEST_SECONDS)
        for next_group in groups[number + 1 : number + 2]:
            end = max(min(end, next_group[0].start), group[-1].end)
        subtitles.append(Cue(start, end, _lines(group)))
    return subtitles


def _fitting(parts: list[Word]) -> int:
    """How many of the parts the next cue takes, at least one."""
    count = 1
    while count < len(parts) and parts[count].start - parts[count - 1].end < _PAUSE_SECONDS:
        if parts[count].end - parts[0].start > _LONGEST_SECONDS or len(_lines(parts[: count + 1])) > _LINES:
            middle = (count + 1) // 2
            return max(range(middle, count + 1), key=lambda cut: parts[cut].start - parts[cut - 1].end)
        count += 1
    return count


def _parts(word: Word, space: str) -> Iterator[Word]:
    """A word and the space after it; one longer than a line in parts that fit, which share its time by their length."""
    columns, limit = _columns(word.text), _LINE_COLUMNS
    seconds_per_column = (word.end - word.start) / max(1, columns)
    if columns > limit:
        limit = min(limit, int(_LONGEST_SECONDS / max(seconds_per_column, 1e-9)))
    part, start = "", word.start
    for character in word.text:
        if part and _columns(character) and _columns(part + character) > limit:
            end = start + _columns(part) * seconds_per_column
            yield word._replace(text=part, start=start, end=end)
            part, start = "", end
        part += character
    yield word._replace(text=part + space, start=start)


def _lines(parts: list[Word]) -> list[str]:
    lines, width = [""], 0
    for part in parts:
        if width and width + _columns(part.text.rstrip()) > _LINE_COLUMNS:
            lines, width = [*lines, ""], 0
        lines[-1] += part.text
        width += _columns(part.text)
    return [line.rstrip() for line in lines]


@functools.lru_cache(4096)
def _columns(text: str) -> int:
    """Width of a text on a screen: wide characters take two columns, combining marks none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in ("Mn", "Me") for character in text)


def _plain(word: Word) -> dict[str, str | float]:
    times = {"start": round(word.start, 3), "end": round(word.end, 3)}
    return {"word": word.text, **times, "confidence": round(word.confidence, 4)}


def _clock(seconds: float, mark: str) -> str:
    """Writes a time as `hh:mm:ss,mmm`, with `mark` before the milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{milliseconds:03}"

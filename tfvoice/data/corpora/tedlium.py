"""The tree of TED-LIUM 1 to 3: talks in `sph/`, and in `stm/` the times and transcripts of their segments."""

import re
from collections.abc import Iterator
from pathlib import Path

from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip, Utterance

_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_NOT_SPEECH = "ignore_time_segment_in_scoring"
_UNKNOWN_WORD = "<unk>"
# The optional sixth field, whatever it holds: <o,f0,male>, <F0_M>, <NA>.
_LABEL = re.compile(rf"(?!{_UNKNOWN_WORD})<[^<>]*>")
# Pronunciation variants, as in "a(2)", and noises, as in {BREATH} and <sil>.
_MARKUP = re.compile(r"\([^()\s]*\)|\{[^{}]*\}|<[^<>\s]*>")
# Separated from their word by a blank.
_ENDINGS = re.compile(r" '(?=(?:s|m|re|ve|ll|d|t)\b)")


def read(source: str) -> Listing:
    """Reads TED-LIUM; each segment of a talk is an utterance.

    Segments that its authors excluded from scoring, and those with an unintelligible word (`<unk>`), are skipped as
    expected. "it 's" becomes "it's".

    Args:
      source: the folder that holds `train`, `dev` and `test` (of release 3: `legacy`), or the folder above it.

    Raises:
      CorpusError: there is no such tree.
    """
    root = base.find_tree(Path(source), _is_root, "train/stm beside train/sph")
    return base.checked(
        item
        for name, split in _SPLITS.items()
        for path in _transcripts(root / name / "stm")
        for item in _talk(path, split)
    )


def _transcripts(folder: Path) -> list[Path]:
    return [path for path in base.entries(folder) if path.suffix == ".stm"] if folder.is_dir() else []


def _is_root(folder: Path) -> bool:
    return any((folder / name / "stm").is_dir() and (folder / name / "sph").is_dir() for name in _SPLITS)


def _talk(path: Path, split: str) -> Iterator[Utterance | Skip]:
    audio = path.parent.parent / "sph" / f"{path.stem}.sph"
    if not audio.is_file():
        yield Skip(path.stem, "missing_audio", detail=f"no {audio}, the audio of {path.name}")
        return
    for number, line in enumerate(base.read_lines(path), 1):
        if line.strip() and not line.startswith(";;"):
            yield _segment(f"{path.name} line {number}", line, audio, split)


def _segment(where: str, line: str, audio: Path, split: str) -> Utterance | Skip:
    # talk channel speaker start end <label> words...; release 1 has no label in places.
    fields = line.split(None, 5)
    try:
        start, end = float(fields[3]), float(fields[4])
        if not 0 <= start <= end < 1e6:
            raise ValueError
    except (IndexError, ValueError):
        return Skip(where, "malformed_row", detail=line[:80])
    id = f"{audio.stem}-{round(100 * start):07d}-{round(100 * end):07d}"
    text = fields[5] if len(fields) > 5 else ""
    label = _LABEL.match(text)
    text = text[label.end() :].strip() if label else text.strip()
    if text == _NOT_SPEECH:
        return Skip(id, "excluded_from_scoring", True, where)
    if _UNKNOWN_WORD in text:
        return Skip(id, "unknown_word", True, f"{where}: {text[:80]}")
    text = _ENDINGS.sub("'", " ".join(_MARKUP.sub(" ", text).split()))
    return Utterance(id, str(audio), text, fields[2], split, start, end - start)

"""The tree of CMU AN4: `etc/an4_{train,test}.transcription`, and audio below `wav/` as sphere, wav or bare samples."""

import re
from dataclasses import replace
from pathlib import Path

from tfvoice import storage
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip, Utterance

_RATE_HZ = 16000
_SUFFIXES = (".sph", ".raw", *base.AUDIO_SUFFIXES)
_FRACTIONS = {"train": 0.9, "valid": 0.1}
_LINE = re.compile(r"(?:<s>)?(?P<text>.*?)(?:</s>)?\s*\((?P<id>[^()\s]+)\)\s*")


def read(source: str) -> Listing:
    """Reads AN4. The corpus has no validation split: a tenth of its training utterances, chosen by hash, becomes valid.

    Args:
      source: the folder that holds `etc` and `wav`, or the folder above it.

    Raises:
      CorpusError: there is no such tree.
    """
    root = base.find_tree(Path(source), _is_root, "etc/an4_train.transcription beside wav/")
    # Of several files of one recording, sphere states its rate and byte order, bare samples do not.
    files = sorted(_audio(root / "wav"), key=lambda path: -_SUFFIXES.index(path.suffix.lower()))
    audio = {path.stem: path for path in files}
    utterances, skipped, known = [], [], set()
    for part in ("train", "test"):
        path = root / "etc" / f"an4_{part}.transcription"
        for number, line in enumerate(_lines(path), 1):
            match = _LINE.fullmatch(line)
            if not match:
                skipped.append(
                    Skip(f"{path.name} line {number}", "malformed_row", detail=f"no (id) at the end: {line}")
                )
                continue
            id, text = match["id"], match["text"].strip()
            known.add(id)
            if id not in audio:
                skipped.append(Skip(id, "missing_audio", detail=f"{path.name} names it"))
                continue
            bare_hz = _RATE_HZ if audio[id].suffix.lower() == ".raw" else None
            speaker = id.split("-")[1] if id.count("-") > 1 else ""
            utterance = Utterance(id, str(audio[id]), text, speaker, "", bare_hz=bare_hz)
            split = part if part == "test" else base.assign_split(utterance, _FRACTIONS, "utterance")
            utterances.append(replace(utterance, split=split))
    skipped += [Skip(id, "missing_transcript", detail=str(audio[id])) for id in audio.keys() - known]
    return base.checked([*utterances, *skipped])


def _is_root(folder: Path) -> bool:
    return (folder / "etc" / "an4_train.transcription").is_file() and (folder / "wav").is_dir()


def _audio(folder: Path) -> list[Path]:
    return [
        Path(place) / name
        for place, names in storage.walk(folder)
        for name in names
        if name.lower().endswith(_SUFFIXES)
    ]


def _lines(path: Path) -> list[str]:
    return [line for line in base.read_lines(path) if line.strip()] if path.is_file() else []

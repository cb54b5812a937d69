"""The tree of LibriSpeech: subset/speaker/chapter/, one `.trans.txt` and the FLAC files of a chapter in each.

LibriTTS has the same folders, and beside each recording its text as a file.
"""

from collections.abc import Iterator
from pathlib import Path

from tfvoice import storage
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

_PURPOSES = ("train-", "dev-", "test-")
# The texts of LibriTTS; in the other file, `.original.txt`, numbers are digits.
_NORMALIZED = ".normalized.txt"


def read(source: str) -> Listing:
    """Reads all subsets of LibriSpeech, or of LibriTTS, that are present.

    The subsets give the splits: `train-*` is train, `dev-*` is valid, and the test sets stay separate, as results are
    reported: test_clean and test_other.

    Args:
      source: the folder that holds subsets such as `train-clean-100`, the folder above it, or a single subset.

    Raises:
      CorpusError: there is no such tree.
    """
    path = Path(source)
    if path.name.startswith(_PURPOSES) and path.is_dir() and not _subsets(path):
        root, subsets = path.absolute().parent, [path]
    else:
        root = base.find_tree(path, lambda folder: bool(_subsets(folder)), "train-clean-100/, dev-clean/ or their like")
        subsets = _subsets(root)
    items = (item for subset in subsets for item in _subset(subset))
    listing = base.checked(items, _speakers(root / "SPEAKERS.TXT"))
    if not listing.utterances and all(skip.reason == "missing_transcript" for skip in listing.skipped):
        raise CorpusError(
            f"{source}: no chapter with a .trans.txt is in {', '.join(subset.name for subset in subsets)}; "
            "unpack the whole archive."
        )
    return listing


def _subsets(folder: Path) -> list[Path]:
    return [child for child in base.entries(folder) if child.name.startswith(_PURPOSES) and child.is_dir()]


def _split(subset: str) -> str:
    purpose = subset.split("-")[0]
    return {"train": "train", "dev": "valid"}.get(purpose, subset.replace("-", "_"))


def _subset(subset: Path) -> Iterator[Utterance | Skip]:
    for place, names in storage.walk(subset):
        chapter = Path(place)
        audio = {Path(name).stem: chapter / name for name in names if name.lower().endswith(base.AUDIO_SUFFIXES)}
        known: set[str] = set()
        for name in names:
            if name.endswith(".trans.txt"):
                for id, text in _lines(chapter / name):
                    known.add(id)
                    if id in audio:
                        yield Utterance(id, str(audio[id]), text, id.split("-")[0], _split(subset.name))
                    else:
                        yield Skip(id, "missing_audio", detail=f"{chapter / name} names it")
            elif name.endswith(_NORMALIZED):
                id = name.removesuffix(_NORMALIZED)
                known.add(id)
                yield _libritts(id, audio.get(id), chapter / name, _split(subset.name))
        yield from (Skip(id, "missing_transcript", detail=str(audio[id])) for id in audio.keys() - known)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in filter(str.strip, base.read_lines(path)):
        id, *text = line.strip().split(None, 1)
        yield id, "".join(text)


def _libritts(id: str, audio: Path | None, transcript: Path, split: str) -> Utterance | Skip:
    if audio is None:
        return Skip(id, "missing_audio", detail=f"{transcript} is its text")
    try:
        return Utterance(id, str(audio), base.read_text(transcript), id.split("_")[0], split)
    except (OSError, UnicodeDecodeError) as error:
        return Skip(id, "unreadable_transcript", detail=f"{transcript}: {error}")


def _speakers(path: Path) -> dict[str, dict[str, str]]:
    """Reads `SPEAKERS.TXT`: id | sex | subset | minutes | name, after comment lines."""
    if not path.is_file():
        return {}
    names, speakers = ("sex", "subset", "minutes", "name"), {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        id, *values = (part.strip() for part in line.split("|", 4))
        if id.isdigit() and len(values) == len(names):
            speakers[id] = dict(zip(names, values, strict=True))
    return speakers

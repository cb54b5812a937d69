"""The tree of LJ Speech: one speaker, `metadata.csv` (id|text|normalised text) and `wavs/`."""

from pathlib import Path

from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

SPEAKER = "lj"


def read(source: str) -> Listing:
    """Reads LJ Speech; the text is the normalised one, in which numbers are words.

    Args:
      source: the folder that holds `metadata.csv` and `wavs`, or the folder above it.

    Raises:
      CorpusError: there is no such tree, or its `metadata.csv` is not UTF-8.
    """
    root = base.find_tree(Path(source), _is_root, "metadata.csv beside wavs/")
    files = reversed(base.entries(root / "wavs"))
    audio = {path.stem: path for path in files if path.suffix.lower() in base.AUDIO_SUFFIXES}
    try:
        lines = (root / "metadata.csv").read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{root / 'metadata.csv'}: not UTF-8 ({error}); save it as UTF-8.") from None
    utterances, skipped, ids = [], [], set()
    for number, line in enumerate(lines, 1):
        # No quoting: a " is part of the text.
        id, *texts = [part.strip() for part in line.split("|")]
        ids.add(id)
        if not line.strip():
            continue
        if not texts:
            skipped.append(Skip(id, "malformed_row", detail=f"metadata.csv line {number} has no |"))
        elif len(texts) > 2:
            # Forks of the format write the speaker or the language into further columns.
            detail = f"metadata.csv line {number} has {len(texts) + 1} columns; write it as a manifest with a header"
            skipped.append(Skip(id, "malformed_row", detail=detail))
        elif id not in audio:
            skipped.append(Skip(id, "missing_audio", detail=f"no wavs/{id}"))
        else:
            utterances.append(Utterance(id, str(audio[id]), texts[-1] or texts[0], SPEAKER))
    skipped += [Skip(id, "missing_transcript", detail="not in metadata.csv") for id in audio.keys() - ids]
    return base.checked([*utterances, *skipped])


def _is_root(folder: Path) -> bool:
    return (folder / "metadata.csv").is_file() and (folder / "wavs").is_dir()

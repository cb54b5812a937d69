"""The tree of Common Voice, one language: `train.tsv`, `dev.tsv`, `test.tsv` and their like beside `clips/`.

The three tables hold each sentence once: a large part of the validated clips, sentences that others read as well, is in
`validated.tsv` alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_METADATA = ("age", "gender", "accents", "accent", "locale")
# Enough of the 128 digits to tell speakers apart.
_SPEAKER_DIGITS = 16
CLIPS = ("splits", "validated")


def read(source: str, clips: str = "splits") -> Listing:
    """Reads Common Voice: only the clips that its listeners have validated.

    A release whose train, dev and test are absent or empty (a delta, a small language) is read from `validated.tsv` and
    split by hash.

    Args:
      source: the folder that holds `clips`, or the folder above it.
      clips: `splits`: those of train, dev and test; `validated`: also the others of `validated.tsv`, which become
        train, but for those of the speakers of dev and test, which are skipped as expected.

    Raises:
      CorpusError: there is no such tree, or a table lacks a column.
    """
    root = base.find_tree(Path(source), _is_root, "clips/ beside train.tsv or validated.tsv")
    tables = {split: root / f"{name}.tsv" for name, split in _SPLITS.items() if (root / f"{name}.tsv").is_file()}
    listing = _tables(root, tables)
    if not (root / "validated.tsv").is_file():
        return listing
    validated = _tables(root, {"": root / "validated.tsv"})
    if not listing.utterances and not listing.skipped:
        names = " and ".join(path.name for path in tables.values())
        note = f"{names}: hold no clip, so that those of validated.tsv are split by --split_by"
        return replace(validated, notes=(note,) if tables else ())
    known = {utterance.id for utterance in listing.utterances} | {skip.id_or_path for skip in listing.skipped}
    others = [utterance for utterance in validated.utterances if utterance.id not in known]
    if clips == "validated":
        return _with_others(listing, validated, others)
    note = f"{len(others)} of {len(validated.utterances)} validated clips are not in train, dev and test"
    return replace(listing, notes=(f"{note}; --clips=validated adds them to train",) if others else ())


def _with_others(listing: Listing, validated: Listing, others: list[Utterance]) -> Listing:
    """Adds validated clips to train, but for those of speakers of other splits."""
    held_out = {utterance.speaker: utterance.split for utterance in listing.utterances if utterance.split != "train"}
    added = [replace(each, split="train") for each in others if each.speaker not in held_out]
    skipped = [
        Skip(each.id, "speaker_of_another_split", True, f"its speaker is in {held_out[each.speaker]}")
        for each in others
        if each.speaker in held_out
    ]
    known = {skip.id_or_path for skip in listing.skipped} | {each.id for each in listing.utterances}
    skipped += [skip for skip in validated.skipped if skip.id_or_path not in known]
    speakers = {**validated.speakers, **listing.speakers}
    return base.checked([*listing.utterances, *added, *listing.skipped, *skipped], speakers)


def _tables(root: Path, tables: dict[str, Path]) -> Listing:
    """The clips of tables, by split."""
    speakers: dict[str, dict[str, str]] = {}
    return base.checked(_clips(root, tables, speakers), speakers)


def _clips(root: Path, tables: dict[str, Path], speakers: dict[str, dict[str, str]]) -> Iterator[Utterance | Skip]:
    """Yields the clips of tables, by split, and adds the metadata of their speakers."""
    for split, table in tables.items():
        for number, row in _rows(table):
            if row is None or not row["path"]:
                yield Skip(f"{table.name} line {number}", "malformed_row", detail="other columns than the first")
                continue
            # Releases before 2 name a clip without its suffix.
            name = row["path"] if Path(row["path"]).suffix else f"{row['path']}.mp3"
            id, audio = Path(name).stem, root / "clips" / name
            speaker = row["client_id"][:_SPEAKER_DIGITS]
            if not audio.is_file():
                yield Skip(id, "missing_audio", detail=f"{table.name} line {number}: no clips/{name}")
                continue
            yield Utterance(id, str(audio), _unquoted(row["sentence"]), speaker, split)
            metadata = {key: row[key] for key in _METADATA if row.get(key)}
            if metadata:
                speakers[speaker] = metadata


def _is_root(folder: Path) -> bool:
    return (folder / "clips").is_dir() and any((folder / f"{name}.tsv").is_file() for name in (*_SPLITS, "validated"))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Yields line numbers and rows; None where a row has another number of columns than the header."""
    lines = base.read_lines(path)
    header = lines[0].rstrip("\r").split("\t")
    missing = {"client_id", "path", "sentence"} - set(header)
    if missing:
        raise CorpusError(f"{path}: its first line names no column {', '.join(sorted(missing))}; unpack it again.")
    for number, line in enumerate(lines[1:], 2):
        fields = [field.strip() for field in line.split("\t")]
        if any(fields):
            yield number, dict(zip(header, fields, strict=True)) if len(fields) == len(header) else None


def _unquoted(sentence: str) -> str:
    """Some releases write a sentence with quotation marks as CSV does, others as it is."""
    if len(sentence) > 1 and sentence[0] == sentence[-1] == '"':
        return sentence[1:-1].replace('""', '"').strip()
    return sentence

"""Any corpus as a list of audio files and texts: CSV, TSV, JSON lines or JSON.

Recognised formats, besides a table with a header:

- NeMo's JSON lines: `audio_filepath`, `text`, `duration`, `offset`;
- the CSV of DeepSpeech and Coqui STT: `wav_filename`, `wav_filesize`, `transcript`;
- audio folders of Hugging Face datasets: `metadata.csv` with `file_name`, in the folder or in one for each split;
- SpeechBrain's CSV, `ID`, `duration`, `wav`, `spk_id`, `wrd`, and its JSON, an object of such objects by their id;
- deepspeech.pytorch's CSV without a header, audio and transcript file per row, and its later JSON,
  `{"root_path": ..., "samples": [{"wav_path": ..., "transcript_path": ...}]}`.

Relative paths are relative to the manifest (or to its `root_path`). A manifest and its audio may lie in object stores.
"""

import csv
import functools
import itertools
import json
import math
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfvoice import remote, storage
from tfvoice.audio.decoding import AUDIO_SUFFIXES
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance
from tfvoice.remote import ObjectPath
from tfvoice.storage import Place

COLUMNS = {
    "audio": (
        *("audio", "wav", "path", "audio_filepath", "file", "wav_path", "audio_path", "filename"),
        *("wav_filename", "file_name", "audio_file"),
    ),
    "text": ("text", "transcript", "sentence", "transcription", "wrd"),
    "transcript_path": ("transcript_path", "txt", "text_path"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk_id", "speaker_name"),
    "split": ("split",),
    "seconds": ("seconds", "duration"),
    "start_seconds": ("start_seconds", "offset"),
    "id": ("id", "utterance_id"),
}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
# The manifest of an audio folder.
_METADATA = "metadata"

_SPLIT_NAMES = {"training": "train", "dev": "valid", "val": "valid", "validation": "valid", "testing": "test"}
_SPLIT_NAMES |= {split: split for split in base.SPLITS}


class _Row(NamedTuple):
    """A row of a manifest.

    Attributes:
      where: file and line, for messages.
      values: under the keys of `COLUMNS`; empty for a malformed row.
      root: folder that relative paths are relative to.
      defect: why the row is malformed.
    """

    where: str
    values: dict[str, str]
    root: Place
    defect: str = ""


def read(source: str) -> Listing:
    """Reads manifests.

    Args:
      source: a manifest, several with commas between them, or a folder with `train.*`, `valid.*` and `test.*`, or
        with folders of these names that hold a `metadata.*`. Of several, the names give the split; a `split` column
        has precedence. Each may be a URL.

    Raises:
      CorpusError: there is no manifest, or one of an unknown format.
    """
    files = _manifests(source)
    home = os.path.commonpath([_local_form(_joined(path.parent, "")) for path in files])
    splits = {path: _split_of(path) if len(files) > 1 else "" for path in files}
    return base.checked(_utterance(row, splits[path], home) for path in files for row in _rows(path))


def split_in_name(stem: str) -> str:
    """The split that a file name such as `an4_val_manifest` contains; "" where it contains none."""
    words = re.split(r"[^a-z0-9]+", stem.lower())
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), "")


def _joined(root: Place, name: str) -> str:
    """The whole path or URL of what a manifest names, without `..`."""
    if remote.is_url(name):
        return str(storage.place(name))
    if not isinstance(root, ObjectPath) or os.path.isabs(name):
        return os.path.abspath(name if isinstance(root, ObjectPath) else root / name)
    scheme, _, key = str(root / name).partition("://")
    return f"{scheme}://{posixpath.normpath(key)}"


def _local_form(path: str) -> str:
    """A URL as an absolute path, so that ids do not depend on where a corpus lies."""
    return f"/{path.replace('://', '/', 1)}" if remote.is_url(path) else path


def _split_of(path: Place) -> str:
    """The split in the name of a manifest, or in that of the folder of a `metadata.csv`."""
    return split_in_name(path.parent.name if path.stem.lower() == _METADATA else path.stem)


def _manifests(source: str) -> list[Place]:
    if storage.place(source).is_dir():
        return _in_folder(storage.place(source))
    paths = _listed(source)
    for path in paths:
        base.refuse_archive(path)
        if not path.is_file():
            raise CorpusError(f"{path}: there is no such manifest; name a file or a folder with --input.")
        if path.suffix.lower() not in SUFFIXES:
            raise CorpusError(f"{path}: a manifest's name ends in {', '.join(SUFFIXES)}; rename it.")
    return paths


def _listed(source: str) -> list[Place]:
    """The files in a list with commas between them; a comma can also be part of a name."""
    paths, rest = [], source.split(",")
    while rest:
        joined = (",".join(rest[:count]).strip() for count in range(1, len(rest) + 1))
        sizes = [count for count, name in enumerate(joined, 1) if name and storage.place(name).is_file()]
        count = sizes[0] if sizes else 1
        paths.append(storage.place(",".join(rest[:count]).strip()))
        rest = rest[count:]
    return paths


def _in_folder(folder: Place) -> list[Place]:
    children = base.entries(folder)
    paths = [path for path in children if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not paths:
        folders = [child for child in children if child.is_dir() and split_in_name(child.name)]
        paths = [path for child in folders for path in base.entries(child) if path.stem.lower() == _METADATA]
        paths = [path for path in paths if path.suffix.lower() in SUFFIXES]
    named: dict[str, Place] = {}
    for path in paths:
        split = _split_of(path)
        if split in named:
            raise CorpusError(
                f"{folder}: {_within(folder, named[split])} and {_within(folder, path)} both look like the "
                f"{split or 'whole'} manifest; name the right ones, with commas between: --input={named[split]},..."
            )
        if split or len(paths) == 1:
            named[split] = path
    if not named:
        for path in children:
            base.refuse_archive(path)
        raise CorpusError(
            f"{folder}: no manifest is here: looked for train.*, valid.* and test.* that end in {', '.join(SUFFIXES)}. "
            "Name the files with --input=A.tsv,B.tsv."
        )
    return list(named.values())


def _within(folder: Place, path: Place) -> str:
    return str(path).removeprefix(str(folder)).lstrip("/")


def _rows(path: Place) -> Iterator[_Row]:
    readers = {".csv": _csv_rows, ".tsv": _tsv_rows, ".jsonl": _json_rows, ".json": _json_rows}
    try:
        yield from readers[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); save it as UTF-8.") from None
    except csv.Error as error:
        raise CorpusError(f"{path}: not CSV ({error}); look for a quotation mark that is never closed.") from None


def _csv_rows(path: Place) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        yield from _table(path, _numbered(reader))


def _numbered(reader) -> Iterator[tuple[int, list[str]]]:
    """Rows after the number of the line that they begin in; a row can have several."""
    first = 1
    for row in reader:
        yield first, row
        first = reader.line_num + 1


def _tsv_rows(path: Place) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig") as file:
        yield from _table(path, ((number, line.rstrip("\n").split("\t")) for number, line in enumerate(file, 1)))


def _table(path: Place, lines: Iterator[tuple[int, list[str]]]) -> Iterator[_Row]:
    keys: tuple[str, ...] | None = None
    for number, fields in lines:
        if not any(field.strip() for field in fields):
            continue
        if keys is None:
            keys, is_header = _header(path, fields)
            if is_header:
                continue
        if _swallowed(fields, len(keys)):
            raise CorpusError(
                f"{path}: line {number} has a quotation mark that is never closed, so that the lines after it are a "
                "part of its text; close it, or double it to mean it."
            )
        if len(fields) == len(keys):
            yield _Row(f"{path.name} line {number}", dict(zip(keys, fields, strict=True)), path.parent)
        else:
            defect = f"{len(fields)} columns, and the header has {len(keys)}"
            yield _Row(f"{path.name} line {number}", {}, path.parent, defect)


def _swallowed(fields: list[str], columns: int) -> bool:
    """Whether a field runs on over lines that are rows themselves: with the name of audio, in as many columns."""
    lines = (line.lower().split(",") for field in fields for line in field.split("\n")[1:])
    return any(len(parts) >= columns and any(map(_names_audio, parts)) for parts in lines)


def _names_audio(field: str) -> bool:
    return field.strip(' "').endswith(AUDIO_SUFFIXES)


def _header(path: Place, fields: list[str]) -> tuple[tuple[str, ...], bool]:
    keys = _keys(tuple(fields))
    if "audio" in keys and ("text" in keys or "transcript_path" in keys):
        return keys, True
    if len(fields) == 2 and fields[1].strip().lower().endswith(".txt"):
        return ("audio", "transcript_path"), False
    raise CorpusError(
        f"{path}: the first line names no columns for audio and text, it is {' | '.join(fields)[:100]}; "
        f"name them {' or '.join(COLUMNS['audio'][:4])}, and {' or '.join(COLUMNS['text'])}."
    )


@functools.lru_cache(maxsize=64)
def _keys(names: tuple[str, ...]) -> tuple[str, ...]:
    """The key of `COLUMNS` for each name; of several names for one key, the first that is listed there has it."""
    names = tuple(name.strip().lower() for name in names)
    known = {next((form for form in forms if form in names), ""): key for key, forms in COLUMNS.items()}
    return tuple(known.get(name, name) for name in names)


def _json_rows(path: Place) -> Iterator[_Row]:
    with storage.local_file(path) as file:
        if _has_lines(file):
            yield from _json_lines(path, file)
        else:
            yield from _document_rows(path, file)


def _document_rows(path: Place, file: Path) -> Iterator[_Row]:
    """The rows of a JSON document, or else of JSON lines."""
    text, content = file.read_text(encoding="utf-8-sig"), None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if _json(text.split("\n", 1)[0]) is None:
            raise CorpusError(f"{path}: neither JSON nor JSON lines: {error}.") from None
    if isinstance(content, dict) and isinstance(content.get("samples"), list):
        root = path.parent / str(content.get("root_path", ""))
        yield from (_json_row(path, f"sample {n}", item, root) for n, item in enumerate(content["samples"], 1))
    elif isinstance(content, dict) and content and all(isinstance(item, dict) for item in content.values()):
        items = ({"id": id, **item} for id, item in content.items())
        yield from (_json_row(path, f"item {n}", item, path.parent) for n, item in enumerate(items, 1))
    elif isinstance(content, list):
        yield from (_json_row(path, f"item {n}", item, path.parent) for n, item in enumerate(content, 1))
    else:
        yield from _json_lines(path, file)


def _has_lines(file: Path) -> bool:
    """Whether a file has a JSON object in its first line and more lines, so that it is not one document."""
    with file.open(encoding="utf-8-sig") as lines:
        first, second = itertools.islice(itertools.chain(filter(str.strip, lines), ["", ""]), 2)
    return bool(second) and isinstance(_json(first), dict)


def _json(text: str) -> object:
    """What a JSON text holds; None for what is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _json_lines(path: Place, file: Path) -> Iterator[_Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _json_row(path, f"line {number}", _json(line), path.parent)


def _json_row(path: Place, where: str, item: object, root: Place) -> _Row:
    where = f"{path.name} {where}"
    if not isinstance(item, dict):
        return _Row(where, {}, root, "no JSON object")
    item = {key: value for key, value in item.items() if value is not None}
    values = dict(zip(_keys(tuple(item)), item.values(), strict=True))
    for key, value in values.items():
        if key in COLUMNS and isinstance(value, list | dict | bool):
            return _Row(where, {}, root, f"{key} is {json.dumps(value)[:60]}, no text or number")
    return _Row(where, {key: str(value) for key, value in values.items()}, root)


def _utterance(row: _Row, split: str, home: str) -> Utterance | Skip:
    values = {key: value.strip() for key, value in row.values.items()}
    if not values.get("audio"):
        return Skip(row.where, "malformed_row", detail=f"{row.where}: {row.defect or 'no audio path'}")
    times = {}
    for key in ("start_seconds", "seconds"):
        times[key] = _number(values.get(key, ""))
        if times[key] is None and values.get(key):
            detail = f"{row.where}: {' or '.join(COLUMNS[key])} is {values[key]!r}, no number of seconds such as 0.5"
            return Skip(row.where, "malformed_row", detail=detail)
    audio = _joined(row.root, values["audio"])
    id = values.get("id") or os.path.relpath(os.path.splitext(_local_form(audio))[0], home).replace(os.sep, "/")
    if times["start_seconds"] is not None and not values.get("id"):
        id += f"@{times['start_seconds']:.3f}"
    # Of an object that is a request; conversion skips it as missing, too.
    if not remote.is_url(audio) and not os.path.isfile(audio):
        return Skip(id, "missing_audio", detail=f"{row.where}: there is no {audio}")
    if "text" not in values and "transcript_path" not in values:
        return Skip(id, "missing_transcript", detail=f"{row.where}: no {' or '.join(COLUMNS['text'])}")
    text = values.get("text", "")
    if "text" not in values:
        path = storage.place(_joined(row.root, values["transcript_path"]))
        try:
            text = base.read_text(path)
        except FileNotFoundError:
            return Skip(id, "missing_transcript", detail=f"{row.where}: there is no {path}")
        except (OSError, ValueError) as error:
            return Skip(id, "unreadable_transcript", detail=f"{path}: {error}")
    split = _split(values.get("split", ""), row.where) or split
    return Utterance(id, audio, text, values.get("speaker", ""), split, **times)


def _split(name: str, where: str) -> str:
    name = _SPLIT_NAMES.get(name.lower(), name)
    if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.]*", name):
        raise CorpusError(f"{where}: split {name!r} cannot be part of a file name; write letters and digits.")
    return name


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None

"""The settings of a conversion, and the manifest that describes its finished shards."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pydantic

from tfvoice import config, storage
from tfvoice.data import records, shard_index
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath
from tfvoice.storage import Place

MANIFEST = "manifest.json"
SKIPPED = "skipped.jsonl"


class ShardError(TfvoiceError):
    """A folder of shards that is missing, unfinished, damaged, or of another conversion."""


class ConversionConfig(config.Config):
    """Everything besides the corpus itself that determines the bytes of the shards.

    Attributes:
      corpus: name in the table of corpora.
      options: flags of this corpus alone.
      split: percentages of train, valid and test, where the corpus defines no splits.
      split_by: the utterances of one speaker, or of one text, are kept in the same split.
      min_seconds, max_seconds: audio outside of this range is skipped.
    """

    corpus: str = "manifest"
    options: dict[str, str] = pydantic.Field(default_factory=dict)
    split: str = "90/5/5"
    split_by: Literal["speaker", "text", "utterance"] = "utterance"
    sample_rate_hz: int = pydantic.Field(16000, ge=1000, le=192000)
    encoding: Literal["pcm16", "flac"] = "pcm16"
    shard_mb: float = pydantic.Field(128, gt=0)
    min_seconds: float = pydantic.Field(0.1, ge=0)
    max_seconds: float = pydantic.Field(60, gt=0)


class Shard(config.Config):
    """A finished shard; `seconds` of audio, `characters` of raw text, `clipped` utterances beyond full scale."""

    name: str
    sha256: str
    bytes: int
    utterances: int
    seconds: float
    characters: int
    clipped: int = 0


class Split(config.Config):
    """The finished shards of a split, and their totals."""

    utterances: int
    seconds: float
    characters: int
    clipped: int = 0
    shards: list[Shard]


class AlignmentSection(config.Config):
    """What `manifest.json` says about aligned records.

    Attributes:
      phonemes: the inventory, in the order of their ids.
      frame_samples: samples of a conditioning frame.
      f0_method: what estimated the F0 of each frame.
      aligner: SHA-256 of the run and the lexicon that aligned them.
    """

    phonemes: list[str]
    frame_samples: int
    f0_method: str
    aligner: str


class Manifest(config.Config):
    """The content of `manifest.json`, which is written last: where it exists, the conversion is complete.

    Attributes:
      splits: by name; a split without utterances is absent.
      skipped: number of skipped utterances, by reason.
      expected_skips: the same for known defects of the corpus.
      speakers: metadata of the speakers, as far as the corpus has any.
      settings: of the conversion.
      fingerprint: of the settings and of every utterance; it identifies the conversion.
      alignment: of aligned records (`tfvoice.data.aligned`); plain ones have no such section.
    """

    schema_version: int = records.SCHEMA
    corpus: str
    sample_rate_hz: int
    encoding: str
    splits: dict[str, Split]
    skipped: dict[str, int]
    expected_skips: dict[str, int]
    speakers: dict[str, dict[str, str]]
    settings: ConversionConfig
    fingerprint: str
    alignment: AlignmentSection | None = None

    @pydantic.model_serializer(mode="wrap")
    def _leave_out_an_absent_section(self, handler):
        # Runs know their data by the bytes of the manifest, and those of plain records stay as they were.
        values = handler(self)
        return values if self.alignment else {key: value for key, value in values.items() if key != "alignment"}


def read_manifest(directory: str | Path | ObjectPath) -> Manifest:
    """Reads `manifest.json` of a folder, which may be the URL of one.

    Raises:
      ShardError: there is none, or it has another schema version.
    """
    path = storage.place(directory) / MANIFEST
    try:
        values = storage.read_json(path)
        version = values["schema_version"]
    except FileNotFoundError:
        if (path.parent / ".progress").is_dir():
            advice = "this conversion is unfinished; run the same tfvoice_convert command again to finish it"
        else:
            advice = f"no converted corpus is here; make one with tfvoice_convert --output={directory}"
        raise ShardError(f"{directory}: {advice}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(path, ObjectPath) and isinstance(error, OSError):
            raise ShardError(f"{path}: cannot read this manifest ({error.strerror}).") from None
        raise ShardError(f"{path}: not a manifest of tfvoice ({error!r}); name another folder.") from None
    if version != records.SCHEMA:
        raise ShardError(
            f"{path}: schema version {version}, and this tfvoice reads {records.SCHEMA}; convert the corpus again with "
            f"tfvoice_convert --overwrite --output={directory}"
        )
    return config.build(Manifest, values, str(path))


def test_split(directory: str | Path) -> str:
    """The split to evaluate on: the first test split, as LibriSpeech has two; `valid` where there is none."""
    try:
        return next((name for name in read_manifest(directory).splits if name.startswith("test")), "valid")
    except ShardError:
        # On a disk that was removed since.
        return "test"


def validate(directory: str | Path | ObjectPath, after_each: Callable[[], object] = lambda: None) -> Manifest:
    """Reads every shard and compares its sha256, checksums and number of records with the manifest and its index.

    Args:
      directory: folder of the shards.
      after_each: called after each shard, to show progress.

    Raises:
      ShardError: a shard is missing or damaged, or an index is damaged; the text names each of them.
    """
    manifest = read_manifest(directory)
    of_shards, of_indices = [], []
    for split in manifest.splits.values():
        for shard in split.shards:
            shard_defect, index_defect = _defects(storage.place(directory) / shard.name, shard)
            of_shards.append(shard_defect)
            of_indices.append(index_defect)
            after_each()
    if any(of_shards):
        raise ShardError(
            f"{'; '.join(filter(None, of_shards))}. Convert the corpus again with --overwrite --output={directory}"
        )
    if any(of_indices):
        raise ShardError(
            f"{'; '.join(filter(None, of_indices))}. Delete it: the next command that needs it writes it again."
        )
    return manifest


def size_defect(path: Place, shard: Shard) -> str | None:
    """Compares the size of a shard with the manifest, without reading it; None where they are equal."""
    try:
        size = storage.size(path)
    except FileNotFoundError:
        return f"{path}: this shard is missing"
    return None if size == shard.bytes else f"{path}: this shard has {size} bytes instead of {shard.bytes}"


def total(shards: list[Shard]) -> Split:
    """Adds up the shards of a split."""
    return Split(
        utterances=sum(shard.utterances for shard in shards),
        seconds=round(sum(shard.seconds for shard in shards), 3),
        characters=sum(shard.characters for shard in shards),
        clipped=sum(shard.clipped for shard in shards),
        shards=shards,
    )


def _defects(path: Place, shard: Shard) -> tuple[str | None, str | None]:
    """The defect of a shard and, where it has none, that of its index."""
    defect = size_defect(path, shard)
    if defect:
        return defect, None
    with storage.local_file(path) as local:
        try:
            frames = list(records.frames(local))
        except records.RecordError as error:
            return str(error).replace(str(local), str(path)), None
        sha256 = storage.sha256(local)
    if sha256 != shard.sha256 or len(frames) != shard.utterances:
        return f"{path}: this shard is not the one that was written (sha256 differs)", None
    return None, _index_defect(path, shard, frames)


def _index_defect(path: Place, shard: Shard, frames: list[tuple[int, int]]) -> str | None:
    # Conversions of version 0.1.0 have no indices.
    if not shard_index.path_of(path).exists():
        return None
    try:
        entries = shard_index.read(path, shard.sha256)
    except shard_index.ShardIndexError as error:
        return str(error)
    if [(entry.offset, entry.size) for entry in entries] != frames:
        return f"{shard_index.path_of(path)}: this index does not fit its shard"
    return None

"""Which utterance goes into which shard, and the manifest that describes the finished shards."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic

from tfvoice import config, storage
from tfvoice.data import records, shard_index
from tfvoice.data.corpora.base import Listing, Utterance
from tfvoice.errors import TfvoiceError

MANIFEST = "manifest.json"
SKIPPED = "skipped.jsonl"

_FLAC_RATIO = 0.6


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


@dataclass(frozen=True)
class PlannedShard:
    """A shard to be written: its file name, its split, and its utterances in order."""

    name: str
    split: str
    utterances: list[Utterance]

    @property
    def seconds(self) -> float:
        """Expected length of the audio."""
        return sum(utterance.seconds or 0.0 for utterance in self.utterances)


@dataclass(frozen=True)
class ConversionPlan:
    """The whole conversion, planned before any audio is decoded."""

    settings: ConversionConfig
    listing: Listing
    shards: list[PlannedShard]
    fingerprint: str


def plan(listing: Listing, settings: ConversionConfig) -> ConversionPlan:
    """Assigns every utterance to a shard.

    The records of a split are sorted by a hash of their ids, so that every shard is a random sample of its split. The
    assignment depends on the corpus and the settings alone.

    Args:
      listing: with splits assigned, and with the expected `seconds` of every utterance.
      settings: of the conversion.
    """
    planned = []
    for split in sorted({utterance.split for utterance in listing.utterances}):
        members = [utterance for utterance in listing.utterances if utterance.split == split]
        members.sort(key=lambda utterance: hashlib.sha256(utterance.id.encode()).digest())
        groups = list(_groups(members, settings))
        for index, group in enumerate(groups):
            planned.append(PlannedShard(f"{split}-{index:05d}-of-{len(groups):05d}.tfrecord", split, group))
    return ConversionPlan(settings, listing, planned, _fingerprint(planned, settings))


def read_manifest(directory: str | Path) -> Manifest:
    """Reads `manifest.json`.

    Raises:
      ShardError: there is none, or it has another schema version.
    """
    path = Path(directory) / MANIFEST
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


def validate(directory: str | Path, after_each: Callable[[], object] = lambda: None) -> Manifest:
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
            shard_defect, index_defect = _defects(Path(directory) / shard.name, shard)
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


def size_defect(path: Path, shard: Shard) -> str | None:
    """Compares the size of a shard with the manifest, without reading it; None where they are equal."""
    try:
        size = path.stat().st_size
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


def _defects(path: Path, shard: Shard) -> tuple[str | None, str | None]:
    """The defect of a shard and, where it has none, that of its index."""
    defect = size_defect(path, shard)
    if defect:
        return defect, None
    try:
        frames = list(records.frames(path))
    except records.RecordError as error:
        return str(error), None
    if _sha256(path) != shard.sha256 or len(frames) != shard.utterances:
        return f"{path}: this shard is not the one that was written (sha256 differs)", None
    return None, _index_defect(path, shard, frames)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _index_defect(path: Path, shard: Shard, frames: list[tuple[int, int]]) -> str | None:
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


def _groups(members: list[Utterance], settings: ConversionConfig) -> Iterator[list[Utterance]]:
    sizes = [_expected_bytes(utterance, settings) for utterance in members]
    whole = sum(sizes)
    count = max(1, math.ceil(whole / (settings.shard_mb * 1e6)))
    groups: dict[int, list[Utterance]] = {}
    before = 0
    for utterance, size in zip(members, sizes, strict=True):
        groups.setdefault(before * count // whole, []).append(utterance)
        before += size
    yield from groups.values()


def _expected_bytes(utterance: Utterance, settings: ConversionConfig) -> int:
    ratio = _FLAC_RATIO if settings.encoding == "flac" else 1.0
    seconds = min(utterance.seconds or 0.0, settings.max_seconds)
    return int(2 * settings.sample_rate_hz * seconds * ratio) + 256


def _fingerprint(planned: list[PlannedShard], settings: ConversionConfig) -> str:
    digest = hashlib.sha256(f"{records.SCHEMA}{config.to_json(settings)}".encode())
    for shard in planned:
        digest.update(shard.name.encode())
        for u in shard.utterances:
            digest.update(json.dumps([u.id, u.speaker, u.text, u.start_seconds, u.seconds]).encode())
    return digest.hexdigest()

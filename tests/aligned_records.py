"""Aligned records for tests: plain ones, with phonemes that follow each other until the audio ends."""

import hashlib
from pathlib import Path

import numpy as np

from tfvoice.data import aligned, records, shard_index, shards
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.data.shard_index import IndexEntry
from tfvoice.data.shards import AlignmentSection, Shard

FRAME_SAMPLES = 64
# Milliseconds and F0; of a phoneme with stress 1 both are 1.3 times as much.
PHONEMES = {"AA": (90, 180.0), "IY": (70, 220.0), "M": (60, 160.0), "S": (110, 0.0), "T": (50, 0.0)}
_STRESSES = {"AA": ("0", "1", "2"), "IY": ("0", "1"), "M": ("",), "S": ("",), "T": ("",)}
SYMBOLS = ["sil", *(base + stress for base, stresses in _STRESSES.items() for stress in stresses)]


def alignment(id: str, samples: int, sample_rate_hz: int) -> PhonemeAlignment:
    """Random phonemes, the same for an id, between two silences."""
    random = np.random.default_rng(int(hashlib.sha256(id.encode()).hexdigest()[:8], 16))
    symbols, ends, levels = ["sil"], [round(0.03 * sample_rate_hz)], [0.0]
    while True:
        symbol = SYMBOLS[random.integers(1, len(SYMBOLS))]
        milliseconds, f0_hz = PHONEMES[symbol.rstrip("012")]
        factor = 1.3 if symbol.endswith("1") else 1.0
        end = ends[-1] + round(factor * milliseconds / 1000 * sample_rate_hz)
        if end >= samples - FRAME_SAMPLES:
            break
        symbols, ends, levels = [*symbols, symbol], [*ends, end], [*levels, factor * f0_hz]
    ends, levels = np.array([*ends, samples]), np.array([*levels, 0.0], np.float32)
    middles = (np.arange(aligned.frame_count(samples, FRAME_SAMPLES)) + 0.5) * FRAME_SAMPLES
    place = np.minimum(np.searchsorted(ends, middles, side="right"), len(ends) - 1)
    return PhonemeAlignment([*symbols, "sil"], ends, levels[place], FRAME_SAMPLES)


def write(plain: Path, output: Path, phonemes: list[str] = SYMBOLS, aligned_by=alignment) -> Path:
    """Writes the records of a folder again, aligned; `phonemes` is the inventory in the manifest."""
    manifest, splits = shards.read_manifest(plain), {}
    for name, split in manifest.splits.items():
        written = []
        for shard in split.shards:
            content, entries, data = (plain / shard.name).read_bytes(), [], b""
            for entry in shard_index.read(plain / shard.name, shard.sha256):
                record = content[entry.offset : entry.offset + entry.size]
                found = aligned_by(entry.id, entry.samples, manifest.sample_rate_hz)
                record = aligned.encode(record, entry.samples, found)
                place = {"offset": len(data) + records.HEADER_BYTES, "size": len(record)}
                entries.append(IndexEntry(**entry._asdict() | place))
                data += records.frame(record)
            output.mkdir(exist_ok=True)
            (output / shard.name).write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            shard_index.write(output / shard.name, sha256, entries)
            written.append(Shard(**shard.model_dump() | {"sha256": sha256, "bytes": len(data)}))
        splits[name] = shards.total(written)
    section = AlignmentSection(phonemes=phonemes, frame_samples=FRAME_SAMPLES, f0_method="pyin", aligner="0")
    described = manifest.model_copy(update={"splits": splits, "alignment": section})
    (output / shards.MANIFEST).write_text(described.model_dump_json())
    return output


def with_manifest(records: Path, folder: Path, old: str, new: str) -> Path:
    """Links to records in another folder, where their manifest has `new` in place of `old`."""
    for path in records.iterdir():
        if path.name != shards.MANIFEST:
            (folder / path.name).symlink_to(path)
    text = (records / shards.MANIFEST).read_text()
    assert old in text
    (folder / shards.MANIFEST).write_text(text.replace(old, new))
    return folder

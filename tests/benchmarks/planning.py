"""What a large corpus costs before its audio is touched: planning its conversion, and starting to train on it.

  python tests/benchmarks/planning.py --utterances=10000000

The corpus is simulated: a listing of utterances that are made as they are asked for, and indices of shards that are
holes of the right size. Planning 10 million utterances should write 5 GB to TMPDIR and 1.7 GB to --folder, which are
deleted.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

# 22 of them.
WORDS = "the conversion of a large corpus should need no more memory than that of a small one does when it is planned"
LIMIT_MIB = 1000


class SimulatedCorpus:
    """A collection of utterances of 2 to 14 s, each of which exists only while it is looked at."""

    def __init__(self, size: int):
        self._size = size
        words = WORDS.split()
        self._texts = [" ".join(words[step * start % 22] for step in range(1, 15)) for start in range(22)]

    def __len__(self) -> int:
        return self._size

    def __contains__(self, utterance) -> bool:
        return any(utterance == each for each in self)

    def __iter__(self):
        from tfvoice.data.corpora.base import Utterance

        for number in range(self._size):
            path = f"/corpora/large/speaker{number % 5000:05d}/{number:09d}.flac"
            yield Utterance(f"u{number:09d}", path, self._texts[number % 22], path[15:27], "", None, 2 + number % 13)


def plan(size: int, folder: str) -> dict:
    """Plans a conversion of a simulated corpus and writes its partitions; returns what that took."""
    from tfvoice.data import convert
    from tfvoice.data.corpora.base import Listing
    from tfvoice.data.output import ConversionOutput
    from tfvoice.data.shards import ConversionConfig

    start = time.perf_counter()
    planned = convert.prepare(Listing(SimulatedCorpus(size), []), ConversionConfig())
    seconds = time.perf_counter() - start
    target = ConversionOutput(folder, planned, overwrite=False)
    target.write_partitions(planned.shards)
    partitions = list((Path(folder) / ".progress").glob("*.plan.jsonl"))
    result = {
        "shards": len(planned.shards),
        "utterances": sum(shard.utterances for shard in planned.shards),
        "hours": sum(shard.seconds for shard in planned.shards) / 3600,
        "planning_seconds": seconds,
        "partition_seconds": time.perf_counter() - start - seconds,
        "partition_bytes": sum(path.stat().st_size for path in partitions),
        "names_bytes": sum(len(shard.name) for shard in planned.shards),
        "cpu_seconds": time.process_time(),
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    target.close()
    return result


def start_training(size: int, folder: str) -> dict:
    """Reads the index of a simulated conversion, as training does when it starts; returns what that took."""
    from tfvoice.audio.features import FeatureConfig
    from tfvoice.data import index, shards
    from tfvoice.data.config import FilterConfig
    from tfvoice.text.alphabet import Alphabet, AlphabetConfig

    audio_bytes = _write_indices(size, Path(folder))
    alphabet = Alphabet(AlphabetConfig())
    before, memory_mib, start = _read_bytes(), _resident_mib(), time.perf_counter()
    manifest = shards.read_manifest(folder)
    found = index.scan(manifest, folder, "train", FilterConfig(), FeatureConfig(), alphabet, lambda frames: frames)
    seconds = time.perf_counter() - start
    read = _read_bytes() - before
    result = {"utterances": len(found), "read_bytes": read, "audio_bytes": audio_bytes, "seconds": seconds}
    return result | {"mib": _resident_mib() - memory_mib}


def _write_indices(size: int, folder: Path) -> int:
    """Writes a manifest and the indices of shards of 1,000 utterances; the shards are holes. Returns their size."""
    from tfvoice import config
    from tfvoice.data import shard_index, shards
    from tfvoice.data.shard_index import IndexEntry

    utterances, done = iter(SimulatedCorpus(size)), []
    for number in range(0, size, 1000):
        entries, offset = [], 12
        for u, _ in zip(utterances, range(1000), strict=False):
            samples = 16000 * u.seconds
            entries.append(IndexEntry(u.id, u.speaker, u.text, samples, offset, 2 * samples + 200, 0.5))
            offset += 2 * samples + 216
        name = f"train-{number // 1000:05d}-of-{-(-size // 1000):05d}.tfrecord"
        with open(folder / name, "wb") as file:
            file.truncate(offset)
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        shard_index.write(folder / name, sha256, entries)
        sizes = {"bytes": offset, "utterances": len(entries), "seconds": 1.0, "characters": 1}
        done.append(shards.Shard(name=name, sha256=sha256, **sizes))
    settings = shards.ConversionConfig()
    values = {"corpus": "manifest", "sample_rate_hz": 16000, "encoding": "pcm16", "skipped": {}, "expected_skips": {}}
    values |= {"splits": {"train": shards.total(done)}, "speakers": {}, "settings": settings, "fingerprint": "f"}
    (folder / shards.MANIFEST).write_text(config.to_json(shards.Manifest(**values)), encoding="utf-8")
    return sum(shard.bytes for shard in done)


def _read_bytes() -> int:
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


PARTS = {"plan": plan, "start_training": start_training}


def main() -> int:
    """Returns 1 if planning needed more memory than the limit, or a start of training read more than 1 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_000_000, help="to be planned; 0: none (default 1,000,000)")
    parser.add_argument("--indexed", type=int, default=100_000, help="to be trained on; 0: none (default 100,000)")
    parser.add_argument("--folder", help="where the plan is written (default: TMPDIR)")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.part:
        print(json.dumps(PARTS[flags.part](flags.utterances, flags.folder)))
        return 0
    failed = False
    if flags.utterances:
        failed |= _planned(_measured("plan", flags.utterances, flags.folder))
    if flags.indexed:
        failed |= _started(_measured("start_training", flags.indexed, flags.folder))
    return int(failed)


def _planned(planned: dict) -> bool:
    print(
        f"planning {planned['utterances']:,} utterances, {planned['hours']:,.0f} hours, {planned['shards']:,} shards: "
        f"{planned['planning_seconds']:,.0f} s and {planned['partition_seconds']:,.0f} s for the partitions of "
        f"{planned['partition_bytes'] / 1e6:,.0f} MB, {planned['cpu_seconds']:,.0f} s of one core; peak "
        f"{planned['mib']:,.0f} MiB (limit {LIMIT_MIB:,}); all names of shards: {planned['names_bytes'] / 1e6:.2f} MB"
    )
    return planned["mib"] > LIMIT_MIB


def _started(started: dict) -> bool:
    percent = 100 * started["read_bytes"] / started["audio_bytes"]
    print(
        f"starting to train on {started['utterances']:,} utterances reads {started['read_bytes'] / 1e6:,.1f} MB of "
        f"{started['audio_bytes'] / 1e6:,.0f} MB ({percent:.2f} %, limit 1 %) in {started['seconds']:.1f} s, and "
        f"keeps {2**20 * started['mib'] / started['utterances']:,.0f} bytes of memory for each"
    )
    return percent > 1


def _measured(part: str, size: int, folder: str | None) -> dict:
    """Runs a part in a process of its own, whose memory is that of this part alone."""
    with tempfile.TemporaryDirectory(prefix="tfvoice-planning-", dir=folder) as temporary:
        command = [sys.executable, __file__, f"--part={part}", f"--utterances={size}", f"--folder={temporary}"]
        process = subprocess.run(command, env=measure.environment(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


if __name__ == "__main__":
    raise SystemExit(main())

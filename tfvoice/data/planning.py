"""Which utterance goes into which shard, planned before any audio is decoded.

The bytes of a conversion depend on the plan alone, and a shard on nothing but its own partition of it: the lines that
describe its utterances. Utterances pass through one after the other and are sorted on the disk, so that memory grows
with the number of shards, not of utterances.
"""

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tfvoice import config
from tfvoice.data import records
from tfvoice.data.corpora.base import Listing, Utterance
from tfvoice.data.shards import ConversionConfig
from tfvoice.data.sorting import SortedLines

_FLAC_RATIO = 0.6
_EXAMPLES = 3


@dataclass(frozen=True)
class PlannedShard:
    """A shard to be written.

    Attributes:
      name: of its file.
      split: that it belongs to.
      utterances: how many it has, with those that will turn out to be bad.
      seconds: expected length of the audio.
    """

    name: str
    split: str
    utterances: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ConversionPlan:
    """The whole conversion.

    Attributes:
      settings: of the conversion.
      listing: the corpus.
      shards: in the order of their names.
      fingerprint: of the settings and of every utterance.
      examples: the first few utterances of the listing, with their split and expected length.
      lines: of all partitions, in order.
    """

    settings: ConversionConfig
    listing: Listing
    shards: list[PlannedShard]
    fingerprint: str
    examples: tuple[Utterance, ...] = ()
    lines: Iterable[str] = field(default=(), compare=False, repr=False)

    def partitions(self) -> Iterator[tuple[PlannedShard, str]]:
        """Yields each shard with its partition, for `parse_partition`."""
        lines = iter(self.lines)
        for shard in self.shards:
            yield shard, "".join(map(_partition_line, itertools.islice(lines, shard.utterances)))


def plan(listing: Listing, utterances: Iterable[Utterance], settings: ConversionConfig) -> ConversionPlan:
    """Assigns every utterance to a shard.

    The records of a split are sorted by a hash of their ids, so that every shard is a random sample of its split. The
    assignment depends on the corpus and the settings alone.

    Args:
      listing: the corpus.
      utterances: those of the listing, with splits assigned and with their expected `seconds`; read once.
      settings: of the conversion.
    """
    utterances = iter(utterances)
    examples = tuple(itertools.islice(utterances, _EXAMPLES))
    sizes: Counter[str] = Counter()
    lines = SortedLines(_lines(itertools.chain(examples, utterances), settings, sizes))
    counts = Counter(split for (split, _), _ in _grouped(lines, sizes, settings))
    digest = hashlib.sha256(f"{records.SCHEMA}{config.to_json(settings)}".encode())
    planned = []
    for split, groups in itertools.groupby(_grouped(lines, sizes, settings), key=lambda group: group[0][0]):
        for index, (_, members) in enumerate(groups):
            name = f"{split}-{index:05d}-of-{counts[split]:05d}.tfrecord"
            digest.update(name.encode())
            count, seconds = 0, 0.0
            for identity in members:
                digest.update(identity.encode())
                count, seconds = count + 1, seconds + (json.loads(identity)[4] or 0.0)
            planned.append(PlannedShard(name, split, count, seconds))
    return ConversionPlan(settings, listing, planned, digest.hexdigest(), examples, lines)


def parse_partition(partition: str) -> list[Utterance]:
    """The utterances of a partition from `ConversionPlan.partitions`, in order and without their split."""
    utterances = []
    for line in partition.splitlines():
        id, speaker, text, start_seconds, seconds, audio, bare_hz, to_end = json.loads(line)
        utterances.append(Utterance(id, audio, text, speaker, "", start_seconds, seconds, bare_hz, to_end))
    return utterances


def _lines(utterances: Iterable[Utterance], settings: ConversionConfig, sizes: Counter[str]) -> Iterator[str]:
    """Yields a line for each utterance, and adds up the expected bytes of each split in `sizes`.

    Sorted as text, lines are in the order of the shards: by split, then by the hash of the id. JSON escapes tabs.
    """
    for u in utterances:
        size = _expected_bytes(u, settings)
        sizes[u.split] += size
        digest = hashlib.sha256(u.id.encode()).hexdigest()
        identity = json.dumps([u.id, u.speaker, u.text, u.start_seconds, u.seconds])
        yield f"{u.split}\t{digest}\t{size}\t{identity}\t{json.dumps([u.audio, u.bare_hz, u.to_end])}"


def _partition_line(line: str) -> str:
    _, _, _, identity, source = line.split("\t")
    return f"{identity[:-1]}, {source[1:]}\n"


def _grouped(
    lines: Iterable[str], sizes: Counter[str], settings: ConversionConfig
) -> Iterator[tuple[tuple[str, int], Iterator[str]]]:
    """Yields each shard as its split and a number, which may skip some, and what identifies its utterances."""
    before: Counter[str] = Counter()

    def numbered() -> Iterator[tuple[tuple[str, int], str]]:
        for line in lines:
            split, _, size, identity, _ = line.split("\t")
            count = max(1, math.ceil(sizes[split] / (settings.shard_mb * 1e6)))
            yield (split, before[split] * count // sizes[split]), identity
            before[split] += int(size)

    for place, members in itertools.groupby(numbered(), key=lambda pair: pair[0]):
        yield place, (identity for _, identity in members)


def _expected_bytes(utterance: Utterance, settings: ConversionConfig) -> int:
    ratio = _FLAC_RATIO if settings.encoding == "flac" else 1.0
    seconds = min(utterance.seconds or 0.0, settings.max_seconds)
    return int(2 * settings.sample_rate_hz * seconds * ratio) + 256

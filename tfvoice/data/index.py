"""The index of a split: its utterances, and where their records are.

Training plans every epoch before it starts: which utterances, in what order, in which bucket. For that it needs the
length and the labels of each utterance, and the place of its record, so that any record can be read at any time. All
of that is in the index files that conversion writes; no audio is read. On 100,000 records of 0.5 s, 1.6 GB, `scan`
reads 14 MB.
"""

import contextlib
import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfvoice import cache, ctc, storage
from tfvoice.audio import features
from tfvoice.cache import Digest
from tfvoice.config import nearest
from tfvoice.data import records, shard_index, shards
from tfvoice.data.columns import ClassIds, Texts
from tfvoice.data.config import FilterConfig
from tfvoice.data.datasets import Speed
from tfvoice.data.shard_index import IndexEntry
from tfvoice.data.shards import Manifest, Shard
from tfvoice.errors import TfvoiceError
from tfvoice.remote import ObjectPath
from tfvoice.storage import Place
from tfvoice.text.alphabet import Alphabet, format_counts
from tfvoice.text.proposal import notice

_EXAMPLES = 5
_CHUNK = 1024
# Reasons of `Index.dropped` that are about the alphabet.
_UNKNOWN_SYMBOLS = "with symbols outside the alphabet"
_NO_TEXT = "without text"


@dataclass
class Index:
    """The usable utterances of one split, and where their records are.

    Attributes:
      directory: folder of the shards.
      split: name of the split.
      sample_rate_hz: rate of the audio.
      shards: paths of the shards; of those in an object store, paths in `tfvoice.cache`.
      shard, offset, size: int64 `[utterances]`, position in `shards`, and place of the record in the shard in bytes.
      samples: int64 `[utterances]`.
      peak: float32 `[utterances]`, largest absolute sample, from 0 to 1.
      ids, speakers, texts: as in the records; a `columns.Texts` each.
      labels: class ids of each normalised text, int32 `[characters]`; a `columns.ClassIds`.
      dropped: number of skipped utterances, by reason.
      examples: the first few ids that were skipped, by reason.
      symbols: characters of the texts that the labels lack, because they are not in the alphabet.
    """

    directory: Place
    split: str
    sample_rate_hz: int
    shards: list[str]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    samples: np.ndarray
    peak: np.ndarray
    ids: Sequence[str]
    speakers: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[np.ndarray]
    dropped: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    symbols: Counter = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seconds(self) -> float:
        """Audio of all utterances, in seconds."""
        return float(self.samples.sum()) / self.sample_rate_hz

    @property
    def speed(self) -> Speed:
        """Training is measured by seconds of audio."""
        return Speed("audio_seconds_per_second", "s/s", self.sample_rate_hz)

    def subset(self, rows: np.ndarray) -> "Index":
        """The index of some utterances, in the order of `rows`."""
        arrays = {name: getattr(self, name)[rows] for name in ("shard", "offset", "size", "samples", "peak")}
        columns = {name: getattr(self, name).take(rows) for name in ("ids", "speakers", "texts", "labels")}
        return replace(self, **arrays, **columns)

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Reads the records of `rows`; raises `RecordError` where a shard is missing or a record is damaged."""
        return [self._read(row) for row in rows]

    def audio(self, row: int) -> np.ndarray:
        """Decodes the audio of an utterance, float32 `[samples]`; raises `RecordError` as `read`."""
        with records.explained(self.directory):
            return records.decode(self._read(row))["audio"].numpy()

    def describe(self) -> str:
        """One sentence: how many utterances and hours, and what was skipped and why."""
        text = f"{self.split}: {len(self)} utterances, {self.seconds / 3600:.2f} hours"
        if self.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
            text += f"; skipped: {reasons}"
        if self.symbols:
            text += f"; symbols dropped from their texts: {format_counts(self.symbols)}"
        return text

    def _read(self, row: int) -> bytes:
        path = self.shards[self.shard[row]]
        try:
            with open(path, "rb", buffering=0) as file:
                size = int(self.size[row]) + records.HEADER_BYTES + records.FOOTER_BYTES
                record = records.unframe(os.pread(file.fileno(), size, int(self.offset[row]) - records.HEADER_BYTES))
        except OSError as error:
            raise records.RecordError(_advice(f"{path}: cannot be read ({error.strerror})", self.directory)) from None
        if record is None:
            raise records.RecordError(_advice(f"{path}: the record of {self.ids[row]} is damaged", self.directory))
        return record


def scan(
    manifest: Manifest,
    directory: str | Path | ObjectPath,
    split: str,
    config: FilterConfig | None,
    feature_config: features.FeatureConfig,
    alphabet: Alphabet,
    output_lengths: Callable[[np.ndarray], np.ndarray],
) -> Index:
    """Reads the index files of a split and selects its utterances.

    Args:
      manifest: of the converted corpus, from `shards.read_manifest`.
      directory: folder of the shards, or the URL of one, whose shards are then copied to this machine.
      split: name of the split.
      config: limits of the duration. With them only what can be trained on is kept: utterances with a text that the
        alphabet can spell and that fits into their frames. None: every utterance is kept, as evaluation needs it.
      feature_config: gives the number of frames; its sample rate must be that of the records.
      alphabet: gives the labels.
      output_lengths: frames of features to frames of the network.

    Raises:
      TfvoiceError: there is no such split, the sample rate differs, a shard is missing or truncated, or no utterance
        is left.
    """
    directory = storage.place(directory)
    found = _shards(manifest, directory, split)
    if manifest.sample_rate_hz != feature_config.sample_rate_hz:
        raise TfvoiceError(
            f"{directory}: its audio has {manifest.sample_rate_hz} Hz and features.sample_rate_hz is "
            f"{feature_config.sample_rate_hz}; set features.sample_rate_hz={manifest.sample_rate_hz}, or convert "
            f"again with --sample_rate_hz={feature_config.sample_rate_hz}."
        )
    table = _Table()
    for entries in _entries(directory, split, found):
        labels = [np.array(alphabet.encode(entry.text), np.int32) for entry in entries]
        reasons: list[str | None] = [None] * len(entries)
        if config is not None:
            samples = np.array([entry.samples for entry in entries], np.int64)
            frames = output_lengths(features.frame_count(feature_config, samples))
            spare, seconds = frames - minimum_frames(labels), samples / manifest.sample_rate_hz
            reasons = [
                _reason(config, alphabet, entry.text, seconds[row], spare[row], len(labels[row]))
                for row, entry in enumerate(entries)
            ]
        for text in table.add(entries, labels, reasons):
            table.symbols.update(alphabet.unknown(text))
    index = table.index(manifest, directory, split)
    if not len(index):
        entries = itertools.chain.from_iterable(_entries(directory, split, found))
        remedy = _remedy(index, [entry.text for entry in entries], alphabet)
        raise TfvoiceError(f"{directory}: nothing to use in {index.describe()}. {remedy}")
    return index


def scan_clips(manifest: Manifest, directory: str | Path, split: str, samples: int) -> Index:
    """Reads the index files of a split whose texts are not needed; the labels stay empty.

    Args:
      manifest: of the converted corpus.
      directory: folder of the shards.
      split: name of the split.
      samples: clips of fewer samples are skipped.

    Raises:
      TfvoiceError: there is no such split, a shard is missing or truncated, or no clip is left.
    """
    directory = storage.place(directory)
    reason = f"shorter than a window of {samples} samples"
    table, longest = _Table(), 0
    for entries in _entries(directory, split, _shards(manifest, directory, split)):
        reasons = [reason if entry.samples < samples else None for entry in entries]
        table.add(entries, [np.zeros(0, np.int32)] * len(entries), reasons)
        longest = max([longest, *(entry.samples for entry in entries)])
    index = table.index(manifest, directory, split)
    if not len(index):
        raise TfvoiceError(
            f"{directory}: nothing to use in {index.describe()}. The longest clip has {longest} samples; set "
            f"data.sequence_samples to no more, or convert longer clips."
        )
    return index


def read_texts(directory: str | Path | ObjectPath, split: str) -> Sequence[str]:
    """The transcripts of a split of converted data, as they are in the corpus; errors as for `scan_clips`."""
    return scan_clips(shards.read_manifest(directory), directory, split, 1).texts


def minimum_frames(labels: Sequence[np.ndarray]) -> np.ndarray:
    """The `ctc.minimum_frames` of each utterance, int32 `[utterances]`; a call for each would take 10 us."""
    chunks = (ClassIds(labels[start : start + _CHUNK]) for start in range(0, len(labels), _CHUNK))
    found = [ctc.minimum_frames(chunk.padded(np.arange(len(chunk))), chunk.lengths) for chunk in chunks]
    return np.concatenate([np.zeros(0, np.int32), *found])


def _shards(manifest: Manifest, directory: Place, split: str) -> list[Shard]:
    if split not in manifest.splits:
        raise TfvoiceError(f"{directory}: there is no split {split}; {nearest(split, manifest.splits)}.")
    return manifest.splits[split].shards


def _stage(directory: Place, found: list[Shard]) -> None:
    """Copies the shards of an object store to this machine; raises where a file is missing or truncated."""
    if isinstance(directory, ObjectPath):
        cache.shards(directory, {shard.name: Digest(shard.sha256, shard.bytes) for shard in found})
        return
    for shard in found:
        defect = shards.size_defect(directory / shard.name, shard)
        if defect:
            raise TfvoiceError(_advice(defect, directory))


def _local(directory: Place, shard: Shard) -> Path:
    """The path of a shard on this machine."""
    return cache.path(shard.sha256) if isinstance(directory, ObjectPath) else directory / shard.name


def _entries(directory: Place, split: str, found: list[Shard]) -> Iterator[list[IndexEntry]]:
    """Yields the records of each shard; writes the index of shards that have none yet."""
    _stage(directory, found)
    groups = storage.mapped(lambda shard: _known_entries(directory / shard.name, shard), found, directory)
    with contextlib.ExitStack() as stack:
        bar = None
        for number, entries in enumerate(groups):
            if entries is None and bar is None:
                progress = {"total": len(found), "initial": number, "unit": "shard", "disable": None}
                bar = stack.enter_context(tqdm(desc=f"indexing {split}", **progress))
            yield _indexed(directory, found[number]) if entries is None else entries
            if bar is not None:
                bar.update()


def _known_entries(path: Place, shard: Shard) -> list[IndexEntry] | None:
    try:
        return shard_index.read(path, shard.sha256)
    except shard_index.ShardIndexError as error:
        if shard_index.path_of(path).exists():
            logging.warning("%s; it is written again", error)
        return None


def _indexed(directory: Place, shard: Shard) -> list[IndexEntry]:
    """Reads a shard of an older conversion, which has no index, and writes one."""
    path = directory / shard.name

    def entry(serialized):
        record = records.decode(serialized)
        peak = tf.reduce_max(tf.abs(tf.pad(record["audio"], [[0, 1]])))
        return record["id"], record["speaker"], record["text"], record["samples"], tf.strings.length(serialized), peak

    entries: list[IndexEntry] = []
    offset = records.HEADER_BYTES
    with records.explained(directory):
        dataset = tf.data.TFRecordDataset(str(_local(directory, shard))).map(entry, num_parallel_calls=tf.data.AUTOTUNE)
        for id, speaker, text, samples, size, peak in dataset.as_numpy_iterator():
            place = (offset, int(size), float(peak))
            entries.append(IndexEntry(id.decode(), speaker.decode(), text.decode(), int(samples), *place))
            offset += int(size) + records.FOOTER_BYTES + records.HEADER_BYTES
    if len(entries) != shard.utterances:
        fact = f"{path}: this shard holds {len(entries)} records instead of {shard.utterances}"
        raise TfvoiceError(_advice(fact, directory))
    try:
        shard_index.write(path, shard.sha256, entries)
    except OSError as error:
        sentence = "%s: cannot write this index (%s), so that each command reads all audio; make its folder writable"
        logging.warning(sentence, shard_index.path_of(path), error.strerror)
    return entries


def _reason(
    config: FilterConfig, alphabet: Alphabet, text: str, seconds: float, spare_frames: int, labels: int
) -> str | None:
    """Why an utterance cannot be trained on; None where it can."""
    if seconds < config.min_seconds:
        return "too short"
    if seconds > config.max_seconds:
        return "too long"
    if alphabet.config.unknown == "skip" and alphabet.unknown(text):
        return _UNKNOWN_SYMBOLS
    if not labels:
        return _NO_TEXT
    if spare_frames < 0:
        return "with more text than frames"
    return None


def _remedy(index: Index, texts: list[str], alphabet: Alphabet) -> str:
    """What to change where no utterance is left, by the most frequent reason."""
    reason = max(index.dropped, key=lambda reason: index.dropped[reason])
    symbols: Counter[str] = Counter()
    for text in texts:
        symbols.update(alphabet.unknown(text))
    if not symbols or reason not in (_NO_TEXT, _UNKNOWN_SYMBOLS):
        return "Look at data.* and features.*."
    if sentence := notice(alphabet, texts):
        return sentence[0].upper() + sentence[1:]
    return f"The alphabet {alphabet.characters!r} lacks {format_counts(symbols)}; write numbers and symbols as words."


class _Table:
    """The utterances that are used, shard by shard: no more than one shard has an object for each utterance."""

    def __init__(self):
        self.symbols: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._shards = 0
        self._numbers: list[np.ndarray] = [np.zeros((4, 0), np.int64)]
        self._peaks: list[np.ndarray] = [np.zeros(0, np.float32)]
        self._texts: list[list[Texts]] = []
        self._labels: list[ClassIds] = []

    def add(self, entries: list[IndexEntry], labels: list[np.ndarray], reasons: list[str | None]) -> list[str]:
        """Adds the entries of a shard that have no reason against them; returns their texts."""
        for entry, reason in zip(entries, reasons, strict=True):
            if reason:
                self._dropped[reason] += 1
                if len(self._examples.setdefault(reason, [])) < _EXAMPLES:
                    self._examples[reason].append(entry.id)
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        kept = [entries[row] for row in rows]
        numbers = [(self._shards, entry.offset, entry.size, entry.samples) for entry in kept]
        self._numbers.append(np.array(numbers, np.int64).reshape(-1, 4).T)
        self._peaks.append(np.array([entry.peak for entry in kept], np.float32))
        texts = [entry.text for entry in kept]
        self._texts.append([Texts(each.id for each in kept), Texts(each.speaker for each in kept), Texts(texts)])
        self._labels.append(ClassIds(labels[row] for row in rows))
        self._shards += 1
        return texts

    def index(self, manifest: Manifest, directory: Place, split: str) -> Index:
        """The index of all that was added."""
        paths = [str(_local(directory, shard)) for shard in manifest.splits[split].shards]
        numbers, peaks = np.concatenate(self._numbers, axis=1), np.concatenate(self._peaks)
        texts = [Texts.joined(column) for column in zip(*self._texts, strict=True)] or [Texts()] * 3
        return Index(
            directory, split, manifest.sample_rate_hz, paths, *numbers, peaks, *texts, ClassIds.joined(self._labels),
            self._dropped, self._examples, self.symbols,
        )  # fmt: skip


def _advice(fact: str, directory: Place) -> str:
    return f"{fact}. Look at the other shards too with tfvoice_convert --validate --output={directory}"

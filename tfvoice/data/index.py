"""What a split holds: one look through its shards, which also checks their checksums.

Training plans every epoch before it starts: which utterances, in what order, in which bucket. For that it needs the
length and the labels of each utterance, and where its record lies, so that any record can be read at any time.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice import ctc
from tfvoice.audio import features
from tfvoice.config import Config, nearest
from tfvoice.data import records
from tfvoice.data.shards import Manifest, Shard
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet, listed

# A TFRecord puts 12 bytes before each record (length, checksum) and 4 after it.
_BEFORE, _AFTER = 12, 4


class FilterConfig(Config):
    """Which utterances of a corpus are used.

    Attributes:
      min_seconds: shorter ones are left out.
      max_seconds: longer ones are left out; memory of a step grows with the longest.
    """

    min_seconds: float = pydantic.Field(0.2, ge=0)
    max_seconds: float = pydantic.Field(20.0, gt=0)


@dataclass
class Index:
    """The usable utterances of one split, and where their records are.

    Attributes:
      directory: folder of the shards.
      split: name of the split.
      sample_rate_hz: rate of the audio.
      shards: paths of the shards.
      shard, offset, size: int64 `[utterances]`, where the record of each utterance lies.
      samples: int64 `[utterances]`.
      ids, speakers, texts: as in the records.
      labels: classes of each normalised text.
      dropped: how many utterances were left out, by reason.
      examples: the first few ids that were left out, by reason.
      symbols: what the texts hold and the labels do not, because the alphabet lacks it.
    """

    directory: Path
    split: str
    sample_rate_hz: int
    shards: list[str]
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    samples: np.ndarray
    ids: list[str]
    speakers: list[str]
    texts: list[str]
    labels: list[np.ndarray]
    dropped: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    symbols: Counter = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def seconds(self) -> float:
        """Audio of all utterances, in seconds."""
        return float(self.samples.sum()) / self.sample_rate_hz

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Reads the records of `rows`."""
        found = []
        for row in rows:
            with open(self.shards[self.shard[row]], "rb", buffering=0) as file:
                found.append(os.pread(file.fileno(), int(self.size[row]), int(self.offset[row])))
        return found

    def audio(self, row: int) -> np.ndarray:
        """The samples of an utterance, float32 `[samples]`."""
        return records.decode(self.read([row])[0])["audio"].numpy()

    def describe(self) -> str:
        """One sentence: how many utterances and hours, and what was left out and why."""
        text = f"{self.split}: {len(self)} utterances, {self.seconds / 3600:.2f} hours"
        if self.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
            text += f"; left out: {reasons}"
        if self.symbols:
            text += f"; symbols dropped from their texts: {listed(self.symbols)}"
        return text


def scan(
    manifest: Manifest,
    directory: str | Path,
    split: str,
    config: FilterConfig,
    feature_config: features.FeatureConfig,
    alphabet: Alphabet,
    output_lengths: Callable[[np.ndarray], np.ndarray],
) -> Index:
    """Reads through the shards of a split and keeps what can be trained on.

    Args:
      manifest: of the converted corpus, as `shards.read_manifest` gives it.
      directory: folder of the shards.
      split: name of the split.
      config: limits on the duration.
      feature_config: gives the number of frames; its sample rate must be that of the records.
      alphabet: gives the labels.
      output_lengths: frames of features to frames of the network.

    Raises:
      TfvoiceError: there is no such split, the sample rate differs, a shard is damaged, or nothing is left.
    """
    directory = Path(directory)
    shards = _shards(manifest, directory, split)
    if manifest.sample_rate_hz != feature_config.sample_rate_hz:
        raise TfvoiceError(
            f"{directory}: its audio has {manifest.sample_rate_hz} Hz and features.sample_rate_hz is "
            f"{feature_config.sample_rate_hz}; set features.sample_rate_hz={manifest.sample_rate_hz}, or convert "
            f"again with --sample_rate_hz={feature_config.sample_rate_hz}."
        )
    columns = _columns(directory, shards)
    texts = [text.decode() for text in columns["text"]]
    labels = [np.array(alphabet.encode(text), np.int32) for text in texts]
    frames = output_lengths(features.frame_count(feature_config, columns["samples"]))
    reasons = [
        _reason(config, alphabet, texts[row], labels[row], columns["samples"][row] / manifest.sample_rate_hz, count)
        for row, count in enumerate(frames)
    ]
    index = _kept(directory, split, manifest, columns, texts, labels, reasons)
    for text in index.texts:
        index.symbols.update(alphabet.unknown(text))
    if not len(index):
        raise TfvoiceError(f"{directory}: nothing to use in {index.describe()}. Look at data.* and features.*.")
    return index


def scan_clips(manifest: Manifest, directory: str | Path, split: str, samples: int) -> Index:
    """Reads through the shards of a split for their audio alone.

    Args:
      manifest: of the converted corpus.
      directory: folder of the shards.
      split: name of the split.
      samples: clips of fewer samples are left out.

    Raises:
      TfvoiceError: there is no such split, a shard is damaged, or nothing is left.
    """
    directory = Path(directory)
    columns = _columns(directory, _shards(manifest, directory, split))
    texts = [text.decode() for text in columns["text"]]
    reason = f"shorter than a window of {samples} samples"
    reasons = [reason if count < samples else None for count in columns["samples"]]
    index = _kept(directory, split, manifest, columns, texts, [np.zeros(0, np.int32)] * len(texts), reasons)
    if not len(index):
        longest = int(columns["samples"].max())
        raise TfvoiceError(
            f"{directory}: nothing to use in {index.describe()}. The longest clip has {longest} samples; set "
            f"data.sequence_samples to no more, or convert longer clips."
        )
    return index


def _shards(manifest: Manifest, directory: Path, split: str) -> list[Shard]:
    if split not in manifest.splits:
        raise TfvoiceError(f"{directory}: there is no split {split}; {nearest(split, manifest.splits)}.")
    return manifest.splits[split].shards


def _columns(directory: Path, shards: list[Shard]) -> dict[str, np.ndarray]:
    string, int64 = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
    schema = {"id": string, "speaker": string, "text": string, "samples": int64}

    def parse(serialized):
        return tf.io.parse_example(serialized, schema) | {"size": tf.strings.length(serialized)}

    columns: dict[str, list] = {key: [] for key in (*schema, "size", "shard", "offset")}
    with records.explained(directory):
        for number, shard in enumerate(shards):
            offset = found = 0
            for batch in tf.data.TFRecordDataset(str(directory / shard.name)).batch(256).map(parse).as_numpy_iterator():
                for key, values in batch.items():
                    columns[key].extend(values)
                found += len(batch["size"])
                for size in batch["size"]:
                    columns["shard"].append(number)
                    columns["offset"].append(offset + _BEFORE)
                    offset += int(size) + _BEFORE + _AFTER
            # A shard that ends between two records is whole to TFRecord.
            if found != shard.utterances:
                raise TfvoiceError(
                    f"{directory}: {shard.name} holds {found} records instead of {shard.utterances}. Look at the "
                    f"others too with tfvoice_convert --validate --output={directory}"
                )
    return {
        key: np.array(values, object if key in ("id", "speaker", "text") else np.int64)
        for key, values in columns.items()
    }


def _reason(
    config: FilterConfig, alphabet: Alphabet, text: str, labels: np.ndarray, seconds: float, frames: int
) -> str | None:
    """Why an utterance cannot be used; None where it can."""
    if seconds < config.min_seconds:
        return "too short"
    if seconds > config.max_seconds:
        return "too long"
    if alphabet.config.unknown == "skip" and alphabet.unknown(text):
        return "with symbols outside the alphabet"
    if not len(labels):
        return "without text"
    if not ctc.feasible(frames, labels):
        return "with more text than frames"
    return None


def _kept(directory, split, manifest, columns, texts, labels, reasons) -> Index:
    keep = np.array([reason is None for reason in reasons], bool)
    names = [name.decode() for name in columns["id"]]
    rows = np.flatnonzero(keep)
    index = Index(
        directory,
        split,
        manifest.sample_rate_hz,
        [str(directory / shard.name) for shard in manifest.splits[split].shards],
        *(columns[key][rows] for key in ("shard", "offset", "size", "samples")),
        [names[row] for row in rows],
        [columns["speaker"][row].decode() for row in rows],
        [texts[row] for row in rows],
        [labels[row] for row in rows],
    )
    for name, reason in zip(names, reasons, strict=True):
        if reason:
            index.dropped[reason] += 1
            if len(index.examples.setdefault(reason, [])) < 5:
                index.examples[reason].append(name)
    return index

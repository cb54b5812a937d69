"""The aligned record: a plain record that also says where each phoneme lies and what the F0 is.

`tfvoice_align` makes them of plain records. What reads plain records reads aligned ones as well, and ignores what they
hold besides; what needs the alignment finds it here.

| key | type | content |
|---|---|---|
| all of `tfvoice.data.records` | | |
| `phonemes` | bytes, repeated | ARPAbet with stress, as in `AH0`; `sil` is silence |
| `phoneme_ends` | int64, repeated | end of each phoneme in samples, where the next one starts |
| `f0_hz` | float, repeated | F0 of each conditioning frame; 0 where the speech is unvoiced |
| `frame_samples` | int64 | samples of a conditioning frame; the last frame may be shorter |
| `score` | float | how probable the alignment is, in nats per frame; absent where that is unknown |
"""

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfvoice.audio import f0
from tfvoice.audio.f0 import F0Config
from tfvoice.data import records, shards
from tfvoice.data.corpora.base import Skip
from tfvoice.data.output import EncodedUtterance
from tfvoice.data.shards import Manifest, ShardError


class PhonemeAlignment(NamedTuple):
    """Phonemes, times and F0 of an utterance.

    Attributes:
      phonemes: with stress; `sil` is silence.
      ends: int64 `[phonemes]`, end of each phoneme in samples: strictly increasing, the last the length of the audio.
      f0_hz: float32 `[frames]`, 0 where the speech is unvoiced.
      frame_samples: samples of a conditioning frame.
    """

    phonemes: list[str]
    ends: np.ndarray
    f0_hz: np.ndarray
    frame_samples: int


def frame_count(samples, frame_samples: int):
    """Conditioning frames of so many samples, for integers, arrays and tensors; the last frame may be shorter."""
    return -(-samples // frame_samples)


def encode(record: bytes, samples: int, alignment: PhonemeAlignment, score: float | None = None) -> bytes:
    """Adds an alignment to a plain record.

    Args:
      record: from `records.encode`.
      samples: length of its audio.
      alignment: of its audio.
      score: of the alignment; None: unknown.

    Returns:
      A serialized `tf.train.Example`, the same bytes for the same arguments.

    Raises:
      ValueError: the alignment is not one of audio of this length.
    """
    phonemes, ends, f0_hz, frame_samples = alignment
    ends = np.asarray(ends, np.int64)
    if len(phonemes) != len(ends) or not len(ends) or ends[-1] != samples or (np.diff(ends, prepend=0) <= 0).any():
        raise ValueError(f"{len(phonemes)} phonemes that end at {ends} do not divide {samples} samples.")
    if len(f0_hz) != frame_count(samples, frame_samples):
        raise ValueError(f"{len(f0_hz)} values of F0 are not one for each {frame_samples} of {samples} samples.")
    features = {
        "phonemes": list(phonemes),
        "phoneme_ends": ends,
        "f0_hz": np.asarray(f0_hz, np.float32),
        "frame_samples": np.array([frame_samples]),
    }
    if score is not None:
        features["score"] = np.array([score], np.float32)
    return records.extended(record, features)


def encode_utterance(
    utterance: EncodedUtterance | Skip,
    samples: np.ndarray | None = None,
    sample_rate_hz: int = 0,
    phonemes: list[str] | None = None,
    ends: np.ndarray | None = None,
    score: float | None = None,
    f0_config: F0Config | None = None,
) -> EncodedUtterance | Skip:
    """Estimates the F0 of an utterance and encodes its record; runs in worker processes.

    Args:
      utterance: with its plain record, not framed; a `Skip` is returned as it is, and needs nothing else.
      samples: its audio.
      sample_rate_hz: rate of the audio.
      phonemes, ends, score: as in `PhonemeAlignment` and `encode`.
      f0_config: how F0 is estimated.
    """
    if isinstance(utterance, Skip):
        return utterance
    alignment = PhonemeAlignment(
        phonemes, ends, f0.estimate(samples, sample_rate_hz, f0_config), f0_config.frame_samples
    )
    record = encode(utterance.frame, utterance.samples, alignment, score)
    return dataclasses.replace(utterance, frame=records.frame(record))


def decode(serialized) -> dict:
    """Decodes an aligned record, in the graph.

    Args:
      serialized: string scalar, one record.

    Returns:
      What `records.decode` and `decode_alignment` return.

    Raises:
      tf.errors.InvalidArgumentError: as `decode_alignment`.
    """
    return records.decode(serialized) | decode_alignment(serialized)


def decode_alignment(serialized) -> dict:
    """Decodes what an aligned record holds besides a plain one, without its audio, in the graph.

    Args:
      serialized: string scalar, one record.

    Returns:
      A dictionary of `phonemes` (string `[phonemes]`), `phoneme_ends` (int64 `[phonemes]`), `f0_hz` (float32
      `[frames]`), `frame_samples` and `samples` (int64 scalars).

    Raises:
      tf.errors.InvalidArgumentError: at run time, for anything but a whole aligned record; `records.explained` turns
        it into a `RecordError`.
    """
    import tensorflow as tf

    def repeated(dtype):
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    scalar = tf.io.FixedLenFeature([], tf.int64)
    schema = {"phonemes": repeated(tf.string), "phoneme_ends": repeated(tf.int64), "f0_hz": repeated(tf.float32)}
    record = tf.io.parse_single_example(serialized, schema | {"frame_samples": scalar, "samples": scalar})
    ends, samples = record["phoneme_ends"], record["samples"]
    whole = (
        tf.equal(tf.size(record["phonemes"]), tf.size(ends)),
        tf.reduce_all(ends > tf.concat([[tf.constant(0, tf.int64)], ends[:-1]], 0)),
        tf.reduce_all(tf.equal(ends[-1:], samples)) & (tf.size(ends) > 0),
        tf.equal(tf.size(record["f0_hz"], tf.int64), frame_count(samples, tf.maximum(record["frame_samples"], 1))),
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(whole), [records.DAMAGED_SENTENCE])]):
        return {key: tf.identity(value) for key, value in record.items()}


def decode_score(serialized) -> float:
    """The score of an aligned record, without its audio; NaN where it has none."""
    import tensorflow as tf

    schema = {"score": tf.io.FixedLenFeature([], tf.float32, default_value=math.nan)}
    return float(tf.io.parse_single_example(serialized, schema)["score"])


def read_alignments(clips) -> list[PhonemeAlignment]:
    """Reads the alignments of all utterances of an `Index` of aligned records, without decoding their audio.

    Raises:
      RecordError: a record is plain or damaged.
    """
    import tensorflow as tf

    decode = tf.function(decode_alignment, input_signature=[tf.TensorSpec([], tf.string)])
    with records.explained(clips.directory):
        return [alignment_of(decode(clips.read([row])[0])) for row in range(len(clips))]


def alignment_of(record: dict) -> PhonemeAlignment:
    """The alignment in a decoded record."""
    symbols = [symbol.decode() for symbol in record["phonemes"].numpy()]
    return PhonemeAlignment(
        symbols, record["phoneme_ends"].numpy(), record["f0_hz"].numpy(), int(record["frame_samples"])
    )


def read_manifest(directory: str | Path) -> Manifest:
    """Reads the manifest of aligned records, whose section `alignment` is there.

    Raises:
      ShardError: as `shards.read_manifest`, or the records are plain.
    """
    manifest = shards.read_manifest(directory)
    if manifest.alignment is None:
        raise ShardError(
            f"{directory}: these records are plain, and aligned ones are needed; make them with "
            f"tfvoice_align --run=SEGMENTATION --data={directory} --output={directory}_aligned"
        )
    return manifest


def read_plain_manifest(directory: str | Path) -> Manifest:
    """Reads the manifest of plain records.

    Raises:
      ShardError: as `shards.read_manifest`, or the records are aligned already.
    """
    manifest = shards.read_manifest(directory)
    if manifest.alignment is not None:
        raise ShardError(
            f"{directory}: these records are aligned already, and plain ones are needed; name the folder that they "
            "were made of, the --data of tfvoice_align."
        )
    return manifest

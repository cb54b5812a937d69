"""The record: one utterance as a serialized `tf.train.Example`, encoded and decoded only here.

`encode` writes the few fields of the protocol buffer directly, in a fixed order. It needs no TensorFlow, so that
conversion starts at once and its worker processes stay small, and it gives the same bytes under every version of the
protobuf library (whose maps have no order). `decode` is TensorFlow, in the graph.

| key | type | content |
|---|---|---|
| `schema` | int64 | `SCHEMA` |
| `id`, `speaker`, `text` | bytes | UTF-8 |
| `audio` | bytes | 16-bit little-endian PCM, or a FLAC file |
| `encoding` | bytes | `pcm16` or `flac` |
| `sample_rate_hz`, `samples` | int64 | rate and number of samples of `audio` |
"""

import contextlib
import functools
import io
import re
import struct
from collections.abc import Iterator, Mapping

import google_crc32c
import numpy as np
import soundfile

from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError

SCHEMA = 1
ENCODINGS = ("pcm16", "flac")

# A TFRecord frame puts 12 bytes before each record (length, checksum) and 4 after it (checksum).
HEADER_BYTES, FOOTER_BYTES = 12, 4

_SCHEMA_SENTENCE = "this record has another schema version than this tfvoice reads"
_SIZE_SENTENCE = "this record holds another number of samples than it states"
# Of an assertion in the graph about further features.
DAMAGED_SENTENCE = "this record holds features that do not belong together"


class RecordError(TfvoiceError):
    """A record that is damaged, or that this version of tfvoice did not write."""


def encode(
    id: str, speaker: str, text: str, samples: np.ndarray, sample_rate_hz: int, encoding: str = "pcm16"
) -> bytes:
    """Encodes an utterance.

    Args:
      id: name of the utterance, unique in its corpus.
      speaker: name of the speaker, or "".
      text: the transcript as the corpus has it; the alphabet normalises it at training time.
      samples: `[samples]`, int16, or float32 in [-1, 1].
      sample_rate_hz: rate of `samples`.
      encoding: `pcm16`, or the lossless `flac` (about half the size, slower to decode).

    Returns:
      A serialized `tf.train.Example`, the same bytes for the same arguments.

    Raises:
      RecordError: `encoding` is not one of `ENCODINGS`.
    """
    if encoding not in ENCODINGS:
        raise RecordError(f"--encoding={encoding}: no such encoding; use one of {', '.join(ENCODINGS)}.")
    pcm16 = samples if samples.dtype == np.int16 else audio_io.to_pcm16(samples)
    audio = _flac(pcm16, sample_rate_hz) if encoding == "flac" else pcm16.astype("<i2").tobytes()
    features = (
        ("schema", _int64(SCHEMA)),
        ("id", _bytes(id.encode())),
        ("speaker", _bytes(speaker.encode())),
        ("text", _bytes(text.encode())),
        ("encoding", _bytes(encoding.encode())),
        ("sample_rate_hz", _int64(sample_rate_hz)),
        ("samples", _int64(len(pcm16))),
        ("audio", _bytes(audio)),
    )
    return _field(1, b"".join(_entry(key, value) for key, value in features))


def extended(record: bytes, features: Mapping[str, list[str] | np.ndarray]) -> bytes:
    """Adds features to a record; `decode` ignores them.

    Args:
      record: from `encode`, which stays as it is, byte for byte.
      features: lists of texts, arrays of integers that are not negative, or float32 arrays, by key.

    Returns:
      A serialized `tf.train.Example`, the same bytes for the same arguments.
    """
    size_bytes = next(place for place, byte in enumerate(record[1:]) if byte <= 0x7F) + 1
    entries = record[1 + size_bytes :]
    return _field(1, entries + b"".join(_entry(key, _values(values)) for key, values in features.items()))


def decode(serialized) -> dict:
    """Decodes a record, in the graph.

    Args:
      serialized: string scalar, one record.

    Returns:
      A dictionary of `id`, `speaker`, `text` (string scalars), `audio` (float32 `[samples]` in [-1, 1)), `samples` and
      `sample_rate_hz` (int64 scalars).

    Raises:
      tf.errors.InvalidArgumentError: at run time, for anything but a whole record of this `SCHEMA`; `explained` turns
        it into a `RecordError`.
    """
    import tensorflow as tf

    string, int64 = tf.io.FixedLenFeature([], tf.string), tf.io.FixedLenFeature([], tf.int64)
    schema = dict.fromkeys(("id", "speaker", "text", "audio", "encoding"), string)
    schema |= dict.fromkeys(("schema", "sample_rate_hz", "samples"), int64)
    record = tf.io.parse_single_example(serialized, schema)
    expected = tf.constant(SCHEMA, tf.int64)
    with tf.control_dependencies([tf.debugging.assert_equal(record.pop("schema"), expected, _SCHEMA_SENTENCE)]):
        audio = tf.identity(record.pop("audio"))
    is_flac = tf.equal(record.pop("encoding"), "flac")
    pcm16 = tf.cond(is_flac, lambda: _flac_decoder()(audio), lambda: tf.io.decode_raw(audio, tf.int16))
    size = tf.size(pcm16, tf.int64)
    with tf.control_dependencies([tf.debugging.assert_equal(record["samples"], size, _SIZE_SENTENCE)]):
        record["audio"] = tf.cast(tf.ensure_shape(pcm16, [None]), tf.float32) / 32768.0
    return record


@contextlib.contextmanager
def explained(directory) -> Iterator[None]:
    """Turns TensorFlow's errors about the shards of `directory` into a `RecordError` that says what to type next.

    Raises:
      RecordError: inside the `with` a shard was missing, truncated or damaged, or had another schema.
    """
    import tensorflow as tf

    foreign = "a record was not written by tfvoice, or is damaged"
    facts = {
        _SCHEMA_SENTENCE: "a record has another schema version, or is damaged",
        _SIZE_SENTENCE: "a record is damaged",
        DAMAGED_SENTENCE: "a record is damaged",
        "parse example": foreign,
        "parse serialized": foreign,
        "Feature: ": foreign,
    }
    try:
        yield
    except tf.errors.DataLossError as error:
        raise RecordError(_advice(directory, "a shard is truncated or damaged")) from error
    except tf.errors.NotFoundError as error:
        raise RecordError(_advice(directory, "a shard is missing")) from error
    except UnicodeDecodeError as error:
        # TensorFlow quotes the bytes that it cannot parse, and then fails to decode its own message.
        raise RecordError(_advice(directory, foreign)) from error
    except tf.errors.InvalidArgumentError as error:
        fact = next((fact for sentence, fact in facts.items() if sentence in error.message), None)
        if fact is None:
            raise
        raise RecordError(_advice(directory, fact)) from error
    except tf.errors.UnknownError as error:
        # Raised by Python inside the graph (`Index.read`): TensorFlow keeps the name of its class and its text.
        sentence = re.search(r"RecordError: (.+)", error.message)
        if sentence is None:
            raise
        raise RecordError(sentence[1]) from error


def frame(record: bytes) -> bytes:
    """Puts a record into its TFRecord frame: length, its checksum, the record, its checksum (CRC-32C, masked)."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def unframe(framed: bytes) -> bytes | None:
    """Takes a record out of its frame; None where the frame is truncated or a checksum differs."""
    header, record = framed[:HEADER_BYTES], framed[HEADER_BYTES:-FOOTER_BYTES]
    whole = _frame_length(header) == len(record) and _masked_crc(record) == framed[-FOOTER_BYTES:]
    return record if whole else None


def frames(path) -> Iterator[tuple[int, int]]:
    """Reads a whole shard and checks every checksum.

    Yields:
      The offset and the size of each record, in bytes.

    Raises:
      RecordError: the file is truncated or damaged; the text names the file and the record.
    """
    offset, count = HEADER_BYTES, 0
    with open(path, "rb") as shard:
        while header := shard.read(HEADER_BYTES):
            count += 1
            size = _frame_length(header)
            if size is None or unframe(header + shard.read(size + FOOTER_BYTES)) is None:
                raise RecordError(f"{path}: damaged at record {count}")
            yield offset, size
            offset += size + HEADER_BYTES + FOOTER_BYTES


def _frame_length(header: bytes) -> int | None:
    """The length of the record that follows; None where the header is truncated or damaged."""
    if len(header) < HEADER_BYTES or _masked_crc(header[:8]) != header[8:]:
        return None
    return struct.unpack("<Q", header[:8])[0]


def _advice(directory, fact: str) -> str:
    return f"{directory}: {fact}. Find out which with tfvoice_convert --validate --output={directory}"


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _bytes(value: bytes) -> bytes:
    return _field(1, _field(1, value))


def _int64(value: int) -> bytes:
    return _field(3, _field(1, _varint(value)))


def _values(values: list[str] | np.ndarray) -> bytes:
    if isinstance(values, list):
        return _field(1, b"".join(_field(1, value.encode()) for value in values))
    if np.issubdtype(values.dtype, np.integer):
        return _field(3, _field(1, b"".join(_varint(value) for value in values.tolist())))
    return _field(2, _field(1, values.astype("<f4").tobytes()))


def _entry(key: str, value: bytes) -> bytes:
    return _field(1, _field(1, key.encode()) + _field(2, value))


def _flac(pcm16: np.ndarray, sample_rate_hz: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm16, sample_rate_hz, subtype="PCM_16", format="FLAC")
    return file.getvalue()


@functools.cache
def _flac_decoder():
    """The op of tensorflow-io where it is installed and its native library loads, and soundfile elsewhere."""
    import tensorflow as tf

    with tf.init_scope(), contextlib.suppress(Exception):
        import tensorflow_io as tfio

        decoder = functools.partial(tfio.audio.decode_flac, shape=[-1, 1], dtype=tf.int16)
        probe = np.arange(64, dtype=np.int16)
        if np.array_equal(decoder(_flac(probe, 16000))[:, 0], probe):
            return lambda audio: decoder(audio)[:, 0]

    def with_soundfile(audio) -> np.ndarray:
        # Graph execution hands over bytes, eager execution an array of one object.
        return soundfile.read(io.BytesIO(np.asarray(audio, object).item()), dtype="int16")[0]

    return lambda audio: tf.ensure_shape(tf.numpy_function(with_soundfile, [audio], tf.int16, False), [None])

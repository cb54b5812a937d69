"""Audio files, bytes and streams to float32 mono samples at a stated rate, and back.

Reading is one road: a source is opened, decoded block by block, mixed down to mono, checked for NaN and resampled
with soxr. `read` joins the blocks, `read_blocks` hands them on, so both give the same samples bit for bit.
"""

import contextlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from tfvoice.audio import decoding

AudioError = decoding.AudioError
Source = decoding.Source

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}


def read(
    source: Source,
    sample_rate_hz: int,
    max_seconds: float | None = None,
    start_seconds: float = 0.0,
    seconds: float | None = None,
) -> np.ndarray:
    """Reads audio as mono samples at one rate; channels are averaged.

    Args:
      source: a file's name, its bytes, or a binary stream (read from where it stands; one that cannot seek is read
        whole).
      sample_rate_hz: the rate of the result, whatever that of the source.
      max_seconds: longer audio is refused; a header that tells the length is believed before anything is decoded.
      start_seconds, seconds: the part that is wanted; None: to the end.

    Returns:
      float32 `[samples]`. Integer formats lie within -1..1; a float or lossy format may go beyond.

    Raises:
      AudioError: the source is missing, empty, not audio, damaged, without samples, too long, or not finite.
    """
    with decoding.opened(source) as stream:
        if start_seconds or seconds is not None:
            stream = decoding.part(stream, start_seconds, seconds)
        if max_seconds is not None:
            stream = _limited(stream, max_seconds)
        return np.concatenate(list(_samples(stream, sample_rate_hz)))


def read_blocks(source: Source, sample_rate_hz: int, block_seconds: float) -> Iterator[np.ndarray]:
    """Reads audio of any length in bounded memory; the blocks joined are what `read` returns.

    Args:
      source: as for `read`. A file, or a stream that can seek, is never held in memory whole.
      sample_rate_hz: the rate of the result.
      block_seconds: the length of every block but the last, which may be shorter.

    Yields:
      float32 `[samples]`, never empty.

    Raises:
      AudioError: as for `read`, at the block where the defect lies.
    """
    size = max(1, round(block_seconds * sample_rate_hz))
    waiting: list[np.ndarray] = []
    held = 0
    with decoding.opened(source) as stream:
        for samples in _samples(stream, sample_rate_hz):
            waiting.append(samples)
            held += len(samples)
            if held < size:
                continue
            joined = np.concatenate(waiting)
            whole = held - held % size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            waiting, held = [joined[whole:]], held - whole
    if held:
        yield np.concatenate(waiting)


def read_pcm16(stream: BinaryIO, stream_hz: int, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Reads bare 16-bit little-endian mono samples as they arrive, such as a microphone's.

    Args:
      stream: with `read1`, as the standard input has.
      stream_hz: rate of its samples.
      sample_rate_hz: rate of the result.

    Yields:
      float32 `[samples]`, whatever there is at the moment.

    Raises:
      AudioError: the stream ends before the first sample.
    """
    name = str(getattr(stream, "name", "the stream"))
    try:
        yield from _samples(decoding.Stream(name, stream_hz, None, _pcm16(stream)), sample_rate_hz)
    except AudioError as error:
        if error.reason != "no_samples":
            raise
        raise AudioError(f"{name}: ended before the first sample; pipe 16-bit samples into it.", error.reason) from None


def _pcm16(stream: BinaryIO) -> Iterator[np.ndarray]:
    left = b""
    while data := stream.read1(1 << 16):
        data = left + data
        whole = len(data) // 2 * 2
        left = data[whole:]
        yield from_pcm16(np.frombuffer(data[:whole], "<i2"))[:, np.newaxis]


def seconds(source: Source) -> float:
    """Returns the length of the audio in seconds.

    The header is enough for most formats. Audio whose header does not tell (an MP3 without a Xing header, a FLAC that
    was written to a pipe, whatever libsndfile does not know) is decoded and counted.

    Raises:
      AudioError: the source is missing, empty, not audio, or without samples.
    """
    with decoding.opened(source) as stream:
        frames = stream.frames
        if frames is None:
            frames = sum(len(block) for block in stream.blocks)
        if not frames:
            raise _no_samples(stream)
        return frames / stream.sample_rate_hz


def write(path: str | Path, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Writes mono samples; the suffix decides the format: .wav and .flac (16 bits), .ogg (Vorbis), .opus or .mp3.

    The file appears under its name only when it is complete.

    Args:
      path: the file to write; one that exists is replaced.
      samples: float `[samples]` in -1..1; what lies beyond is clipped.
      sample_rate_hz: their rate.

    Raises:
      AudioError: the suffix is not one of those above, a sample is not finite, or the file cannot be written.
    """
    with Writer(path, sample_rate_hz) as writer:
        writer.write(samples)


class Writer:
    """Writes mono samples piece by piece; the rest is as for `write`.

    Args:
      path: the file to write; one that exists is replaced at the end of the `with`, unless that ends in an error.
      sample_rate_hz: of the samples.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int):
        self._path = Path(path)
        self._rate_hz = sample_rate_hz
        if self._path.suffix.lower() not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise AudioError(f"{path}: cannot tell a format from this name; end it in one of {known}.", "unwritable")
        self._partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")

    def __enter__(self) -> "Writer":
        container, subtype = _FORMATS[self._path.suffix.lower()]
        with self._explained():
            self._file = soundfile.SoundFile(self._partial, "w", self._rate_hz, 1, subtype, format=container)
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            with self._explained():
                self._file.close()
                if kind is None:
                    os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def write(self, samples: np.ndarray) -> None:
        """Writes float `[samples]`; raises `AudioError` where one is not finite."""
        if not np.isfinite(samples).all():
            raise AudioError(f"{self._path}: not written, because some samples are NaN or infinite.", "non_finite")
        pcm = to_pcm16(samples)
        with self._explained():
            # libsndfile's Vorbis encoder keeps the samples of a call on the stack and crashes on long ones.
            for start in range(0, len(pcm), decoding.BLOCK_FRAMES):
                self._file.write(pcm[start : start + decoding.BLOCK_FRAMES])

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (soundfile.SoundFileError, OSError) as error:
            self._partial.unlink(missing_ok=True)
            folder = self._path.parent
            reason = decoding.fact(error) if folder.is_dir() else f"make its folder first with mkdir -p {folder}"
            sentence = f"{self._path}: cannot write this file at {self._rate_hz} Hz: {reason}."
            raise AudioError(sentence, "unwritable") from error


def with_header(data: bytes, sample_rate_hz: int) -> bytes:
    """Makes a wav of bare 16-bit samples of speech, in whichever byte order they are.

    Neighbouring samples of sound are alike; read in the wrong order, they are noise.
    """
    even = data[: len(data) // 2 * 2]
    readings = [np.frombuffer(even, order) for order in ("<i2", ">i2")]
    samples = min(readings, key=lambda samples: np.abs(np.diff(samples.astype(np.int32))).sum())
    wav = BytesIO()
    soundfile.write(wav, samples.astype(np.int16), sample_rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Turns float samples in -1..1 into int16, rounded and clipped; `from_pcm16` is its inverse."""
    samples = np.asarray(samples)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"float samples are wanted, not {samples.dtype}")
    scale = decoding.FULL_SCALE
    return np.clip(np.rint(samples * scale), -scale, scale - 1).astype(np.int16)


def from_pcm16(samples: np.ndarray) -> np.ndarray:
    """Turns int16 samples into float32 in -1..1 (divided by 32768)."""
    return np.asarray(samples, np.float32) / np.float32(decoding.FULL_SCALE)


def _limited(stream: decoding.Stream, max_seconds: float) -> decoding.Stream:
    """Makes the blocks end in an error where the audio is longer, whether or not the header said so."""
    limit = round(max_seconds * stream.sample_rate_hz)
    advice = "cut it into shorter files or raise the limit"

    def blocks() -> Iterator[np.ndarray]:
        if stream.frames is not None and stream.frames > limit:
            length = f"{stream.frames / stream.sample_rate_hz:.1f} s, more than {max_seconds:g} s"
            raise AudioError(f"{stream.name}: lasts {length}; {advice}.", "too_long")
        count = 0
        for block in stream.blocks:
            count += len(block)
            if count > limit:
                raise AudioError(f"{stream.name}: lasts more than {max_seconds:g} s; {advice}.", "too_long")
            yield block

    return stream._replace(blocks=blocks())


def _samples(stream: decoding.Stream, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Mono blocks at the wanted rate, with at least one sample in all."""
    resampler = None
    if stream.sample_rate_hz != sample_rate_hz:
        resampler = soxr.ResampleStream(stream.sample_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
    frames = produced = 0
    for block in stream.blocks:
        mono = _mono(block)
        finite = np.isfinite(mono)
        if not finite.all():
            at = (frames + int(np.argmin(finite))) / stream.sample_rate_hz
            raise AudioError(f"{stream.name}: the sample at {at:.3f} s is not finite; mend the file.", "non_finite")
        frames += len(mono)
        samples = mono if resampler is None else resampler.resample_chunk(mono)
        produced += len(samples)
        yield samples
    if resampler is not None and frames:
        samples = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        produced += len(samples)
        yield samples
    if not produced:
        raise _no_samples(stream)


def _mono(block: np.ndarray) -> np.ndarray:
    channels = block.shape[1]
    if channels == 1:
        return np.ascontiguousarray(block[:, 0])
    # A product is ten times faster than a mean over so short an axis.
    return block @ np.full(channels, 1 / channels, np.float32)


def _no_samples(stream: decoding.Stream) -> AudioError:
    return AudioError(f"{stream.name}: it has a header but no samples; record or copy it again.", "no_samples")

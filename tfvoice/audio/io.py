"""Audio files, bytes and streams to float32 mono samples at a given rate, and back.

A source is opened, decoded block by block, mixed down to mono, checked for NaN and resampled with soxr. `read` joins
the blocks, `read_blocks` yields them, so both give the same samples bit for bit.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr

from tfvoice import storage
from tfvoice.audio import decoding, ffmpeg
from tfvoice.audio import stream as streams
from tfvoice.audio.stream import AudioError, Stream

Source = decoding.Source
OnCutOff: TypeAlias = Callable[[AudioError], object]

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
# Of the energy of the channels, what is left when they are mixed: 1/channels without any correlation, and less than
# 0.002 where one is the other with the opposite sign, after Vorbis as well.
_CANCELLED = 0.004
# Mean square of what is not silence.
_AUDIBLE = 1e-8


def read(
    source: Source,
    sample_rate_hz: int,
    max_seconds: float | None = None,
    start_seconds: float = 0.0,
    seconds: float | None = None,
    on_cut_off: OnCutOff | None = None,
) -> np.ndarray:
    """Reads audio as mono samples at one rate; channels are averaged.

    Args:
      source: a path, the bytes of a file, or a binary stream (read from its current position; one that cannot seek is
        read whole).
      sample_rate_hz: rate of the result; the source may have any.
      max_seconds: longer audio is an error, raised before anything is decoded where the header states the length.
      start_seconds, seconds: start and length of the part to read; None: to the end. It equals that part of the whole.
      on_cut_off: called with the error where the file is cut off or damaged after some samples, which are then
        returned; None: the error is raised.

    Returns:
      float32 `[samples]`. Integer formats lie within -1..1; float and lossy formats may exceed it up to
      `stream.MAX_AMPLITUDE`.

    Raises:
      AudioError: the source is missing, empty, not audio, damaged, cut off, without samples, too long, not finite, far
        beyond full scale, or silent only because its channels cancel; or the part reaches beyond its end.
    """
    with decoding.open_stream(source) as stream:
        if on_cut_off is not None:
            stream = streams.tolerant(stream, on_cut_off)
        if start_seconds or seconds is not None:
            stream = streams.crop(stream, start_seconds, seconds)
        if max_seconds is not None:
            stream = _limited(stream, max_seconds)
        return np.concatenate(list(mono_blocks(stream, sample_rate_hz)))


def decode_untrusted(data: bytes, sample_rate_hz: int, max_seconds: float, limits: ffmpeg.Limits) -> np.ndarray:
    """Decodes an untrusted file in a separate process that is killed when it exceeds its limits.

    ffmpeg decodes WebM, Ogg, MP4 (m4a), AAC, MP3, FLAC and WAV, without access to the network.

    Args:
      data: the file.
      sample_rate_hz: rate of the result.
      max_seconds: longer audio is an error.
      limits: of the process.

    Returns:
      float32 `[samples]`, as `read`. Of a file that is cut off, what there is: browsers do not finish theirs.

    Raises:
      AudioError: as `read`; or ffmpeg is not installed, or exceeds the limits.
    """
    with decoding.open_stream(data, limits) as stream:
        stream = _limited(streams.tolerant(stream, lambda _: None), max_seconds)
        return np.concatenate(list(mono_blocks(stream, sample_rate_hz)))


def read_blocks(
    source: Source, sample_rate_hz: int, block_seconds: float, on_cut_off: OnCutOff | None = None
) -> Iterator[np.ndarray]:
    """Reads audio of any length in bounded memory; the concatenated blocks are what `read` returns.

    Args:
      source: as for `read`. A file or a seekable stream is never held in memory whole.
      sample_rate_hz: rate of the result.
      block_seconds: length of every block but the last, which may be shorter.
      on_cut_off: as for `read`.

    Yields:
      float32 `[samples]`, never empty.

    Raises:
      AudioError: as for `read`, at the block where the defect lies.
    """
    size = max(1, round(block_seconds * sample_rate_hz))
    buffered: list[np.ndarray] = []
    count = 0
    with decoding.open_stream(source) as stream:
        if on_cut_off is not None:
            stream = streams.tolerant(stream, on_cut_off)
        for samples in mono_blocks(stream, sample_rate_hz):
            buffered.append(samples)
            count += len(samples)
            if count < size:
                continue
            joined = np.concatenate(buffered)
            whole = count - count % size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            buffered, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(buffered)


def read_pcm16(stream: BinaryIO, stream_hz: int, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Reads raw 16-bit little-endian mono samples as they arrive, such as a microphone's.

    Args:
      stream: a binary stream with `read1`, such as the standard input.
      stream_hz: rate of its samples.
      sample_rate_hz: rate of the result.

    Yields:
      float32 `[samples]`, as many as have arrived.

    Raises:
      AudioError: the stream ends before the first sample.
    """
    name = str(getattr(stream, "name", "the stream"))
    try:
        yield from mono_blocks(Stream(name, stream_hz, None, _pcm16(stream)), sample_rate_hz)
    except AudioError as error:
        if error.reason != "no_samples":
            raise
        raise AudioError(f"{name}: ended before the first sample; pipe 16-bit samples into it.", error.reason) from None


def _pcm16(stream: BinaryIO) -> Iterator[np.ndarray]:
    pending = b""
    while data := stream.read1(1 << 16):
        data = pending + data
        whole = len(data) // 2 * 2
        pending = data[whole:]
        yield from_pcm16(np.frombuffer(data[:whole], "<i2"))[:, np.newaxis]


def mono_blocks(stream: Stream, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """The samples of a stream, mixed down, checked and resampled.

    Args:
      stream: of the audio.
      sample_rate_hz: rate of the result.

    Yields:
      float32 `[samples]`, some of them empty.

    Raises:
      AudioError: there is not one sample, one is not finite or far beyond full scale, or the channels cancel.
    """
    resampler = None
    if stream.sample_rate_hz != sample_rate_hz:
        resampler = soxr.ResampleStream(stream.sample_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
    frames = produced = 0
    energy, mono_energy = 0.0, 0.0
    for block in stream.blocks:
        mono = _mono(block)
        _check(stream, block, mono, frames)
        if block.shape[1] > 1:
            energy += float(np.vdot(block, block)) / block.shape[1]
            mono_energy += float(np.vdot(mono, mono))
        frames += len(mono)
        samples = mono if resampler is None else resampler.resample_chunk(mono)
        produced += len(samples)
        yield samples
    if mono_energy < _CANCELLED * energy and energy > _AUDIBLE * frames:
        raise AudioError(
            f"{stream.name}: its channels have opposite signs and cancel when they are mixed; keep one of them, "
            "for example with ffmpeg -i IN -af 'pan=mono|c0=c0' OUT.",
            "channels_cancel",
        )
    if resampler is not None and frames:
        samples = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        produced += len(samples)
        yield samples
    if frames and not produced:
        fact = f"too short, {frames} of its samples at {stream.sample_rate_hz} Hz make none at {sample_rate_hz} Hz"
        raise AudioError(f"{stream.name}: {fact}; record it again.", "no_samples")
    if not frames:
        raise _no_samples(stream)


def seconds(source: Source, search: bool = True) -> float:
    """Returns the duration of the audio in seconds.

    The header states it in most formats. Otherwise (a FLAC written to a pipe, several streams in a file, formats that
    libsndfile does not support) the audio is decoded and counted; where a file is cut off, what there is.

    Args:
      source: of the audio.
      search: whether to search a whole FLAC for another one that is joined to its end; without, only its header is
        read.

    Raises:
      AudioError: the source is missing, empty, not audio, or without samples.
    """
    with decoding.open_stream(source, search=search) as stream:
        frames = stream.frames
        if frames is None:
            stream = streams.tolerant(stream, lambda _: None)
            frames = sum(len(block) for block in stream.blocks)
        if not frames:
            raise _no_samples(stream)
        return frames / stream.sample_rate_hz


def write(path: str | Path, samples: np.ndarray, sample_rate_hz: int) -> None:
    """Writes mono samples; the suffix decides the format: .wav and .flac (16 bits), .ogg (Vorbis), .opus or .mp3.

    The file appears whole or not at all.

    Args:
      path: the file; an existing one is replaced.
      samples: float `[samples]` in -1..1; values outside are clipped.
      sample_rate_hz: their rate.

    Raises:
      AudioError: another suffix, a sample that is not finite, or a file that cannot be written.
    """
    with Writer(path, sample_rate_hz) as writer:
        writer.write(samples)


class Writer:
    """Writes mono samples block by block; the format is as for `write`.

    Use it in a `with` statement: the file appears at its end, and after an exception inside it an existing file stays
    as it was.

    Args:
      path: the file; an existing one is replaced.
      sample_rate_hz: rate of the samples.

    Attributes:
      written: number of samples written so far.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int):
        self._path = Path(path)
        self._rate_hz = sample_rate_hz
        self.written = 0
        if self._path.suffix.lower() not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise AudioError(f"{path}: cannot tell a format from this name; end it in one of {known}.", "unwritable")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Writer":
        container, subtype = _FORMATS[self._path.suffix.lower()]
        with self._errors(), contextlib.ExitStack() as stack:
            temporary = stack.enter_context(storage.staged(self._path))
            sound = soundfile.SoundFile(temporary, "w", self._rate_hz, 1, subtype, format=container)
            self._file = stack.enter_context(sound)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        with self._errors():
            self._stack.__exit__(*error)

    def write(self, samples: np.ndarray) -> None:
        """Writes float `[samples]`; raises `AudioError` where one is not finite."""
        if not np.isfinite(samples).all():
            raise AudioError(f"{self._path}: not written, because some samples are NaN or infinite.", "non_finite")
        pcm = to_pcm16(samples)
        with self._errors():
            # libsndfile's Vorbis encoder keeps the samples of a call on the stack and crashes on long ones.
            for start in range(0, len(pcm), streams.BLOCK_FRAMES):
                block = pcm[start : start + streams.BLOCK_FRAMES]
                self._file.write(block)
                self.written += len(block)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns errors of libsndfile and the system into `AudioError`."""
        try:
            yield
        except (soundfile.SoundFileError, OSError) as error:
            folder = self._path.parent
            reason = streams.error_text(error) if folder.is_dir() else f"make its folder first with mkdir -p {folder}"
            message = f"{self._path}: cannot write this file at {self._rate_hz} Hz: {reason}."
            raise AudioError(message, "unwritable") from error


def with_header(data: bytes, sample_rate_hz: int) -> bytes:
    """Makes a WAV file of raw 16-bit samples of speech in either byte order, which is detected.

    Neighbouring samples of sound are similar; in the wrong byte order they are noise.
    """
    even = data[: len(data) // 2 * 2]
    candidates = [np.frombuffer(even, order) for order in ("<i2", ">i2")]
    samples = min(candidates, key=lambda samples: np.abs(np.diff(samples.astype(np.int32))).sum())
    wav = BytesIO()
    soundfile.write(wav, samples.astype(np.int16), sample_rate_hz, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def streamed_wav_header(sample_rate_hz: int, samples: int | None = None) -> bytes:
    """The header of a mono WAV file of 16 bits that is written to a pipe.

    Args:
      sample_rate_hz: rate of the samples.
      samples: how many will follow; None: that is unknown, and its sizes are the largest.
    """
    frame_bytes, largest = 2, 2**32 - 1
    form = struct.pack("<HHIIHH", 1, 1, sample_rate_hz, sample_rate_hz * frame_bytes, frame_bytes, 8 * frame_bytes)
    data_bytes = largest if samples is None else samples * frame_bytes
    # Without the eight bytes up to here.
    size = min(36 + data_bytes, largest)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return head + b"data" + struct.pack("<I", min(data_bytes, largest))


def to_pcm16(samples: np.ndarray) -> np.ndarray:
    """Converts float samples in -1..1 to int16, rounded and clipped; `from_pcm16` is its inverse."""
    samples = np.asarray(samples)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples must be float, not {samples.dtype}")
    scale = decoding.FULL_SCALE
    return np.clip(np.rint(samples * scale), -scale, scale - 1).astype(np.int16)


def from_pcm16(samples: np.ndarray) -> np.ndarray:
    """Converts int16 samples to float32 in -1..1 (divided by 32768)."""
    return np.asarray(samples, np.float32) / np.float32(decoding.FULL_SCALE)


def _limited(stream: Stream, max_seconds: float) -> Stream:
    """A stream that raises where the audio is longer, whether or not its header states the length."""
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


def _check(stream: Stream, block: np.ndarray, mono: np.ndarray, frames: int) -> None:
    """Raises where a sample is not finite or far beyond full scale, after so many frames."""
    finite = np.isfinite(mono)
    if not finite.all():
        time = (frames + int(np.argmin(finite))) / stream.sample_rate_hz
        raise AudioError(f"{stream.name}: the sample at {time:.3f} s is not finite; fix the file.", "non_finite")
    peak = max(float(block.max(initial=0)), -float(block.min(initial=0)))
    if peak > streams.MAX_AMPLITUDE:
        fact = f"its samples reach {peak:.5g}, far beyond full scale, which is 1"
        advice = "scale them; floats in units of 16-bit integers are divided by 32768"
        raise AudioError(f"{stream.name}: {fact}; {advice}.", "beyond_full_scale")


def _mono(block: np.ndarray) -> np.ndarray:
    channels = block.shape[1]
    if channels == 1:
        return np.ascontiguousarray(block[:, 0])
    # A matrix product is ten times faster than a mean over so short an axis.
    return block @ np.full(channels, 1 / channels, np.float32)


def _no_samples(stream: Stream) -> AudioError:
    return AudioError(f"{stream.name}: it has a header but no samples; record or copy it again.", "no_samples")

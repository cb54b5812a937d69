"""An open audio source: blocks of samples at its own rate, its parts, and what is missing from it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tfvoice.errors import TfvoiceError

BLOCK_FRAMES = 1 << 16
# Headers and lists of segments are rounded, and encoders count their delay in or out: up to two MP3 frames at 16 kHz.
TOLERANCE_SECONDS = 0.15
# What samples may reach, full scale being 1. Exports of audio editors exceed it by up to 18 dB, and a lossy codec adds
# noise to loud sound, up to 2.9. Integers that were stored as floats reach thousands, in quiet rooms hundreds.
MAX_AMPLITUDE = 8.0
# Longer than any bit reservoir, Opus pre-roll or overlap of transforms.
_RUN_UP_SECONDS = 1.0


class AudioError(TfvoiceError):
    """Audio cannot be read or written.

    Attributes:
      reason: one of missing_file, empty_file, unreadable, no_audio_track, no_samples, non_finite, too_long, cut_off,
        beyond_the_end, beyond_full_scale, channels_cancel, over_limits, unwritable; of arrays also no_rate, not_audio.
    """

    def __init__(self, message: str, reason: str = "unreadable"):
        super().__init__(message)
        self.reason = reason


class Stream(NamedTuple):
    """An open audio stream.

    Attributes:
      name: its name in error messages.
      sample_rate_hz: sample rate of the source.
      frames: its length, or None where the header does not state it.
      blocks: decoded lazily; float32 `[frames, channels]`, each at most `BLOCK_FRAMES` long.
      seek: seeks to a frame, before anything is decoded; None where the source cannot seek.
    """

    name: str
    sample_rate_hz: int
    frames: int | None
    blocks: Iterator[np.ndarray]
    seek: Callable[[int], object] | None = None


def crop(stream: Stream, start_seconds: float, seconds: float | None = None) -> Stream:
    """A part of a stream; it has the samples that the same part of the whole has.

    Args:
      stream: of which nothing has been decoded yet.
      start_seconds: start of the part.
      seconds: its length; None: to the end. The stream may end `TOLERANCE_SECONDS` earlier.

    Raises:
      AudioError: while its blocks are decoded: the part is empty, or reaches beyond the end.
    """
    start = round(start_seconds * stream.sample_rate_hz)
    length = None if seconds is None else round(seconds * stream.sample_rate_hz)
    frames = None
    if stream.frames is not None:
        frames = max(0, stream.frames - start) if length is None else max(0, min(length, stream.frames - start))

    def blocks() -> Iterator[np.ndarray]:
        if length == 0:
            raise AudioError(
                f"{stream.name}: the part at {start_seconds:.1f} s is empty; correct the times.", "no_samples"
            )
        position = 0
        run_up = start - round(_RUN_UP_SECONDS * stream.sample_rate_hz)
        if stream.seek is not None and 0 < run_up < stream.frames:
            stream.seek(run_up)
            position = run_up
        found, end = 0, None if length is None else start + length
        for block in stream.blocks:
            kept = block[max(0, start - position) : None if end is None else max(0, end - position)]
            position += len(block)
            found += len(kept)
            if len(kept):
                yield kept
            if end is not None and position >= end:
                return
        tolerance = TOLERANCE_SECONDS * stream.sample_rate_hz
        if not found or (length is not None and found < length - tolerance):
            raise _beyond_the_end(stream.name, position / stream.sample_rate_hz, start_seconds, seconds)

    return stream._replace(frames=frames, blocks=blocks(), seek=None)


def whole(stream: Stream, promised_seconds: float | None, cut: bool = False) -> Stream:
    """A stream that ends with an error where it is shorter than its header promises.

    Args:
      stream: as it is decoded.
      promised_seconds: length by its header; None where that states none.
      cut: the file ends inside a page.
    """

    first = 0

    def seek(frame: int) -> None:
        nonlocal first
        stream.seek(frame)
        first = frame

    def blocks() -> Iterator[np.ndarray]:
        frames = first
        try:
            for block in stream.blocks:
                frames += len(block)
                yield block
        except AudioError as error:
            if error.reason != "cut_off" or promised_seconds is None:
                raise
        there = frames / stream.sample_rate_hz
        if frames and promised_seconds is not None and there < promised_seconds - TOLERANCE_SECONDS:
            raise cut_off(stream.name, there, f"its header states {promised_seconds:.1f} s")
        if frames and cut:
            raise cut_off(stream.name, there, "it ends inside a page")

    return stream._replace(blocks=blocks(), seek=None if stream.seek is None else seek)


def tolerant(stream: Stream, on_cut_off: Callable[[AudioError], object]) -> Stream:
    """A stream that ends where its file is cut off, and then reports it.

    Args:
      stream: as it is decoded.
      on_cut_off: called with the error instead of raising it; only after samples.
    """

    def blocks() -> Iterator[np.ndarray]:
        try:
            yield from stream.blocks
        except AudioError as error:
            if error.reason != "cut_off":
                raise
            on_cut_off(error)

    return stream._replace(blocks=blocks())


def cut_off(name: str, seconds: float, fact: str) -> AudioError:
    """The error of a file that ends or is damaged after so many seconds."""
    return AudioError(f"{name}: damaged or cut off after {seconds:.1f} s ({fact}); copy it again.", "cut_off")


def error_text(error: Exception) -> str:
    """The message of a decoder or of the system, fit for the end of a sentence."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error) or "decoder failed"
    return text.strip().rstrip(".").removeprefix("Error : ")


def _beyond_the_end(name: str, end: float, start_seconds: float, seconds: float | None) -> AudioError:
    part = f"from {start_seconds:.1f} s" + (f" to {start_seconds + seconds:.1f} s" if seconds is not None else " on")
    message = f"{name}: ends before the part {part}: it has {end:.1f} s; correct the times."
    return AudioError(message, "beyond_the_end")

"""Decoding with libsndfile, which believes the length in a header, right or wrong."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from tfvoice.audio import container
from tfvoice.audio.stream import BLOCK_FRAMES, AudioError, Stream, cut_off, error_text, whole

_UNKNOWN_FRAMES = 1 << 62


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read from start to end.

    Python's soundfile seeks after every read to where libsndfile already is. At the end of a FLAC of unknown length
    that seek fails, and the last block is lost.

    Attributes:
      first: the frame from which it is read.
    """

    first = 0

    def seekable(self) -> bool:
        return False

    def seek(self, frames: int, whence: int = soundfile.SEEK_SET) -> int:
        self.first = super().seek(frames, whence)
        return self.first


@contextlib.contextmanager
def open_file(name: str, file: str | BinaryIO, raw: BinaryIO, facts: container.Facts) -> Iterator[Stream | None]:
    """Opens a file; None where libsndfile cannot open it.

    Args:
      name: of the source, in errors.
      file: its path, or the file.
      raw: the file.
      facts: of it.
    """
    with contextlib.ExitStack() as stack:
        if facts.head or facts.body_end is not None:
            file = container.spliced(raw, facts)
        elif raw.seek(0) == 0 and facts.may_go_on:
            file = raw
        if isinstance(file, str) and os.name == "posix":
            # soundfile cannot encode a name that is not UTF-8.
            file = os.fsencode(file)
        try:
            sound = stack.enter_context(_ForwardSoundFile(file))
        except Exception:  # LibsndfileError, and other types for a name that ends in .raw and for damaged headers.
            yield None
            return
        frames = None if sound.frames >= _UNKNOWN_FRAMES else sound.frames
        blocks = _all_blocks(name, sound, raw, facts)
        known = frames is not None and facts.following is None
        yield Stream(name, sound.samplerate, frames if known else None, blocks, sound.seek if known else None)


def _all_blocks(name: str, sound: _ForwardSoundFile, raw: BinaryIO, facts: container.Facts) -> Iterator[np.ndarray]:
    """Blocks of a file, of what it has beyond its stated length, and of the files that are joined to its end."""
    yield from _blocks(name, sound)
    if facts.may_go_on and sound.frames < _UNKNOWN_FRAMES and raw.tell() < raw.seek(0, os.SEEK_END):
        yield from _rest(name, sound, raw)
    form = (sound.samplerate, sound.channels)
    # In a loop: some hundred files that call each other would exhaust the stack.
    following = facts.following
    while following is not None:
        part = container.spliced(raw, container.Facts(body=following))
        facts = container.examine(part)
        yield from _joined_blocks(name, form, part, facts._replace(following=None))
        following = None if facts.following is None else following + facts.following


def _joined_blocks(name: str, form: tuple[int, int], part: BinaryIO, facts: container.Facts) -> Iterator[np.ndarray]:
    """Blocks of one file that is joined to the end of others, of whose sample rate and channels it must be."""
    with open_file(name, part, part, facts) as stream:
        if stream is None:
            raise AudioError(f"{name}: another file is joined to its end, and damaged; separate them.", "cut_off")
        for block in whole(stream, facts.promised_seconds, facts.cut).blocks:
            if (stream.sample_rate_hz, block.shape[1]) != form:
                raise AudioError(
                    f"{name}: files of different sample rates or channels are joined in it; separate them."
                )
            yield block


def _rest(name: str, sound: _ForwardSoundFile, raw: BinaryIO) -> Iterator[np.ndarray]:
    """What follows in a FLAC whose header states too few samples."""
    unlimited = container.spliced(raw, container.unlimited_flac(raw))
    with contextlib.suppress(Exception), _ForwardSoundFile(unlimited) as longer:
        longer.seek(sound.frames)
        yield from _blocks(name, longer)


def _blocks(name: str, sound: _ForwardSoundFile) -> Iterator[np.ndarray]:
    done = sound.first
    while done < sound.frames:
        try:
            # Not a frame more: what follows the last one, such as a tag, is not always audio.
            block = sound.read(min(BLOCK_FRAMES, sound.frames - done), dtype="float32", always_2d=True)
        except Exception as error:  # A decoder can raise anything for a damaged file.
            if done == sound.first:
                raise AudioError(f"{name}: damaged ({error_text(error)}); copy it again.") from error
            raise cut_off(name, done / sound.samplerate, error_text(error)) from error
        if not len(block):
            return
        done += len(block)
        yield block

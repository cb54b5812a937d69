"""Audio files: finding them, and decoding a file, bytes or a stream to blocks of samples at its own rate.

libsndfile decodes wav, flac, ogg, mp3 and the like where it decodes them whole (`container.examine`), and ffmpeg the
rest. Decoding is lazy and runs in bounded memory. `tfvoice.audio.io` mixes the blocks down to mono and resamples them.
"""

import contextlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile

from tfvoice.audio import container, ffmpeg
from tfvoice.audio.stream import (
    BLOCK_FRAMES,
    MAX_FLOAT_AMPLITUDE,
    MAX_LOSSY_AMPLITUDE,
    AudioError,
    Stream,
    cut_off,
    whole,
)

Source: TypeAlias = str | Path | bytes | BinaryIO

# Files that `find_audio` takes for audio.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".aifc", ".au"),
    *(".caf", ".w64", ".sph", ".wma", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".webm"),
)
FULL_SCALE = 32768
_RATES_HZ = (1_000, 1_000_000)
_UNKNOWN_FRAMES = 1 << 62
# By libsndfile's name of the encoding; integers cannot exceed full scale.
_MAX_AMPLITUDES = {
    **dict.fromkeys(("FLOAT", "DOUBLE"), MAX_FLOAT_AMPLITUDE),
    **dict.fromkeys(("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"), MAX_LOSSY_AMPLITUDE),
}


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read from start to end.

    Python's soundfile seeks after every read to where libsndfile already is. At the end of a FLAC of unknown length
    that seek fails, and the last block is lost.
    """

    def seekable(self) -> bool:
        return False


class _Spliced(io.RawIOBase):
    """A file with another header: libsndfile believes the length in a header, right or wrong.

    Args:
      file: seekable.
      facts: of it, with a `head`.
    """

    def __init__(self, file: BinaryIO, facts: container.Facts):
        super().__init__()
        self._file, self._facts, self._position = file, facts, 0
        body_end = file.seek(0, os.SEEK_END) if facts.body_end is None else facts.body_end
        self._end = len(facts.head) + body_end - facts.body

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        head, size = self._facts.head, min(len(buffer), max(0, self._end - self._position))
        data = head[self._position : self._position + size]
        if size > len(data):
            self._file.seek(self._facts.body + self._position + len(data) - len(head))
            data += self._file.read(size - len(data))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def find_audio(folder: str, links: bool = False) -> Iterator[str]:
    """Yields the paths of the audio files in a folder and its subfolders, unsorted; hidden files are skipped.

    Args:
      folder: where to look.
      links: whether to follow links to other folders.
    """
    for parent, _, names in os.walk(folder, followlinks=links):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield os.path.join(parent, name)


@contextlib.contextmanager
def open_stream(source: Source, limits: ffmpeg.Limits | None = None, header_only: bool = False) -> Iterator[Stream]:
    """Opens a file, bytes or a binary stream for one pass of decoding; use it in a `with` statement.

    Args:
      source: of the audio; of several audio tracks, `ffmpeg.open_file` says which.
      limits: for untrusted input, which is then decoded by ffmpeg only; None: libsndfile or ffmpeg, without limits.
      header_only: nothing will be decoded, if the header states the length.

    Raises:
      AudioError: the source is missing, empty or not audio; while its blocks are decoded: it is damaged or cut off.
    """
    name, file = _resolve(source)
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
        stack.callback(raw.seek, 0)
        stream = None if limits else _open_with_libsndfile(name, file, raw, header_only, stack)
        if stream is None:
            path = file if isinstance(file, str) else stack.enter_context(_copy(raw))
            stream = stack.enter_context(ffmpeg.open_file(name, path, limits))
        low, high = _RATES_HZ
        if not low <= stream.sample_rate_hz <= high:
            raise AudioError(f"{name}: its header states {stream.sample_rate_hz} Hz, so it is damaged; copy it again.")
        yield stream


def error_text(error: Exception) -> str:
    """The message of a decoder or of the system, fit for the end of a sentence."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error) or "decoder failed"
    return text.strip().rstrip(".").removeprefix("Error : ")


def _resolve(source: Source) -> tuple[str, str | BinaryIO]:
    """The name of the source for errors, and a regular file's path or a seekable stream at its start."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if _is_regular(name):
            return name, name
        file = io.BytesIO(Path(name).read_bytes())
    elif isinstance(source, bytes | bytearray | memoryview):
        name, file = f"audio of {len(source)} bytes", io.BytesIO(source)
    else:
        label = getattr(source, "name", None)
        name = "standard input" if label in ("<stdin>", 0) else label if isinstance(label, str) else "audio stream"
        can_seek = getattr(source, "seekable", bool)()
        file = source if can_seek and source.tell() == 0 else io.BytesIO(source.read())
    if file.seek(0, os.SEEK_END) == 0:
        raise AudioError(f"{name}: is empty (0 bytes); check what writes it.", "empty_file")
    file.seek(0)
    return name, file


def _is_regular(name: str) -> bool:
    """Whether a readable file can be opened by its path repeatedly, which a pipe cannot."""
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise AudioError(f"{name}: there is no such file; check the path.", "missing_file") from None
    except OSError as error:
        raise AudioError(f"{name}: cannot read this file: {error_text(error)}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{name}: this is a folder; name an audio file in it.")
    if not os.access(name, os.R_OK):
        raise AudioError(f"{name}: no permission to read this file; change it with chmod u+r.")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"{name}: the file is empty (0 bytes); record or copy it again.", "empty_file")
    return stat.S_ISREG(status.st_mode)


def _open_with_libsndfile(
    name: str, file: str | BinaryIO, raw: BinaryIO, header_only: bool, stack: contextlib.ExitStack
) -> Stream | None:
    """Opens what libsndfile decodes whole; None for everything else."""
    facts = container.examine(raw)
    raw.seek(0)
    if not facts.complete:
        return None
    try:
        sound = stack.enter_context(_ForwardSoundFile(_Spliced(raw, facts) if facts.head else file))
    except Exception:  # LibsndfileError, and other types for a name that ends in .raw and for damaged headers.
        return None
    if sound.format == "FLAC" and not header_only and container.has_second_flac(raw):
        return None
    frames = None if sound.frames >= _UNKNOWN_FRAMES else sound.frames
    if frames is None and facts.promised_seconds is not None:
        frames = round(facts.promised_seconds * sound.samplerate)
    blocks = _soundfile_blocks(name, sound, facts.cut)
    seek = sound.seek if frames is not None else None
    return whole(
        Stream(name, sound.samplerate, frames, blocks, seek, _MAX_AMPLITUDES.get(sound.subtype)), facts.promised_seconds
    )


def _soundfile_blocks(name: str, sound: soundfile.SoundFile, cut: bool) -> Iterator[np.ndarray]:
    frames = 0
    while True:
        try:
            block = sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        except Exception as error:  # A decoder can raise anything for a damaged file.
            if not frames:
                raise AudioError(f"{name}: damaged ({error_text(error)}); copy it again.") from error
            raise cut_off(name, frames / sound.samplerate, error_text(error)) from error
        if not len(block):
            break
        frames += len(block)
        yield block
    if cut and frames:
        raise cut_off(name, frames / sound.samplerate, "it ends inside a page")


@contextlib.contextmanager
def _copy(file: BinaryIO) -> Iterator[str]:
    """The path of a temporary copy."""
    with tempfile.NamedTemporaryFile(prefix="tfvoice-") as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name

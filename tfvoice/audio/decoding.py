"""Audio files: finding them, and decoding a file, bytes or a stream to blocks of samples at its own rate.

libsndfile decodes wav, flac, ogg, mp3 and the like; audioread, usually through ffmpeg, decodes the rest. Decoding is
lazy and runs in bounded memory. `tfvoice.audio.io` mixes the blocks down to mono and resamples them.
"""

import contextlib
import io
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np
import soundfile

from tfvoice import storage
from tfvoice.errors import TfvoiceError

Source: TypeAlias = str | Path | bytes | BinaryIO

# Files that `find_audio` takes for audio.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".aifc", ".au"),
    *(".caf", ".w64", ".sph", ".wma", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".webm"),
)
BLOCK_FRAMES = 1 << 16
FULL_SCALE = 32768
_RATES_HZ = (1_000, 1_000_000)
_UNKNOWN_FRAMES = 1 << 62


class AudioError(TfvoiceError):
    """Audio cannot be read or written.

    Attributes:
      reason: one of missing_file, empty_file, unreadable, no_samples, non_finite, too_long, unwritable.
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


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read from start to end.

    Python's soundfile seeks after every read to where libsndfile already is. At the end of a FLAC of unknown length
    that seek fails, and the last block is lost.
    """

    def seekable(self) -> bool:
        return False


class _OversizedFile(io.RawIOBase):
    """A file that reports 64 times its size.

    Without a Xing header mpg123 estimates an MP3's length from the size of the file and the bit rate of its first
    frame, and libsndfile stops there, so a file that starts loud would lose its end. With a size that is too large
    the decoder stops at the end of the data. The last 128 bytes read as zeros, because mpg123 looks for an ID3v1 tag
    there.
    """

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file, self._position = file, 0
        self._end = 64 * file.seek(0, os.SEEK_END)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        if self._position >= self._end - 128:
            data = bytes(len(buffer))
        else:
            self._file.seek(self._position)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def find_audio(folder: str, links: bool = False) -> Iterator[str]:
    """Yields the paths of the audio files in a folder and its subfolders; hidden files and folders are skipped.

    Args:
      folder: where to look.
      links: whether to follow links to other folders.
    """
    for parent, names in storage.walk(folder, links):
        for name in names:
            if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield os.path.join(parent, name)


@contextlib.contextmanager
def open_stream(source: Source) -> Iterator[Stream]:
    """Opens a file, bytes or a binary stream for one pass of decoding; use it in a `with` statement.

    Raises:
      AudioError: the source is missing, empty or not audio; while its blocks are decoded: it is damaged.
    """
    name, file = _resolve(source)
    with contextlib.ExitStack() as stack:
        if not isinstance(file, str):
            stack.callback(file.seek, 0)
        sound = _sound_file(file)
        if sound is None:
            stream = stack.enter_context(_open_with_audioread(name, file))
        else:
            stack.enter_context(sound)
            frames = None if sound.frames >= _UNKNOWN_FRAMES else sound.frames
            if sound.format == "MP3":
                raw = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
                if not _has_length_header(raw):
                    frames = None
                    sound = stack.enter_context(_ForwardSoundFile(_OversizedFile(raw)))
            seek = sound.seek if frames is not None else None
            stream = Stream(name, sound.samplerate, frames, _soundfile_blocks(name, sound), seek)
        low, high = _RATES_HZ
        if not low <= stream.sample_rate_hz <= high:
            raise AudioError(f"{name}: its header states {stream.sample_rate_hz} Hz, so it is damaged; copy it again.")
        yield stream


def crop(stream: Stream, start_seconds: float, seconds: float | None = None) -> Stream:
    """A part of a stream.

    Args:
      stream: of which nothing has been decoded yet.
      start_seconds: start of the part; past the end of the stream the part is empty.
      seconds: its length; None: to the end.
    """
    start = round(start_seconds * stream.sample_rate_hz)
    length = _UNKNOWN_FRAMES if seconds is None else round(seconds * stream.sample_rate_hz)
    frames = None if stream.frames is None else max(0, min(length, stream.frames - start))

    def blocks() -> Iterator[np.ndarray]:
        skip, remaining = start, length
        if stream.seek is not None:
            stream.seek(min(start, stream.frames))
            skip = 0
        for block in stream.blocks:
            kept = block[skip : skip + remaining]
            skip, remaining = max(0, skip - len(block)), remaining - len(kept)
            if len(kept):
                yield kept
            if remaining <= 0:
                return

    return Stream(stream.name, stream.sample_rate_hz, frames, blocks())


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


def _sound_file(file: str | BinaryIO) -> soundfile.SoundFile | None:
    try:
        # soundfile cannot encode a name that is not UTF-8.
        return _ForwardSoundFile(os.fsencode(file) if isinstance(file, str) and os.name == "posix" else file)
    except (soundfile.LibsndfileError, TypeError):  # soundfile raises TypeError for a name that ends in .raw
        return None


def _soundfile_blocks(name: str, sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    count = 0
    try:
        while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
            count += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        end = count / sound.samplerate
        reason = error_text(error)
        raise AudioError(f"{name}: damaged or cut off after {end:.1f} s ({reason}); copy it again.") from error


def _has_length_header(file: BinaryIO) -> bool:
    """Whether an MP3 starts, after any ID3v2 tag, with a Xing, Info or VBRI header."""
    position = file.tell()
    file.seek(0)
    head = file.read(10)
    if head.startswith(b"ID3"):
        tag_bytes = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        file.seek(10 + tag_bytes)
    start = head + file.read(200)
    file.seek(position)
    return any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))


@contextlib.contextmanager
def _open_with_audioread(name: str, file: str | BinaryIO) -> Iterator[Stream]:
    """Opens a format that libsndfile does not support, by ffmpeg, CoreAudio or GStreamer."""
    import audioread

    with contextlib.ExitStack() as stack:
        if not isinstance(file, str):
            copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="tfvoice-"))
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            file = copy.name
        try:
            decoder = stack.enter_context(audioread.audio_open(os.path.abspath(file)))
        except (audioread.DecodeError, OSError, EOFError) as error:
            advice = "convert it to wav" if shutil.which("ffmpeg") else "if it is m4a, aac or webm, install ffmpeg"
            raise AudioError(f"{name}: not audio in a format that can be read; {advice}.") from error
        stack.enter_context(_bounded_read_ahead(decoder))
        yield Stream(name, decoder.samplerate, None, _audioread_blocks(name, decoder))


@contextlib.contextmanager
def _bounded_read_ahead(decoder) -> Iterator[None]:
    """Bounds audioread's queue, which would otherwise hold all that ffmpeg has decoded, gigabytes for hours."""
    queue = getattr(getattr(decoder, "stdout_reader", None), "queue", None)
    if queue is None:
        yield
        return
    queue.maxsize = 256
    try:
        yield
    finally:
        with queue.mutex:
            queue.maxsize = math.inf
            queue.not_full.notify_all()


def _audioread_blocks(name: str, decoder) -> Iterator[np.ndarray]:
    import audioread

    frame_bytes = 2 * decoder.channels
    pending = b""
    try:
        for data in decoder:
            pending += data
            whole = len(pending) - len(pending) % frame_bytes
            samples = np.frombuffer(pending[:whole], "<i2").reshape(-1, decoder.channels)
            yield samples.astype(np.float32) / np.float32(FULL_SCALE)
            pending = pending[whole:]
    except audioread.DecodeError as error:
        raise AudioError(f"{name}: its decoder stopped ({error_text(error)}); convert it to wav.") from error

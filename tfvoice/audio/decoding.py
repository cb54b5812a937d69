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

from tfvoice import storage
from tfvoice.audio import container, ffmpeg, libsndfile
from tfvoice.audio.stream import AudioError, Stream, error_text, whole

Source: TypeAlias = str | Path | bytes | BinaryIO

# Files that `find_audio` takes for audio.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".aifc", ".au"),
    *(".caf", ".w64", ".sph", ".wma", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".webm"),
)
FULL_SCALE = 32768
_RATES_HZ = (1_000, 1_000_000)


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
def open_stream(source: Source, limits: ffmpeg.Limits | None = None, search: bool = True) -> Iterator[Stream]:
    """Opens a file, bytes or a binary stream for one pass of decoding; use it in a `with` statement.

    Args:
      source: of the audio; of several audio tracks, `ffmpeg.open_file` says which.
      limits: for untrusted input, which is then decoded by ffmpeg only; None: libsndfile or ffmpeg, without limits.
      search: as for `container.examine`.

    Raises:
      AudioError: the source is missing, empty or not audio; while its blocks are decoded: it is damaged or cut off.
    """
    name, file = _resolve(source)
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(open(file, "rb")) if isinstance(file, str) else file
            untagged = container.without_tag(raw)
            facts = container.Facts() if limits else container.examine(untagged, search)
        except OSError as error:
            raise AudioError(f"{name}: cannot read this file: {error_text(error)}.") from error
        stack.callback(raw.seek, 0)
        stream = None
        if facts.complete and not limits:
            readable = file if untagged is raw else untagged
            stream = stack.enter_context(libsndfile.open_file(name, readable, untagged, facts))
        if stream is None:
            path = file if isinstance(file, str) else stack.enter_context(_copy(raw))
            try:
                stream = stack.enter_context(ffmpeg.open_file(name, path, limits))
            except AudioError as error:
                if error.reason != "unreadable" or not facts.cut:
                    raise
                raise AudioError(f"{name}: cut off, and its index at the end is lost; copy it again.") from error
        low, high = _RATES_HZ
        if not low <= stream.sample_rate_hz <= high:
            raise AudioError(f"{name}: its header states {stream.sample_rate_hz} Hz, so it is damaged; copy it again.")
        yield whole(stream, facts.promised_seconds, facts.cut)


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


@contextlib.contextmanager
def _copy(file: BinaryIO) -> Iterator[str]:
    """The path of a temporary copy."""
    with tempfile.NamedTemporaryFile(prefix="tfvoice-") as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name

"""The recordings of a corpus: what their audio is read from, and how long they are expected to be.

Lengths are what the corpus states, or what a header says, or estimated from a size; no audio is decoded for them. The
headers are read in processes of this machine. With an engine, such as `beam.engine`, the headers of a large corpus are
read by its tasks: each finds a list of recordings in the output folder and leaves their lengths there.
"""

import contextlib
import io
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tfvoice import remote, storage
from tfvoice.audio import container
from tfvoice.audio import io as audio_io
from tfvoice.data import output
from tfvoice.data.corpora.base import Listing, Utterance
from tfvoice.data.workers import Workers, chunked
from tfvoice.errors import TfvoiceError
from tfvoice.storage import Place

# Runs a task for each name, given a folder that every machine sees: `task(folder, name)`, in any order.
Engine = Callable[[str, Callable[[str, str], None], list[str]], None]

# Headers that a process reads at once.
_CHUNK = 512
# Headers that a task of an engine reads. Fewer are not worth a job.
_TASK_CHUNK = 20_000
# Formats whose header states the length; for others only decoding would.
_SUFFIXES_WITH_LENGTH = (".wav", ".flac", ".ogg", ".opus", ".sph")
# Of these, an object is read whole.
_SUFFIXES_WITH_LENGTH_AT_END = (".ogg", ".opus")
_TYPICAL_BYTES_PER_SECOND = 8000
# Of an object, what holds a header.
_HEAD_BYTES = 1 << 16


class RecordingsError(TfvoiceError):
    """Lengths of recordings that cannot be found."""


def with_sources(utterances: list[Utterance]) -> Iterator[tuple[Utterance, str | io.BytesIO]]:
    """Yields each utterance with what its audio is read from; some objects are fetched ahead."""
    of_a_store = any(remote.is_url(utterance.audio) for utterance in utterances)
    sources = remote.mapped(source, utterances) if of_a_store else map(source, utterances)
    return zip(utterances, sources, strict=True)


def source(utterance: Utterance) -> str | io.BytesIO:
    """The file of an utterance, or the content of its object.

    Raises:
      OSError: the store cannot be reached, which is no defect of the audio.
    """
    if remote.is_url(utterance.audio):
        return _fetched(utterance.audio)
    if not utterance.bare_hz or not os.path.isfile(utterance.audio):
        return utterance.audio
    wav = io.BytesIO(audio_io.with_header(Path(utterance.audio).read_bytes(), utterance.bare_hz))
    # For error messages; soundfile would take a name that ends in .raw for the format.
    wav.name = f"{utterance.audio} at {utterance.bare_hz} Hz"
    return wav


def _fetched(url: str, end: int | None = None) -> str | io.BytesIO:
    """The content of an object, or its first bytes; the URL where there is none, which no audio can be read from."""
    try:
        content = io.BytesIO(storage.place(url).read_bytes(end))
    except FileNotFoundError:
        return url
    content.name = url
    return content


@contextlib.contextmanager
def with_seconds(
    listing: Listing,
    utterances: Iterable[Utterance],
    workers: int = 1,
    engine: Engine | None = None,
    directory: str | Path | None = None,
) -> Iterator[Iterator[Utterance]]:
    """Inside the `with`, an iterator over the utterances with their expected `seconds`.

    A length that the corpus states is what is read, from 0 on by default.

    Args:
      listing: the corpus.
      utterances: those of the listing, in its order.
      workers: processes that read headers.
      engine: reads them instead where more than `_TASK_CHUNK` lengths are unknown, if `directory` is given.
      directory: output folder of the conversion.

    Raises:
      RecordingsError: the engine left no result.
      ShardError, LockedError: as for `ConversionOutput`, before the engine is used.
    """
    unknown = sum(utterance.seconds is None for utterance in listing.utterances)
    if engine and directory is not None and unknown > _TASK_CHUNK:
        with output.progress_folder(directory) as folder:
            seconds = _by_engine(listing, engine, folder)
            yield (_planned(u, next(seconds) if u.seconds is None else u.seconds) for u in utterances)
        return
    chunks = ((chunk,) for chunk in chunked(utterances, _CHUNK))
    # Starting a process takes as long as reading some thousand headers.
    with Workers(min(workers, unknown // (8 * _CHUNK))) as pool:
        yield itertools.chain.from_iterable(pool.ordered(_all_with_seconds, chunks))


def read_headers(directory: str, name: str) -> None:
    """The task of an engine: writes the lengths of the recordings that a file in the output folder's progress lists.

    It can run again, or twice at once.
    """
    folder = storage.place(directory) / output.PROGRESS
    result = _result(folder, name)
    if not result.exists():
        rows = storage.read_json(folder / name)
        found = _expected([Utterance("", audio, "", "", "", start, None, bare_hz) for audio, start, bare_hz in rows])
        storage.write(result, json.dumps(list(found)), flush=False)


def _by_engine(listing: Listing, engine: Engine, folder: Place) -> Iterator[float]:
    """Yields the lengths that the corpus does not state.

    The names of the files are used once, because an object store has no lock that would keep an equal conversion out.
    """
    unknown = ([u.audio, u.start_seconds, u.bare_hz] for u in listing.utterances if u.seconds is None)
    names, token = [], secrets.token_hex(4)
    for rows in chunked(unknown, _TASK_CHUNK):
        names.append(f"{output.HEADERS}{token}-{len(names):05d}.json")
        storage.write(folder / names[-1], json.dumps(rows), flush=False)
    engine(str(folder.parent), read_headers, names)
    for name in names:
        try:
            seconds = storage.read_json(_result(folder, name))
        except OSError as error:
            fact = f"cannot read lengths ({error.strerror or error})"
            raise RecordingsError(f"{folder.parent}: {fact}; run the same command again.") from None
        storage.delete([folder / name, _result(folder, name)])
        yield from seconds


def _result(folder: Place, name: str) -> Place:
    return folder / f"{name}.seconds"


def _all_with_seconds(utterances: list[Utterance]) -> list[Utterance]:
    return [_planned(utterance, seconds) for utterance, seconds in zip(utterances, _expected(utterances), strict=True)]


def _planned(utterance: Utterance, seconds: float) -> Utterance:
    to_end = utterance.seconds is None
    start_seconds = utterance.start_seconds if to_end else utterance.start_seconds or 0.0
    return replace(utterance, start_seconds=start_seconds, seconds=seconds, to_end=to_end)


def _expected(utterances: list[Utterance]) -> Iterable[float]:
    of_a_store = any(utterance.seconds is None and remote.is_url(utterance.audio) for utterance in utterances)
    return remote.mapped(_expected_seconds, utterances) if of_a_store else map(_expected_seconds, utterances)


def _expected_seconds(utterance: Utterance) -> float:
    """Expected length of the audio: as the corpus states it, from its header, or from its size."""
    if utterance.seconds is not None:
        return utterance.seconds
    try:
        if utterance.bare_hz:
            return os.path.getsize(utterance.audio) / (2 * utterance.bare_hz)
        if utterance.audio.lower().endswith(_SUFFIXES_WITH_LENGTH):
            seconds = _stated_seconds(utterance.audio)
        else:
            seconds = storage.size(storage.place(utterance.audio)) / _TYPICAL_BYTES_PER_SECOND
        return max(0.0, seconds - (utterance.start_seconds or 0.0))
    except (audio_io.AudioError, FileNotFoundError):
        return 0.0
    except OSError:
        # A store that cannot be reached now would change the plan.
        if remote.is_url(utterance.audio):
            raise
        return 0.0


def _stated_seconds(audio: str) -> float:
    """Length of the audio by its header. An estimate is enough: planning does not read the audio of a corpus."""
    if not remote.is_url(audio):
        return audio_io.seconds(audio, search=False)
    content = _fetched(audio, None if audio.lower().endswith(_SUFFIXES_WITH_LENGTH_AT_END) else _HEAD_BYTES)
    if not isinstance(content, str):
        promised = container.examine(content, search=False).promised_seconds
        content.seek(0)
        if promised is not None:
            return promised
    return audio_io.seconds(content, search=False)

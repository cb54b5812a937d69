"""A recogniser as a web service, apart from HTTP, which is `web`.

The wire format is that of TensorFlow Serving's REST interface, so that its clients work unchanged; beside it there is
a plain `POST /transcribe` that takes a file, and a page for people. `docs/serving.md` has the requests.
"""

import asyncio
import base64
import binascii
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import soundfile

from tfvoice.asr.transcript import Transcript
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.serving.batcher import Batcher, Full
from tfvoice.serving.predictor import Served

_INSTANCES = 64
# Batches: where one waits for its own threads the other goes on, which makes a fifth to two fifths more a second.
_AT_ONCE = 2
# Bodies that are parsed at the same time: as numbers, they take up to forty times their bytes.
_PARSERS = 2
# Beyond, squares are no longer what float32 can hold.
_LOUDEST = 1e4
# More are no recording, but a way to fill the memory.
_CHANNELS = 16
_SIGNATURES = ("serving_default", "wav", "waveform")
BUSY = "The server is busy and its queue is full; try again in a second."


class Limits(NamedTuple):
    """What the server takes.

    Attributes:
      seconds: of a recording.
      mib: of a request's body.
      waiting: recordings that may wait, beyond those of the two batches that are read; more are refused with status
        429.
      rows: recordings of a batch.
    """

    seconds: float = 60.0
    mib: float = 32.0
    waiting: int = 256
    rows: int = 16


class Refused(TfvoiceError):
    """A request that is not answered, with an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


class Service:
    """What the server does, apart from HTTP.

    Args:
      served: the model.
      limits: what is taken.
      told: called with what was read of each batch.
    """

    def __init__(self, served: Served, limits: Limits, told: Callable[[list[Transcript]], None] = lambda found: None):
        self.served, self.limits = served, limits

        def read(waves: list[np.ndarray]) -> list[Transcript]:
            found = served.read(waves)
            told(found)
            return found

        self.batcher = Batcher(read, limits.rows, limits.waiting, _AT_ONCE)
        self._parsers = asyncio.Semaphore(_PARSERS)

    async def predict(self, body: bytes) -> dict[str, Any]:
        """Answers a request in TensorFlow Serving's form, by rows (`instances`) or by columns (`inputs`)."""
        with contextlib.ExitStack() as room:
            async with self._parsers:
                waves, columns = await self._waves(body, room)
            found = [prediction(one) for one in await self._read(waves)]
        if columns:
            return {"outputs": {name: [one[name] for one in found] for name in found[0]}}
        return {"predictions": found}

    async def transcribe(self, data: bytes) -> Transcript:
        """Reads an audio file of any format that libsndfile knows."""
        with self._room(1):
            found = await self._read([await asyncio.to_thread(self._decoded, data)])
        return found[0]

    async def _waves(self, body: bytes, room: contextlib.ExitStack) -> tuple[list[np.ndarray], bool]:
        """The recordings of a request, and whether they came by columns; what it was parsed to is gone by then."""
        rows, columns = instances(await asyncio.to_thread(_parsed, body), min(_INSTANCES, self.batcher.most))
        room.enter_context(self._room(len(rows)))
        return [await asyncio.to_thread(self._wave, row) for row in rows], columns

    @contextlib.contextmanager
    def _room(self, count: int) -> Iterator[None]:
        """Room in the queue, from before so many recordings are decoded."""
        try:
            with self.batcher.room(count):
                yield
        except Full:
            raise Refused(429, BUSY) from None

    async def _read(self, waves: list[np.ndarray]) -> list[Transcript]:
        return await self.batcher.submit([(wave, self.served.bucket(len(wave))) for wave in waves])

    def _wave(self, instance: Any) -> np.ndarray:
        """The samples of an instance: a file as base64, or numbers."""
        if isinstance(instance, dict) and "waveform" in instance:
            return self._numbers(instance["waveform"], instance.get("samples"))
        if isinstance(instance, dict) and isinstance(instance.get("wav"), dict):
            instance = instance["wav"]
        text = instance.get("b64") if isinstance(instance, dict) else None
        if not isinstance(text, str):
            raise Refused(400, 'An instance must be {"b64": "..."}, an audio file in base64, or {"waveform": [...]}.')
        try:
            return self._decoded(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise Refused(400, "An instance is not base64; encode the whole audio file, without line breaks.") from None

    def _numbers(self, values: Any, count: Any) -> np.ndarray:
        try:
            found = np.asarray(values)
        except (TypeError, ValueError, OverflowError):
            found = np.zeros([0, 0])
        # Neither text nor truth values, which NumPy would take for numbers.
        counts = count is None or (type(count) is int and count >= 0)
        if found.ndim != 1 or found.dtype.kind not in "iuf" or not counts:
            raise Refused(400, "A waveform must be a list of numbers from -1 to 1, and samples how many of them count.")
        with np.errstate(over="ignore"):
            wave = found[:count].astype(np.float32)
        if not np.isfinite(wave).all():
            raise Refused(400, "A waveform has a number that is not finite.")
        if len(wave) > self.limits.seconds * self.served.sample_rate_hz:
            raise self._too_long()
        return _bounded(wave, "A waveform")

    def _decoded(self, data: bytes) -> np.ndarray:
        try:
            # Anything else would go to ffmpeg, which is not for strangers' bytes.
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                if file.channels > _CHANNELS:
                    raise Refused(400, f"The audio has more than {_CHANNELS} channels; mix it down.")
            return _bounded(audio_io.read(data, self.served.sample_rate_hz, self.limits.seconds), "The audio")
        except audio_io.AudioError as error:
            if error.reason == "too_long":
                raise self._too_long() from None
            found = {"no_samples": "has no samples", "non_finite": "has a sample that is not finite"}
            raise Refused(400, f"The audio {found.get(error.reason, 'is damaged')}.") from None
        except (soundfile.SoundFileError, OSError, ValueError, EOFError):
            sentence = "This is no audio file, or a damaged one; send WAV, FLAC, Ogg or MP3."
            raise Refused(400, sentence if data else "The audio file is empty.") from None

    def _too_long(self) -> Refused:
        return Refused(413, f"The recording is longer than {self.limits.seconds:g} s; cut it into shorter ones.")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON.") from None


def _bounded(wave: np.ndarray, what: str) -> np.ndarray:
    if np.abs(wave).max(initial=0) > _LOUDEST:
        raise Refused(400, f"{what} has a number beyond {_LOUDEST:g}; full scale is 1.")
    return wave


def instances(payload: Any, most: int) -> tuple[list, bool]:
    """The rows of a request in TensorFlow Serving's form, `most` at most, and whether it came by columns."""
    if not isinstance(payload, dict):
        raise Refused(400, 'The body must be a JSON object: {"instances": [{"b64": "..."}]}.')
    signature = payload.get("signature_name", _SIGNATURES[0])
    if signature not in _SIGNATURES:
        raise Refused(400, f"There is no signature of that name; use one of {', '.join(_SIGNATURES)}.")
    rows, columns = payload.get("instances"), payload.get("inputs")
    if isinstance(columns, dict) and rows is None:
        if not columns or not all(isinstance(values, list) for values in columns.values()):
            raise Refused(400, "Each of the inputs must be a list.")
        if len({len(values) for values in columns.values()}) > 1:
            raise Refused(400, "The inputs differ in length.")
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    elif columns is not None and rows is None:
        rows = columns
    if not isinstance(rows, list) or not rows or len(rows) > most:
        raise Refused(400, f"instances (or inputs) must be a list of 1 to {most} recordings.")
    return rows, columns is not None


def prediction(found: Transcript) -> dict[str, Any]:
    """What was read, by the names of the SavedModel's outputs."""
    return {
        "text": found.text,
        "confidence": found.confidence or 0.0,
        "words": [word.text for word in found.words],
        "word_count": len(found.words),
        "word_start_seconds": [round(word.start, 3) for word in found.words],
        "word_end_seconds": [round(word.end, 3) for word in found.words],
        "word_confidence": [round(word.confidence, 4) for word in found.words],
    }

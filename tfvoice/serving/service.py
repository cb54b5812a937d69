"""Speech recognition as a web service, without HTTP, which is in `app`: requests to batches to responses.

The wire format is that of TensorFlow Serving's REST API, so that its clients work unchanged; `POST /transcribe` takes
an audio file as it is. `docs/serving.md` shows the requests.
"""

import asyncio
import base64
import binascii
import contextlib
import io
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import soundfile

from tfvoice.asr.transcript import Transcript
from tfvoice.audio import container, ffmpeg
from tfvoice.audio import io as audio_io
from tfvoice.audio.stream import MAX_AMPLITUDE
from tfvoice.errors import TfvoiceError
from tfvoice.serving.batcher import Batcher, QueueFull
from tfvoice.serving.predictor import SIGNATURES, Predictor

_MAX_INSTANCES = 64
# Lists and objects in a body: a recording needs up to three.
_MAX_CONTAINERS = 16 * _MAX_INSTANCES
# Batches computed concurrently: while one waits for its own threads the other runs, 20 to 40 % more requests/s.
_WORKERS = 2
# Bodies parsed concurrently: as Python objects they take up to thirteen times their bytes.
_PARSERS = 2
# A file with more is not a recording but an attempt to exhaust the memory.
_MAX_CHANNELS = 16
# Files decoded by ffmpeg concurrently, and the seconds and bytes of memory that it may take for each.
_DECODERS = 2
_DECODER_SECONDS, _DECODER_BYTES = 20.0, 2**30
_FACTS = {
    "no_samples": "has no samples",
    "no_audio_track": "has no sound",
    "non_finite": "has a sample that is not finite",
    "over_limits": "takes too much time or memory to decode",
    "beyond_full_scale": "is far beyond full scale",
    "channels_cancel": "has channels of opposite signs, which cancel when they are mixed",
}
_NOT_AUDIO = "This is not an audio file, or it is damaged; send WAV, FLAC"
BUSY = "The server is busy and its queue is full; try again in a second."


class ServerLimits(NamedTuple):
    """The limits of the server.

    Attributes:
      max_seconds: of a recording.
      max_mib: of a request's body.
      max_waiting: recordings that may wait, beyond those of the two batches that are being computed, and as many texts
        to be spoken; more are rejected with status 429.
      batch_size: the most recordings of a batch.
      max_characters: of a text that is spoken.
    """

    max_seconds: float = 60.0
    max_mib: float = 32.0
    max_waiting: int = 256
    batch_size: int = 16
    max_characters: int = 5000


class RequestError(TfvoiceError):
    """A request that is rejected, with an HTTP status, a sentence for the client, and the field that is wrong."""

    def __init__(self, status: int, sentence: str, field: str | None = None):
        super().__init__(sentence)
        self.status, self.field = status, field


class Service:
    """What the server does, without HTTP.

    Args:
      predictor: the model.
      limits: of the server.
      on_batch: called with the transcripts of each batch, in a worker thread.
    """

    def __init__(
        self,
        predictor: Predictor,
        limits: ServerLimits,
        on_batch: Callable[[list[Transcript]], None] = lambda transcripts: None,
    ):
        self.predictor, self.limits = predictor, limits

        def compute(jobs: list[tuple[str, np.ndarray]]) -> list[dict[str, Any]] | list[Transcript]:
            """The results of a batch, in which all jobs are of one signature."""
            waveforms = [waveform for _, waveform in jobs]
            if jobs[0][0] == "log_probs":
                return predictor.log_probabilities(waveforms)
            transcripts = predictor.transcribe(waveforms)
            on_batch(transcripts)
            return transcripts

        self.batcher = Batcher(compute, limits.batch_size, limits.max_waiting, _WORKERS)
        self._max_rows = min(_MAX_INSTANCES, self.batcher.capacity)
        self._parsers = asyncio.Semaphore(_PARSERS)
        # Threads of their own, so that slow files delay no others.
        self._decoders = ThreadPoolExecutor(_DECODERS, "decoders")

    async def predict(self, body: bytes) -> dict[str, Any]:
        """Answers a request in TensorFlow Serving's form, by rows (`instances`) or by columns (`inputs`)."""
        with contextlib.ExitStack() as reservation:
            async with self._parsers:
                signature, decoded, by_columns = await self._decode_body(body, reservation)
            # Outside, because ffmpeg may take long, and other bodies wait for a parser.
            waveforms = [await self._decoded(recording) for recording in decoded]
            predictions = [as_lists(result) for result in await self._submit(waveforms, signature)]
        if by_columns:
            return {"outputs": {name: [row[name] for row in predictions] for name in predictions[0]}}
        return {"predictions": predictions}

    async def predict_rows(self, signature: str, rows: list[bytes] | list[np.ndarray]) -> list[dict[str, Any]]:
        """The outputs of a signature by their names, for audio files or waveforms as float32 `[samples]`.

        Raises:
          RequestError: there are none or too many, one is invalid, or the queue is full.
        """
        self.check_rows(len(rows))
        with self._reserve(len(rows)):
            decode = self._decode_known if isinstance(rows[0], bytes) else self._check_waveform
            waveforms = [await self._decoded(await asyncio.to_thread(decode, row)) for row in rows]
            results = await self._submit(waveforms, signature)
        if signature == "log_probs":
            return [{"log_probs": result, "frames": len(result)} for result in results]
        return [as_lists(transcript) for transcript in results]

    def check_rows(self, count: int) -> None:
        """Raises `RequestError` where a request may not have so many recordings."""
        if not 1 <= count <= self._max_rows:
            raise RequestError(400, f"A batch must have 1 to {self._max_rows} recordings.")

    async def transcribe(self, data: bytes) -> Transcript:
        """Transcribes an audio file."""
        with self._reserve(1):
            transcripts = await self._submit([await self._decoded(await asyncio.to_thread(self._decode_known, data))])
        return transcripts[0]

    async def _decode_body(
        self, body: bytes, reservation: contextlib.ExitStack
    ) -> tuple[str, list[np.ndarray | bytes], bool]:
        """Signature, recordings and whether they came by columns; the parsed JSON is freed on return."""
        payload = await asyncio.to_thread(_parse_json, body)
        signature = signature_name(payload.get("signature_name")) if isinstance(payload, dict) else SIGNATURES[0]
        instances, by_columns = parse_instances(payload, self._max_rows)
        reservation.enter_context(self._reserve(len(instances)))
        decoded = [await asyncio.to_thread(self._decode_instance, instance, signature) for instance in instances]
        return signature, decoded, by_columns

    @contextlib.contextmanager
    def _reserve(self, count: int) -> Iterator[None]:
        """Reserves room in the queue, from before the recordings are decoded."""
        try:
            with self.batcher.reserve(count):
                yield
        except QueueFull:
            raise RequestError(429, BUSY) from None

    async def _submit(self, waveforms: list[np.ndarray], signature: str = "waveform") -> list:
        kind = signature if signature == "log_probs" else "waveform"
        jobs = [((kind, waveform), (kind, self.predictor.bucket(len(waveform)))) for waveform in waveforms]
        return await self.batcher.submit(jobs)

    async def _decoded(self, decoded: np.ndarray | bytes) -> np.ndarray:
        """The samples of a recording, of which a file that libsndfile does not decode is left."""
        if isinstance(decoded, np.ndarray):
            return decoded
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode_foreign, decoded)

    def _decode_instance(self, instance: Any, signature: str) -> np.ndarray | bytes:
        """What `_decode_known` gives of an instance: a file in base64, or numbers."""
        if isinstance(instance, dict) and "waveform" in instance:
            return self._decode_numbers(instance["waveform"], instance.get("samples"))
        if signature == "log_probs":
            raise RequestError(400, 'An instance of log_probs must be {"waveform": [...]}, with "samples" or without.')
        if isinstance(instance, dict) and isinstance(instance.get("wav"), dict):
            instance = instance["wav"]
        text = instance.get("b64") if isinstance(instance, dict) else None
        if not isinstance(text, str):
            raise RequestError(
                400, 'An instance must be {"b64": "..."}, an audio file in base64, or {"waveform": [...]}.'
            )
        try:
            return self._decode_known(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise RequestError(
                400, "An instance is not base64; encode the whole audio file, without line breaks."
            ) from None

    def _decode_numbers(self, values: Any, count: Any) -> np.ndarray:
        invalid = RequestError(
            400, "A waveform must be a list of numbers from -1 to 1, and samples the number of valid ones."
        )
        # Rejected by type before NumPy sees them: it would convert booleans, and strings to an array whose elements all
        # have the size of the longest.
        is_valid = isinstance(values, list) and set(map(type, values)) <= {int, float}
        if not is_valid or not (count is None or (type(count) is int and count >= 0)):
            raise invalid
        try:
            with np.errstate(over="ignore"):
                waveform = np.array(values[:count], np.float64).astype(np.float32)
        except OverflowError:
            raise invalid from None
        return self._check_waveform(waveform)

    def _check_waveform(self, waveform: np.ndarray) -> np.ndarray:
        if not np.isfinite(waveform).all():
            raise RequestError(400, "A waveform has a number that is not finite.")
        if len(waveform) > self.limits.max_seconds * self.predictor.sample_rate_hz:
            raise self._too_long()
        return _check_amplitude(waveform, "A waveform")

    def _decode_known(self, data: bytes) -> np.ndarray | bytes:
        """The samples of a file that libsndfile decodes whole; of another, the file itself."""
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as file:
                if file.channels > _MAX_CHANNELS:
                    raise RequestError(400, f"The audio has more than {_MAX_CHANNELS} channels; mix it down.")
        except (soundfile.SoundFileError, OSError, ValueError, EOFError):
            if data and ffmpeg.is_installed():
                return data
            raise RequestError(400, f"{_NOT_AUDIO}, Ogg or MP3." if data else "The audio file is empty.") from None
        if not container.examine(io.BytesIO(data)).complete:
            # Otherwise `audio_io.read` would run ffmpeg without limits.
            return data
        # Browsers do not finish their files.
        with self._audio_errors("The audio is damaged."):
            rate_hz, seconds = self.predictor.sample_rate_hz, self.limits.max_seconds
            waveform = audio_io.read(data, rate_hz, seconds, on_cut_off=lambda _: None)
        return _check_amplitude(waveform, "The audio")

    def _decode_foreign(self, data: bytes) -> np.ndarray:
        """The samples of a file that ffmpeg decodes, in a process with limits: m4a, WebM and the like."""
        limits = ffmpeg.Limits(_DECODER_SECONDS, _DECODER_BYTES)
        with self._audio_errors(f"{_NOT_AUDIO}, Ogg, MP3, M4A or WebM."):
            waveform = audio_io.decode_untrusted(data, self.predictor.sample_rate_hz, self.limits.max_seconds, limits)
        return _check_amplitude(waveform, "The audio")

    @contextlib.contextmanager
    def _audio_errors(self, otherwise: str) -> Iterator[None]:
        """Turns errors of decoding into sentences for the client, without paths and internals."""
        try:
            yield
        except audio_io.AudioError as error:
            if error.reason == "too_long":
                raise self._too_long() from None
            fact = _FACTS.get(error.reason)
            raise RequestError(400, f"The audio {fact}." if fact else otherwise) from None
        # Not `OSError`: that there is no space for a temporary file is no fault of the client.
        except (soundfile.SoundFileError, ValueError, EOFError):
            raise RequestError(400, otherwise) from None

    def _too_long(self) -> RequestError:
        return RequestError(
            413, f"The recording is longer than {self.limits.max_seconds:g} s; cut it into shorter ones."
        )


def _parse_json(body: bytes) -> Any:
    # Python's garbage collector stops the whole server while it looks through millions of containers.
    if body.count(b"[") + body.count(b"{") > _MAX_CONTAINERS:
        raise RequestError(400, f"The body has too many lists and objects for {_MAX_INSTANCES} recordings.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "The body is not JSON.") from None


def _check_amplitude(waveform: np.ndarray, subject: str) -> np.ndarray:
    if np.abs(waveform).max(initial=0) > MAX_AMPLITUDE:
        raise RequestError(400, f"{subject} has a number beyond {MAX_AMPLITUDE:g}; full scale is 1.")
    return waveform


def signature_name(name: Any) -> str:
    """The signature that a request names; without a name or with an empty one, the default."""
    name = SIGNATURES[0] if name in (None, "") else name
    if name not in SIGNATURES:
        raise RequestError(400, f"There is no signature of that name; use one of {', '.join(SIGNATURES)}.")
    return name


def parse_instances(payload: Any, max_instances: int) -> tuple[list, bool]:
    """The instances of a request in TensorFlow Serving's form, and whether it came by columns."""
    if not isinstance(payload, dict):
        raise RequestError(400, 'The body must be a JSON object: {"instances": [{"b64": "..."}]}.')
    instances, inputs = payload.get("instances"), payload.get("inputs")
    if isinstance(inputs, dict) and instances is None:
        if not inputs or not all(isinstance(column, list) for column in inputs.values()):
            raise RequestError(400, "Each of the inputs must be a list.")
        if len({len(column) for column in inputs.values()}) > 1:
            raise RequestError(400, "The inputs differ in length.")
        # One more than the limit shows that there are too many; millions of rows would take gigabytes.
        rows = itertools.islice(zip(*inputs.values(), strict=True), max_instances + 1)
        instances = [dict(zip(inputs, row, strict=True)) for row in rows]
    elif inputs is not None and instances is None:
        instances = inputs
    if not isinstance(instances, list) or not instances or len(instances) > max_instances:
        raise RequestError(400, f"instances (or inputs) must be a list of 1 to {max_instances} recordings.")
    return instances, inputs is not None


def as_lists(result: Transcript | np.ndarray) -> dict[str, Any]:
    """A transcript, or log probabilities, by the names of the SavedModel's outputs."""
    if isinstance(result, np.ndarray):
        return {"log_probs": np.round(result.astype(np.float64), 5).tolist(), "frames": len(result)}
    transcript = result
    return {
        "text": transcript.text,
        "confidence": transcript.confidence or 0.0,
        "words": [word.text for word in transcript.words],
        "word_count": len(transcript.words),
        "word_start_seconds": [round(word.start, 3) for word in transcript.words],
        "word_end_seconds": [round(word.end, 3) for word in transcript.words],
        "word_confidence": [round(word.confidence, 4) for word in transcript.words],
    }

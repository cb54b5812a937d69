"""The wire forms of OpenAI's API for audio: requests and responses of `/v1/audio/speech` and `/transcriptions`.

As in its API reference of 2026: https://platform.openai.com/docs/api-reference/audio. `docs/serving.md` lists what is
ignored and what is refused.
"""

import base64
import contextlib
import json
import math
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from typing import Any, NamedTuple

from tfvoice.asr import transcript as transcript_
from tfvoice.asr.transcript import Transcript
from tfvoice.serving import json_body, speech_forms
from tfvoice.serving.service import RequestError
from tfvoice.serving.speech import SpeechRequest

# OpenAI's names, so that clients work as they are: any of its models is ours, any of its voices the first of ours.
SPEECH_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
TRANSCRIPTION_MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
SPEECH_FORMATS = ("mp3", "opus", "flac", "wav", "pcm")
STREAM_FORMATS = ("audio", "sse")
# `instructions` has no effect; the last three are ours.
_SPEECH_FIELDS = (
    "model", "input", "voice", "response_format", "speed", "stream_format", "instructions",
    "pitch", "temperature", "seed",
)  # fmt: skip
TRANSCRIPTION_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_GRANULARITIES = ("segment", "word")


def parse_speech(body: bytes, voices: Collection[str]) -> tuple[SpeechRequest, bool]:
    """The request in a body, and whether it wants server-sent events; raises `RequestError` where it is not valid.

    Args:
      body: of the request.
      voices: names of the voices of the server.
    """
    values = json_body.parse(body, _SPEECH_FIELDS)
    for name in ("model", "input", "voice"):
        if name not in values:
            raise RequestError(400, f"The request has no {name!r}.", name)
    model, text = json_body.text(values, "model"), json_body.text(values, "input")
    if model not in (*SPEECH_MODELS, *voices):
        raise RequestError(404, f"There is no such model; use {' or '.join((*voices, *SPEECH_MODELS))}.", "model")
    format = json_body.text(values, "response_format", "mp3")
    if format not in SPEECH_FORMATS:
        advice = f"use {', '.join(SPEECH_FORMATS)}"
        raise RequestError(400, f"There is no response_format of that name here; {advice}.", "response_format")
    events = json_body.one_of(values, "stream_format", STREAM_FORMATS, "audio") == "sse"
    json_body.text(values, "instructions")
    voice = _voice(values["voice"], model, voices)
    return SpeechRequest(text, False, voice, speech_forms.options(values), format), events


def _voice(asked: Any, model: str, voices: Collection[str]) -> str | None:
    """The name of a voice of ours: that which is asked for; for one of OpenAI's, that of the model, else the first."""
    name = asked.get("id") if isinstance(asked, dict) else asked
    if not isinstance(name, str):
        raise RequestError(400, 'voice must be a name, or {"id": "a name"}.', "voice")
    if name in voices or name not in VOICES:
        return name
    return model if model in voices else None


async def events(audio: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Audio as server-sent events: `speech.audio.delta`, and `speech.audio.done` at the end."""
    async with contextlib.aclosing(audio) as blocks:
        async for block in blocks:
            if block:
                yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(block).decode()})
    yield _event({"type": "speech.audio.done", "usage": dict.fromkeys(_USAGE, 0)})


_USAGE = ("input_tokens", "output_tokens", "total_tokens")


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()


class TranscriptionRequest(NamedTuple):
    """What is wanted of a recording.

    Attributes:
      format: one of `TRANSCRIPTION_FORMATS`.
      granularities: `segment`, `word` or both, of `verbose_json`.
      language: as the client states it; "" where it does not.
    """

    format: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    language: str = ""


def parse_transcription(fields: Mapping[str, list[str]], recogniser: str) -> TranscriptionRequest:
    """The request in the fields of a form but its file; raises `RequestError` where it is not valid."""

    def last(name: str, default: str = "") -> str:
        return fields[name][-1] if fields.get(name) else default

    if "model" not in fields:
        raise RequestError(400, "The form has no 'model'.", "model")
    if last("model") not in (recogniser, *TRANSCRIPTION_MODELS):
        names = " or ".join((recogniser, *TRANSCRIPTION_MODELS))
        raise RequestError(404, f"There is no such model; use {names}.", "model")
    if last("stream", "false").lower() not in ("false", "0"):
        raise RequestError(
            400, "Transcripts are not streamed here; leave stream out, or use the WebSocket /stream.", "stream"
        )
    if fields.get("include") or fields.get("include[]"):
        raise RequestError(400, "include is not possible here; verbose_json has the confidence of words.", "include")
    format = last("response_format", "json")
    if format not in TRANSCRIPTION_FORMATS:
        names = ", ".join(TRANSCRIPTION_FORMATS)
        raise RequestError(400, f"There is no response_format of that name here; use {names}.", "response_format")
    asked = [*fields.get("timestamp_granularities[]", []), *fields.get("timestamp_granularities", [])]
    if asked and format != "verbose_json":
        fact = "timestamp_granularities need response_format=verbose_json"
        raise RequestError(400, f"{fact}.", "timestamp_granularities")
    if not set(asked) <= set(_GRANULARITIES):
        raise RequestError(400, "timestamp_granularities must be segment or word.", "timestamp_granularities")
    return TranscriptionRequest(format, tuple(asked) or ("segment",), last("language"))


def transcription(asked: TranscriptionRequest, transcript: Transcript) -> tuple[str, str]:
    """The body of a response and its media type."""
    media_type, write = _WRITERS[asked.format]
    return write(asked, transcript), media_type


def _verbose(asked: TranscriptionRequest, transcript: Transcript) -> str:
    content: dict[str, Any] = {
        "task": "transcribe",
        "language": asked.language or "unknown",
        "duration": round(transcript.seconds, 3),
        "text": transcript.text,
    }
    if "word" in asked.granularities:
        content["words"] = [
            {
                "word": word.text, "start": round(word.start, 3), "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ]  # fmt: skip
    if "segment" in asked.granularities:
        content["segments"] = [
            _segment(number, cue, transcript) for number, cue in enumerate(transcript_.cues(transcript))
        ]
    return json.dumps(content)


def _segment(number: int, cue: transcript_.Cue, transcript: Transcript) -> dict[str, Any]:
    """A subtitle as a segment of Whisper, some of whose members have no meaning here and are constants."""
    text = " ".join(cue.lines)
    words = [word for word in transcript.words if cue.start - 1e-6 <= word.start < cue.end]
    mean = sum(math.log(max(word.confidence, 1e-9)) for word in words) / max(1, len(words))
    packed = zlib.compress(text.encode(errors="replace"))
    return {
        "id": number, "seek": 0, "start": round(cue.start, 3), "end": round(cue.end, 3), "text": text, "tokens": [],
        "temperature": 0.0, "avg_logprob": round(mean, 4), "no_speech_prob": 0.0,
        "compression_ratio": round(len(text.encode(errors="replace")) / len(packed), 4),
    }  # fmt: skip


_Writer = Callable[[TranscriptionRequest, Transcript], str]
_WRITERS: dict[str, tuple[str, _Writer]] = {
    "json": ("application/json", lambda _, transcript: json.dumps({"text": transcript.text})),
    "text": ("text/plain", lambda _, transcript: transcript_.to_text("", transcript)),
    "srt": ("application/x-subrip", lambda _, transcript: transcript_.to_srt("", transcript)),
    "vtt": ("text/vtt", lambda _, transcript: transcript_.to_vtt("", transcript)),
    "verbose_json": ("application/json", _verbose),
}


def model(name: str) -> dict[str, Any]:
    """A model in OpenAI's list of them."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "tfvoice"}

"""The routes of OpenAI's API for audio, which many clients call: speech and transcriptions."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tfvoice.asr.transcript import Transcript
from tfvoice.audio import encoder
from tfvoice.serving import openai_forms
from tfvoice.serving.service import RequestError, Service
from tfvoice.serving.speech import SpeechService
from tfvoice.serving.speech_routes import SpeechResponse
from tfvoice.serving.uploads import form_request

# Answers with the result of a coroutine, unless the client disconnects first; see `app`.
Respond = Callable[[Request, Any, Callable], Any]
_MAX_FIELDS = 32


def routes(service: Service | None, speech: SpeechService | None, respond: Respond) -> APIRouter:
    """`POST /v1/audio/speech` and `POST /v1/audio/transcriptions`; without a voice or a recogniser, errors that say so.

    Args:
      service: the recogniser.
      speech: the voices.
      respond: how a transcript is awaited.
    """
    router = APIRouter(prefix="/v1/audio")

    @router.post("/speech")
    async def create_speech(request: Request):
        if speech is None:
            raise RequestError(404, "This server has no voice; start it with tfvoice_serve --voice=DIR.")
        asked, as_events = openai_forms.parse_speech(await request.body(), speech.speakers)
        made = speech.speak(asked)
        await anext(made)
        if as_events:
            return SpeechResponse(openai_forms.events(made), "text/event-stream")
        return SpeechResponse(made, encoder.FORMATS[asked.format].media_type)

    @router.post("/transcriptions")
    async def create_transcription(request: Request):
        if service is None:
            raise RequestError(404, "This server has no recogniser; start it with tfvoice_serve --model=DIR.")
        fields, data = await _form(request)
        asked = openai_forms.parse_transcription(fields, service.predictor.name)

        def to_response(transcript: Transcript) -> Response:
            body, media_type = openai_forms.transcription(asked, transcript)
            return Response(body, media_type=media_type)

        return await respond(request, service.transcribe(data), to_response)

    return router


async def _form(request: Request) -> tuple[dict[str, list[str]], bytes]:
    """The text fields of a form, and the bytes of its file."""
    uploaded = form_request(request)
    if not uploaded:
        raise RequestError(400, "The body must be a form, multipart/form-data, with a file.", "file")
    fields: dict[str, list[str]] = {}
    async with uploaded.form(max_files=1, max_fields=_MAX_FIELDS) as form:
        data = None
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
            elif name == "file":
                data = await value.read()
    if data is None:
        raise RequestError(400, "The form has no 'file'.", "file")
    return fields, data

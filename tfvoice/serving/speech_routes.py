"""The routes of speech: `POST /speak`, and the response that is sent while it is made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.requests import ClientDisconnect

from tfvoice.audio import encoder
from tfvoice.serving import speech_forms
from tfvoice.serving.speech import SpeechService

PAGE = Path(__file__).parent / "static" / "speak.html"


def routes(service: SpeechService) -> APIRouter:
    """`POST /speak`, and its page."""
    router = APIRouter()

    @router.post("/speak")
    async def speak(request: Request):
        asked, format = speech_forms.parse(await request.body())
        made = service.speak(asked)
        speech = await anext(made)
        if format == speech_forms.JSON:
            return SpeechResponse(speech_forms.as_json(speech, made), "application/json")
        media_type = encoder.FORMATS[format].media_type
        if format == "raw":
            media_type += f"; rate={speech.sample_rate_hz}; channels=1"
        return SpeechResponse(made, media_type, speech_forms.headers(speech))

    @router.get("/speak", response_class=HTMLResponse)
    async def page():
        return PAGE.read_text(encoding="utf-8")

    return router


class SpeechResponse(Response):
    """A response that is sent piece by piece, while it is made.

    Args:
      pieces: of the body; empty ones are not sent.
      media_type: of the body.
      headers: further ones.
    """

    def __init__(self, pieces: AsyncIterator[bytes], media_type: str, headers: dict[str, str] | None = None):
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope, receive, send) -> None:
        """Sends the body; where the client disconnects first, closes `pieces` and raises `ClientDisconnect`."""
        sending = asyncio.ensure_future(self._send(send))
        disconnected = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((sending, disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            sending.result()
        finally:
            disconnected.cancel()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await sending

    async def _send(self, send) -> None:
        async with contextlib.aclosing(self._pieces) as pieces:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in pieces:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

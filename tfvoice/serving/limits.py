"""What stands before the server's routes: who may come in, with how large a body, and how each is answered."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

import prometheus_client
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from tfvoice.serving.service import BUSY, Limits, Refused

_ANSWERS = prometheus_client.Counter("tfvoice_answers", "Answers, by HTTP status.", ["status"])
# A body must be here after so many seconds; and so many of the largest size may be in memory.
_BODY_SECONDS, _BODIES = 120.0, 16
# What nginx calls a client that did not wait for its answer.
GONE = 499


class Door:
    """Counts who is inside, and lets nobody in where the server is full.

    Args:
      limits: of the service.
      most: requests that may be inside.

    Attributes:
      answered: requests with a body that were answered with status 200.
      cut_off: requests that were not answered because the server ended.
    """

    def __init__(self, limits: Limits, most: int):
        self._requests = most
        self._most = int(limits.mib * 2**20)
        self._too_large = f"The body is larger than {limits.mib:g} MiB."
        self.answered = self.cut_off = self._inside = self._bytes = 0

    def check(self, size: int) -> None:
        """Raises `Refused` where a body has more bytes than it may."""
        if size > self._most:
            raise Refused(413, self._too_large)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[Callable[[int], None]]:
        """Gives what is to be told of bytes that have come; raises `Refused` where there is no room, now or then."""
        if self._inside >= self._requests:
            raise Refused(429, BUSY)
        size = 0

        def came(count: int) -> None:
            nonlocal size
            size, self._bytes = size + count, self._bytes + count
            self.check(size)
            if self._bytes > _BODIES * self._most:
                raise Refused(429, BUSY)

        self._inside += 1
        try:
            yield came
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        finally:
            self._inside -= 1
            self._bytes -= size


class Guard:
    """Stands before everything: lets nothing be sent but what is to be read, and that by the door; counts answers.

    Args:
      app: what answers, by ASGI.
      door: who may come in.
    """

    def __init__(self, app, door: Door):
        self._app, self._door = app, door

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        posts, status = scope["method"] == "POST", 0

        async def counted_send(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _ANSWERS.labels(status).inc()
            await send(message)

        try:
            if posts:
                if not _reads(scope["path"]):
                    raise Refused(404, "Nothing can be sent there.")
                await self._let_in(scope, receive, counted_send)
            else:
                await self._app(scope, receive, counted_send)
        except Refused as error:
            answer = failure(error.status, str(error))
        except ClientDisconnect:
            _ANSWERS.labels(GONE).inc()
            return
        except Exception as error:
            logging.getLogger("tfvoice").error("unexpected error", exc_info=error)
            answer = failure(500, "The server failed on this request; its log says why.")
        else:
            self._door.answered += posts and status == 200
            return
        if not status:
            await answer(scope, receive, counted_send)

    async def _let_in(self, scope, receive, send):
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        self._door.check(int(declared) if declared.isdigit() else 0)
        with self._door.admitted() as came:
            complete, until = False, asyncio.get_running_loop().time() + _BODY_SECONDS

            async def timed_receive():
                nonlocal complete
                left = None if complete else until - asyncio.get_running_loop().time()
                try:
                    message = await asyncio.wait_for(receive(), left)
                except asyncio.TimeoutError:
                    raise Refused(408, f"The body was not here after {_BODY_SECONDS:g} s.") from None
                came(len(message.get("body", b"")))
                complete = not message.get("more_body", False)
                return message

            await self._app(scope, timed_receive, send)


def failure(status: int, sentence: str) -> JSONResponse:
    """An error in TensorFlow Serving's form."""
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"error": sentence}, status, headers)


def _reads(path: str) -> bool:
    """Whether what is sent there is a recording.

    KServe has routes that switch the model off; anybody could use them, a foreign page in a browser included.
    """
    return path == "/transcribe" or (path.startswith("/v1/models/") and path.endswith(":predict"))

"""Admission control and request limits: ASGI middleware in front of the routes."""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Callable, Iterator

import prometheus_client
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from tfvoice.serving.service import BUSY, RequestError, ServerLimits

_RESPONSES = prometheus_client.Counter("tfvoice_answers", "HTTP responses, by status.", ["status"])
# A body, or a message of gRPC, must arrive within this time.
BODY_SECONDS = 120.0
# All bodies that are being received may hold the memory of this many of the largest size.
_BODIES_IN_MEMORY = 16
# For zlib: a header and a trailer of gzip.
_GZIP = zlib.MAX_WBITS | 16
# Decompressed at a time, so that the limit is checked before a small body becomes a large one.
_PART_BYTES = 2**20
_NOT_GZIP = "The body is not gzip, or it is cut off, and its Content-Encoding says gzip."
# Where these paths begin, errors have OpenAI's form.
OPENAI_ROUTES = "/v1/audio/"
_OPENAI_CODES = {404: "not_found", 413: "too_large", 429: "rate_limit_exceeded"}
# nginx's status for a client that disconnected before its response.
CLIENT_CLOSED_REQUEST = 499


class AdmissionController:
    """Counts requests with a body, and rejects them while the server is at capacity.

    Args:
      limits: of the server.
      capacity: the most requests at a time.

    Attributes:
      completed: requests that were answered with status 200.
      cancelled: requests that the server did not finish before it stopped.
    """

    def __init__(self, limits: ServerLimits, capacity: int):
        self._capacity = capacity
        self._max_bytes = int(limits.max_mib * 2**20)
        self._too_large = f"The body is larger than {limits.max_mib:g} MiB."
        self.completed = self.cancelled = self._admitted = self._bytes = 0

    def check_size(self, size: int) -> None:
        """Raises `RequestError` if a body of `size` bytes is too large."""
        if size > self._max_bytes:
            raise RequestError(413, self._too_large)

    @contextlib.contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Admits a request for the duration of the `with`.

        Yields:
          A function to call with the number of bytes of each piece of the body; it raises `RequestError` when the
          body is too large or too many bytes of bodies are in memory.

        Raises:
          RequestError: the server is at capacity.
        """
        if self._admitted >= self._capacity:
            raise RequestError(429, BUSY)
        size = 0

        def received(count: int) -> None:
            nonlocal size
            size, self._bytes = size + count, self._bytes + count
            self.check_size(size)
            if self._bytes > _BODIES_IN_MEMORY * self._max_bytes:
                raise RequestError(429, BUSY)

        self._admitted += 1
        try:
            yield received
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._admitted -= 1
            self._bytes -= size


class LimitsMiddleware:
    """ASGI middleware: applies the limits to requests with a body, counts responses, and turns exceptions into them.

    Args:
      app: the ASGI application.
      admission: the admission controller.
    """

    def __init__(self, app, admission: AdmissionController):
        self._app, self._admission = app, admission

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # uvicorn sends no body in the response to a HEAD request.
            scope = scope | {"method": "GET"}
        is_post, status = scope["method"] == "POST", 0

        async def counting_send(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _RESPONSES.labels(status).inc()
            await send(message)

        try:
            if is_post:
                await self._call_within_limits(scope, receive, counting_send)
            else:
                await self._app(scope, receive, counting_send)
        except RequestError as error:
            response = error_response(error, scope["path"])
        except ClientDisconnect:
            _RESPONSES.labels(CLIENT_CLOSED_REQUEST).inc()
            return
        except Exception as error:
            logging.getLogger("tfvoice").error("unexpected error", exc_info=error)
            failed = RequestError(500, "The server failed on this request; its log says why.")
            response = error_response(failed, scope["path"])
        else:
            self._admission.completed += is_post and status == 200
            return
        if not status:
            await response(scope, receive, counting_send)

    async def _call_within_limits(self, scope, receive, send):
        headers = dict(scope["headers"])
        content_length = headers.get(b"content-length", b"0")
        self._admission.check_size(int(content_length) if content_length.isdigit() else 0)
        gunzip = _decoder(headers.get(b"content-encoding", b""))
        with self._admission.admit() as received:
            complete, sent_bytes, deadline = False, 0, asyncio.get_running_loop().time() + BODY_SECONDS

            async def limited_receive():
                nonlocal complete, sent_bytes
                timeout = None if complete else deadline - asyncio.get_running_loop().time()
                try:
                    message = await asyncio.wait_for(receive(), timeout)
                except asyncio.TimeoutError:
                    raise RequestError(408, f"The body did not arrive within {BODY_SECONDS:g} s.") from None
                complete, body = not message.get("more_body", False), message.get("body", b"")
                if gunzip is None or message["type"] != "http.request":
                    received(len(body))
                    return message
                # Empty members and long headers give no bytes, so that the compressed ones have the limit, too.
                sent_bytes += len(body)
                self._admission.check_size(sent_bytes)
                return message | {"body": await _decompressed(gunzip, body, complete, received)}

            await self._app(scope, limited_receive, send)


def _decoder(encoding: bytes) -> "_Gunzip | None":
    """What decompresses a body of this `Content-Encoding`; None where it is not compressed."""
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return None
    if encoding not in (b"gzip", b"x-gzip"):
        raise RequestError(415, "Bodies may be compressed with gzip only; send this one without Content-Encoding.")
    return _Gunzip()


async def _decompressed(gunzip: "_Gunzip", piece: bytes, last: bool, received: Callable[[int], None]) -> bytes:
    """Decompresses a piece of a body in a thread; `received` is called here, since threads would race to count."""
    parts = []
    while piece:
        part, piece = await asyncio.to_thread(gunzip.decode, piece)
        received(len(part))
        parts.append(part)
    if last and not gunzip.is_complete:
        raise RequestError(400, _NOT_GZIP)
    return b"".join(parts)


class _Gunzip:
    """Decompresses a body of one or more gzip members, piece by piece."""

    def __init__(self):
        self._member, self._started = zlib.decompressobj(_GZIP), False

    @property
    def is_complete(self) -> bool:
        """Whether the body may end here."""
        return self._member.eof or not self._started

    def decode(self, piece: bytes) -> tuple[bytes, bytes]:
        """Decompresses at most `_PART_BYTES`; returns them, and what is left of the piece."""
        parts, size = [], 0
        try:
            while piece and size < _PART_BYTES:
                if self._member.eof:
                    self._member = zlib.decompressobj(_GZIP)
                parts.append(self._member.decompress(piece, _PART_BYTES - size))
                self._started, size = True, size + len(parts[-1])
                piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        except zlib.error:
            raise RequestError(400, _NOT_GZIP) from None
        return b"".join(parts), piece


def error_response(error: RequestError, path: str) -> JSONResponse:
    """An error in TensorFlow Serving's form, or, on the routes of OpenAI's API, in its form."""
    headers = {"Retry-After": "1"} if error.status == 429 else None
    content: str | dict = str(error)
    if path.startswith(OPENAI_ROUTES):
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        code = _OPENAI_CODES.get(error.status)
        content = {"message": content, "type": kind, "param": error.field, "code": code}
    return JSONResponse({"error": content}, error.status, headers)

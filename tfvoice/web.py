"""`serving` over HTTP: KServe's REST server with its health, metrics and errors, our routes, and limits before both."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import prometheus_client
from fastapi import Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from tfvoice.errors import TfvoiceError
from tfvoice.served import Served
from tfvoice.serving import Limits, Refused, Service
from tfvoice.transcript import FORMATS


@contextlib.contextmanager
def _no_arguments() -> Iterator[None]:
    """KServe reads the command line of the process as it is imported, and would take our flags for its own."""
    kept, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = kept


with _no_arguments():
    import kserve
    from kserve import model_server
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

_ROWS = prometheus_client.Histogram(
    "tfvoice_batch_rows", "Recordings in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, float("inf"))
)
_SECONDS = prometheus_client.Counter("tfvoice_audio_seconds", "Seconds of audio that were read.")
_WAITING = prometheus_client.Gauge("tfvoice_waiting", "Recordings that wait for a batch.")
_ANSWERS = prometheus_client.Counter("tfvoice_answers", "Answers, by HTTP status.", ["status"])
_PAGE = Path(__file__).parent / "page" / "index.html"
# How many can be followed at a time.
_STREAMS = asyncio.Semaphore(32)
_TYPES = {"json": "application/json", "text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


class Model(kserve.Model):
    """The recogniser as KServe knows models."""

    def __init__(self, service: Service):
        super().__init__(service.served.name)
        self._service = service
        self.ready = True

    def preprocess(self, payload, headers=None):
        """A body that was not declared as JSON, such as that of `curl --data`, comes as bytes."""
        return _parsed(payload) if isinstance(payload, bytes) else payload

    def validate(self, payload):
        """`serving` looks at it."""
        return payload

    async def predict(self, payload, headers=None, response_headers=None):
        """Answers `POST /v1/models/NAME:predict`."""
        return await self._service.predict(payload)


class Guard:
    """Closes some of KServe's routes, refuses bodies that are too large before they are in memory, and counts answers.

    Args:
      app: what answers, by ASGI.
      limits: of the service.
    """

    def __init__(self, app, limits: Limits):
        self._app, self._most = app, int(limits.mib * 2**20)
        self._sentence = f"The body is larger than {limits.mib:g} MiB."

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _closed(scope["path"]):
            await _error(404, "There is no such page.")(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        size, began = 0, False

        async def counted_receive():
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise _TooLarge
            return message

        async def counted_send(message):
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                _ANSWERS.labels(message["status"]).inc()
            await send(message)

        try:
            if declared.isdigit() and int(declared) > self._most:
                raise _TooLarge
            await self._app(scope, counted_receive, counted_send)
        except _TooLarge:
            if not began:
                await _error(413, self._sentence)(scope, receive, counted_send)


class _TooLarge(Exception):
    pass


def application(service: Service):
    """The web application, with our routes; KServe adds its own to it."""
    app, served = model_server.app, service.served

    # KServe answers this in another form, which is part of ours.
    @app.get("/v1/models/{name}")
    @app.get("/v1/models/{name}/versions/{version}")
    async def status(name: str, version: int | None = None):
        _known(served, name, version)
        state = {"version": str(served.version), "state": "AVAILABLE"}
        state["status"] = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [state], "name": served.name, "ready": True}

    @app.post("/v1/models/{name}/versions/{version}:predict")
    async def predict_version(name: str, version: int, request: Request):
        _known(served, name, version)
        body = await request.body()
        return JSONResponse(await service.predict(_parsed(body)))

    @app.post("/transcribe")
    async def transcribe(request: Request, format: str = "json"):
        if format not in FORMATS:
            raise Refused(400, f"There is no such format; use one of {', '.join(FORMATS)}.")
        name, data = await _file(request)
        found = await service.transcribe(data)
        _SECONDS.inc(found.seconds)
        return Response(FORMATS[format](name, found), media_type=_TYPES[format])

    @app.get("/", response_class=HTMLResponse)
    async def page():
        return _PAGE.read_text(encoding="utf-8")

    @app.get("/healthz")
    async def health():
        return {"status": "ok"}

    @app.get("/about")
    async def about():
        known = {"name": served.name, "version": served.version, "sample_rate_hz": served.sample_rate_hz}
        return known | {"max_seconds": service.limits.seconds, "streams": served.streams}

    @app.websocket("/stream")
    async def stream(socket: WebSocket):
        with contextlib.suppress(WebSocketDisconnect):
            await _follow(socket, service)

    _WAITING.set_function(lambda: service.batcher.waiting)
    return app


def serve(folder: str | Path, host: str, port: int, limits: Limits) -> None:
    """Serves a model until SIGTERM or Ctrl-C; what was accepted by then is answered.

    Args:
      folder: as for `Served`.
      host, port: where to listen; port 0: any that is free.
      limits: what is taken.

    Raises:
      TfvoiceError: the model cannot be used, or the port is taken.
    """
    served = Served(folder)
    service = Service(served, limits, _ROWS.observe)
    try:
        bound = socket.create_server((host, port), backlog=1024, family=_family(host))
    except (OSError, OverflowError) as error:
        raise TfvoiceError(
            f"--host={host} --port={port}: cannot listen there: {getattr(error, 'strerror', None) or error}."
        ) from None
    print(f"Warming up {served.name} ...", flush=True)
    served.warm_up(limits.rows, min(limits.seconds, served.trained_seconds))
    logging.getLogger("kserve").setLevel(logging.ERROR)
    repository = kserve.ModelRepository()
    repository.update(Model(service))
    application(service)
    rest = RESTServer(
        "kserve.model_server:app", DataPlane(repository), ModelRepositoryExtension(repository), port, grace_period=60
    )
    rest.create_application()
    app = model_server.app
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, lambda _, error: _error(error.status_code, str(error.detail)))
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(Guard, limits=limits)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    print(f"Ready: {address}/ is a page, {address}/v1/models/{served.name}:predict the API. Ctrl-C ends.", flush=True)
    rest.create_application = lambda: None
    # uvicorn stops gracefully, and then raises the signal again for whoever was there before it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    rest.run(sockets=[bound])
    print("Stopped; everything that was accepted has been answered.", flush=True)


def _closed(path: str) -> bool:
    """Whether KServe has a route there that manages models, or asks them in a form that is not ours.

    Anybody, a foreign page in a browser included, could switch the model off with them.
    """
    return "/repository" in path or path.rstrip("/").endswith(("/infer", ":explain"))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _known(served, name: str, version: int | None) -> None:
    if name != served.name or version not in (None, served.version):
        raise Refused(404, f"There is no such model or version; this server has {served.name}, {served.version}.")


def _parsed(body: bytes):
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not JSON.") from None


async def _file(request: Request) -> tuple[str, bytes]:
    """The file of a form, or else the whole body."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await request.form()
        for value in form.values():
            if hasattr(value, "read"):
                return str(value.filename or ""), await value.read()
        raise Refused(400, "The form has no file.")
    return "", await request.body()


async def _follow(socket: WebSocket, service: Service) -> None:
    """Float32 samples as they are spoken, and a text message at their end, to {"text": what is read anew}."""
    await socket.accept()
    if not service.served.streams:
        await socket.close(1008, "This model does not follow speech.")
        return
    if _STREAMS.locked():
        await socket.close(1013, "Too many are speaking; try again in a second.")
        return
    left, final = int(service.limits.seconds * service.served.sample_rate_hz), False
    async with _STREAMS:
        following = service.served.follow()
        while not final:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes") or b""
            final = message.get("text") is not None
            chunk = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
            left -= len(chunk)
            if left < 0 or len(data) % 4 or not np.isfinite(chunk).all():
                await socket.close(1007, "Send float32 samples, finite and not more than the server takes.")
                return
            text = await asyncio.to_thread(following.step, chunk, final)
            await socket.send_json({"text": text, "final": final})
        await socket.close()


async def _refused(_, error: Refused) -> JSONResponse:
    return _error(error.status, str(error))


async def _unexpected(_, error: Exception) -> JSONResponse:
    logging.getLogger("tfvoice").error("unexpected error", exc_info=error)
    return _error(500, "The server failed on this request; its log says why.")


def _error(status: int, sentence: str) -> JSONResponse:
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"error": sentence}, status, headers)

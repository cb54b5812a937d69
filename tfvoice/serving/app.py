"""`serving` over HTTP: KServe's REST server with its health, metrics and errors, our routes, and limits before both."""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import prometheus_client
from fastapi import Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from tfvoice.asr.transcript import FORMATS, Transcript
from tfvoice.errors import TfvoiceError
from tfvoice.serving.limits import GONE, Door, Guard, failure
from tfvoice.serving.predictor import Served
from tfvoice.serving.service import Limits, Refused, Service


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
_PAGE = Path(__file__).parent / "static" / "index.html"
# How many can be followed at a time, bytes of a message of theirs, and how long they may say nothing.
_STREAMS = asyncio.Semaphore(32)
_MESSAGE_BYTES, _SILENT_SECONDS = 2**20, 60.0
_TYPES = {"json": "application/json", "text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


class Model(kserve.Model):
    """The recogniser as KServe's health routes know it; `application` answers for it."""

    def __init__(self, name: str):
        super().__init__(name)
        self.ready = True


def application(service: Service):
    """The web application, with our routes; KServe adds its own to it."""
    app, served = model_server.app, service.served

    # KServe answers this in another form, which is part of ours.
    @app.get("/v1/models/{name}")
    @app.get("/v1/models/{name}/versions/{version}")
    async def status(name: str, version: str | None = None):
        _known(served, name, version)
        state = {"version": str(served.version), "state": "AVAILABLE"}
        state["status"] = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [state], "name": served.name, "ready": True}

    @app.post("/v1/models/{name}:predict")
    @app.post("/v1/models/{name}/versions/{version}:predict")
    async def predict(name: str, request: Request, version: str | None = None):
        _known(served, name, version)
        return await _while_there(request, service.predict(await request.body()), JSONResponse)

    @app.post("/transcribe")
    async def transcribe(request: Request, kind: Annotated[str, Query(alias="format")] = "json"):
        if kind not in FORMATS:
            raise Refused(400, f"There is no such format; use one of {', '.join(FORMATS)}.")
        name, data = await _file(request)

        def written(found: Transcript) -> Response:
            return Response(FORMATS[kind](name, found), media_type=_TYPES[kind])

        return await _while_there(request, service.transcribe(data), written)

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
    service = Service(served, limits, _count)
    door = Door(limits, service.batcher.most)
    bound = _bound(host, port)
    print(f"Warming up {served.name} ...", flush=True)
    warm_seconds = min(limits.seconds, served.trained_seconds)
    slowest = served.warm_up(limits.rows, warm_seconds) * limits.seconds / warm_seconds
    logging.getLogger("kserve").setLevel(logging.ERROR)
    # KServe's choice, of which FastAPI complains at the first request.
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    repository = kserve.ModelRepository()
    repository.update(Model(served.name))
    application(service)
    # Twice as long as a full queue of the longest recordings takes.
    grace_seconds = 30 + math.ceil(2 * slowest * (1 + limits.waiting / limits.rows))
    rest = RESTServer(
        "kserve.model_server:app",
        DataPlane(repository),
        ModelRepositoryExtension(repository),
        port,
        grace_period=grace_seconds,
    )
    rest.create_application()
    # It has no arguments for these. The parser in Python bounds headers; the one in C does not.
    rest.config.http, rest.config.ws_max_size, rest.config.ws_per_message_deflate = "h11", _MESSAGE_BYTES, False
    app = model_server.app
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, lambda _, error: failure(error.status_code, str(error.detail)))
    app.add_middleware(Guard, door=door)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    rest.create_application = lambda: None
    # Before uvicorn's own handlers are there, and after: it stops gracefully, and then raises the signal again.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(rest._server, "should_exit", True))
    with _told_where(host, port):
        bound.listen(1024)
    print(f"Ready: {address}/ is a page, {address}/v1/models/{served.name}:predict the API. Ctrl-C ends.", flush=True)
    rest.run(sockets=[bound])
    cut = f"; {door.cut_off} took too long and were cut off" if door.cut_off else ""
    print(f"Stopped. {door.answered} recordings or batches of them were read{cut}.", flush=True)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has its port and does not listen yet: who connects before the model is ready is refused."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Else the port would stay taken for a minute after a server has ended.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with _told_where(host, port):
        bound.bind((host, port))
    return bound


@contextlib.contextmanager
def _told_where(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TfvoiceError(f"--host={host} --port={port}: cannot listen there: {reason}.") from None


def _count(found: list[Transcript]) -> None:
    _ROWS.observe(len(found))
    _SECONDS.inc(sum(one.seconds for one in found))


def _known(served: Served, name: str, version: str | None) -> None:
    if name != served.name or version not in (None, str(served.version)):
        raise Refused(404, f"There is no such model or version; this server has {served.name}, {served.version}.")


async def _while_there(request: Request, work: Coroutine, written: Callable) -> Response:
    """Writes what was worked out; it is cancelled where the client goes away first."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return written(task.result()) if task.done() else Response(status_code=GONE)
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _file(request: Request) -> tuple[str, bytes]:
    """The file of a form, or else the whole body."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1) as form:
            for value in form.values():
                if hasattr(value, "read"):
                    # A name is anything that a client puts there.
                    return str(value.filename or "").encode(errors="replace").decode(), await value.read()
        raise Refused(400, "The form has no file.")
    return "", await request.body()


async def _follow(socket: WebSocket, service: Service) -> None:
    """Float32 samples as they are spoken, and a text message at their end, to {"text": what is read anew}."""
    origin, host = socket.headers.get("origin"), socket.headers.get("host")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        # A page of somebody else, in the browser of somebody who may come in.
        await socket.close(1008)
        return
    await socket.accept()
    if not service.served.streams:
        await socket.close(1008, "This model does not follow speech.")
        return
    if _STREAMS.locked():
        await socket.close(1013, "Too many are speaking; try again in a second.")
        return
    left, final = int(service.limits.seconds * service.served.sample_rate_hz), False
    # Twice as long as it takes to say that.
    until = time.monotonic() + 2 * service.limits.seconds + _SILENT_SECONDS
    async with _STREAMS:
        following = service.served.follow()
        while not final:
            try:
                message = await asyncio.wait_for(socket.receive(), min(_SILENT_SECONDS, until - time.monotonic()))
            except asyncio.TimeoutError:
                await socket.close(1001, "Nothing was sent for too long, or all of it took too long.")
                return
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
    return failure(error.status, str(error))

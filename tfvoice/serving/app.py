"""The HTTP server: a FastAPI application with the REST API of TensorFlow Serving and a web page, on uvicorn."""

import asyncio
import contextlib
import math
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import prometheus_client
import uvicorn
from fastapi import APIRouter, FastAPI, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import exposition
from starlette.exceptions import HTTPException

import tfvoice
from tfvoice.asr.transcript import FORMATS, Transcript
from tfvoice.errors import TfvoiceError
from tfvoice.handlers import handler
from tfvoice.serving import openai_forms, openai_routes, speech_routes
from tfvoice.serving import voices as voices_
from tfvoice.serving.limits import CLIENT_CLOSED_REQUEST, AdmissionController, LimitsMiddleware, error_response
from tfvoice.serving.predictor import Predictor
from tfvoice.serving.service import RequestError, ServerLimits, Service
from tfvoice.serving.speech import SpeechService
from tfvoice.serving.uploads import form_request

_BATCH_ROWS = prometheus_client.Histogram(
    "tfvoice_batch_rows", "Recordings in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, float("inf"))
)
_AUDIO_SECONDS = prometheus_client.Counter("tfvoice_audio_seconds", "Seconds of audio that were transcribed.")
_WAITING = prometheus_client.Gauge("tfvoice_waiting", "Recordings that wait for a batch.")
_PAGE = Path(__file__).parent / "static" / "index.html"
_MAX_STREAMS = 32
_MAX_MESSAGE_BYTES = 2**20
# A stream is closed after this much time without a message.
_STREAM_IDLE_SECONDS = 60.0
# Longer than proxies keep idle connections (nginx: 60 s), so that no request meets a connection that is being closed.
_KEEP_ALIVE_SECONDS = 65
# A connection is closed when its client takes no bytes of a response for so long.
_UNREAD_SECONDS = 120
_MEDIA_TYPES = {"json": "application/json", "text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


def create_app(service: Service | None, admission: AdmissionController, speech: SpeechService | None = None) -> FastAPI:
    """Builds the web application.

    Args:
      service: what transcribes; None: nothing does.
      admission: the admission controller of its middleware.
      speech: what speaks; None: nothing does.
    """
    # The pages of FastAPI's documentation load scripts from other servers; /openapi.json describes the routes.
    app = FastAPI(title="tfvoice", version=tfvoice.__version__, docs_url=None, redoc_url=None)
    if service:
        for routes in (_model_routes, _transcription_routes):
            app.include_router(routes(service))
        _WAITING.set_function(lambda: service.batcher.waiting)
    if speech:
        app.include_router(speech_routes.routes(speech))
    app.include_router(openai_routes.routes(service, speech, _respond))
    for routes in (_page_routes, _health_routes):
        app.include_router(routes(service, speech))
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(LimitsMiddleware, admission=admission)
    return app


def serve(
    folder: str | Path | None,
    host: str,
    port: int,
    limits: ServerLimits,
    grpc_port: int | None = None,
    voices: Sequence[str | Path] = (),
) -> None:
    """Serves a recogniser, voices or both until SIGTERM or Ctrl-C, and then finishes the requests that it has accepted.

    Must be called in the main thread: while it runs, SIGTERM and SIGINT stop the server gracefully; the previous signal
    handlers are restored before it returns.

    Args:
      folder: of the recogniser, as for `Predictor`; None: there is none.
      host, port: address to listen on; port 0: any free one.
      limits: of the server.
      grpc_port: port of the gRPC API of the recogniser; 0: any free one, None: there is none.
      voices: folders, as for `voices.load`.

    Raises:
      TfvoiceError: the model or a voice cannot be used, or the port is taken.
    """
    service = Service(Predictor(folder), limits, _count_batch) if folder else None
    speech = SpeechService(voices_.load(voices), limits) if voices else None
    if service and speech and service.predictor.name in speech.speakers:
        name = service.predictor.name
        raise TfvoiceError(f"--model={folder}: a voice has the name {name}, too; rename one of the folders.")
    capacity = (service.batcher.capacity if service else 0) + (speech.capacity if speech else 0)
    admission = AdmissionController(limits, capacity)
    with _bound_socket(host, port) as listener:
        grace_seconds = _warm_up(service, speech, limits)
        server = uvicorn.Server(_uvicorn_config(create_app(service, admission, speech), grace_seconds))
        with _stop_on_signals(server):
            with _listen_errors(host, port):
                listener.listen(1024)
            address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            api = f"{address}/v1/models/{service.predictor.name}:predict" if service else f"{address}/speak"
            ready = f"Ready: {address}/ is the web page, {api} the API. Ctrl-C stops the server."
            if grpc_port is None:
                print(ready, flush=True)
                server.run(sockets=[listener])
            else:
                asyncio.run(_run_both(server, listener, service, (host, grpc_port), ready, grace_seconds))
    late = f"; {admission.cancelled} took too long and were cut off" if admission.cancelled else ""
    print(f"Stopped. {admission.completed} requests were answered{late}.", flush=True)


def _warm_up(service: Service | None, speech: SpeechService | None, limits: ServerLimits) -> int:
    """Uses every model once; returns twice the seconds that full queues of the longest requests take, and 30."""
    seconds = 0.0
    if service:
        predictor = service.predictor
        print(f"Warming up {predictor.name} ...", flush=True)
        warm_up_seconds = min(limits.max_seconds, predictor.max_clip_seconds)
        slowest = predictor.warm_up(limits.batch_size, warm_up_seconds) * limits.max_seconds / warm_up_seconds
        seconds += slowest * (1 + limits.max_waiting / limits.batch_size)
    if speech:
        print(f"Warming up {', '.join(speech.speakers)} ...", flush=True)
        seconds += speech.grace_seconds(speech.warm_up())
    return 30 + math.ceil(2 * seconds)


async def _run_both(
    server: uvicorn.Server, listener: socket.socket, service: Service, address: tuple[str, int], ready: str, grace: int
) -> None:
    """Serves HTTP and gRPC in one event loop, so that they share their batches."""
    # gRPC's threads are of no use to a server without it.
    from tfvoice.serving.grpc_server import GrpcServer

    grpc_server = GrpcServer(service)
    port = await grpc_server.start(*address)
    print(f"{ready} gRPC: port {port}.", flush=True)
    try:
        await server.serve(sockets=[listener])
    finally:
        await grpc_server.stop(grace)
    print(f"Answered {grpc_server.completed} gRPC calls.", flush=True)


def _uvicorn_config(app: FastAPI, grace_seconds: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        # The parser in Python bounds the size of headers; httptools does not.
        http="h11",
        ws="websockets-sansio",
        ws_max_size=_MAX_MESSAGE_BYTES,
        # Otherwise a small message could expand to a large one.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )


def _bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has its port and does not listen yet: clients are refused until the model is ready."""
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it a response took 40 ms more.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Otherwise the port stays taken for a minute after a server has stopped.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Otherwise a client that never reads its response keeps it in the memory. Of Linux; connections inherit it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _UNREAD_SECONDS)
    with _listen_errors(host, port):
        bound.bind((host, port))
    return bound


@contextlib.contextmanager
def _listen_errors(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TfvoiceError(f"--host={host} --port={port}: cannot listen there: {reason}.") from None


@contextlib.contextmanager
def _stop_on_signals(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM and SIGINT stop the server gracefully; restores the previous handlers.

    uvicorn installs handlers of its own while it runs, then restores these and raises the signal again, which would end
    the process if these were the default ones.
    """

    def stop(*_) -> None:
        server.should_exit = True

    with handler(signal.SIGTERM, stop), handler(signal.SIGINT, stop):
        yield


def _count_batch(transcripts: list[Transcript]) -> None:
    _BATCH_ROWS.observe(len(transcripts))
    _AUDIO_SECONDS.inc(sum(transcript.seconds for transcript in transcripts))


def _model_routes(service: Service) -> APIRouter:
    """TensorFlow Serving's REST API: the signatures of the model, and predictions."""
    router, predictor = APIRouter(), service.predictor

    @router.get("/v1/models/{name}/metadata")
    @router.get("/v1/models/{name}/versions/{version}/metadata")
    async def metadata(name: str, version: str | None = None):
        _check_model(predictor, name, version)
        spec = {"name": predictor.name, "signature_name": "", "version": str(predictor.version)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": predictor.metadata()}}}

    @router.post("/v1/models/{name}:predict")
    @router.post("/v1/models/{name}/versions/{version}:predict")
    async def predict(name: str, request: Request, version: str | None = None):
        _check_model(predictor, name, version)
        return await _respond(request, service.predict(await request.body()), JSONResponse)

    return router


def _transcription_routes(service: Service) -> APIRouter:
    """Audio files and streams of samples to text."""
    router, streams = APIRouter(), asyncio.Semaphore(_MAX_STREAMS)

    @router.post("/transcribe")
    async def transcribe(request: Request, format: Annotated[str, Query()] = "json"):
        if format not in FORMATS:
            raise RequestError(400, f"There is no such format; use one of {', '.join(FORMATS)}.")
        name, data = await _uploaded_file(request)

        def to_response(transcript: Transcript) -> Response:
            return Response(FORMATS[format](name, transcript), media_type=_MEDIA_TYPES[format])

        return await _respond(request, service.transcribe(data), to_response)

    @router.websocket("/stream")
    async def stream(websocket: WebSocket):
        with contextlib.suppress(WebSocketDisconnect):
            await _stream(websocket, service, streams)

    return router


def _page_routes(service: Service | None, speech: SpeechService | None) -> APIRouter:
    """The web page, that of speech where there is no recogniser, and what the pages need to know about the server."""
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse)
    async def page():
        return (_PAGE if service else speech_routes.PAGE).read_text(encoding="utf-8")

    about: dict[str, Any] = {"voices": []}
    if service:
        model, limits = service.predictor, service.limits
        about |= {"name": model.name, "version": model.version, "sample_rate_hz": model.sample_rate_hz}
        about |= {"max_seconds": limits.max_seconds, "streams": model.streams}
    if speech:
        about |= {"voices": list(speech.speakers), "max_characters": speech.limits.max_characters}
    router.add_api_route("/about", _constant(about))
    return router


def _health_routes(service: Service | None, speech: SpeechService | None) -> APIRouter:
    """Health checks, ours and those of KServe's protocols v1 and v2, models and their state, metrics for Prometheus.

    The server listens only when the models are ready.
    """
    router = APIRouter()
    names, voices = [service.predictor.name] if service else [], list(speech.speakers) if speech else []

    @router.get("/v1/models/{name}")
    @router.get("/v1/models/{name}/versions/{version}")
    async def status(name: str, version: str | None = None):
        # `name` and `ready` are KServe's v1 form; a recogniser has also that of TensorFlow Serving.
        known = {"name": name, "ready": True} | openai_forms.model(name)
        if name in voices and version is None:
            return known
        _check_model(service and service.predictor, name, version)
        state = {"version": str(service.predictor.version), "state": "AVAILABLE"}
        state["status"] = {"error_code": "OK", "error_message": ""}
        return known | {"model_version_status": [state]}

    @router.get("/v2/models/{name}/ready")
    async def model_ready(name: str):
        if name not in voices:
            _check_model(service and service.predictor, name, None)
        return {"name": name, "ready": True}

    @router.get("/metrics")
    async def metrics(request: Request):
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(prometheus_client.REGISTRY), headers={"content-type": content_type})

    models = {"models": names + voices}
    constants = {
        "/healthz": {"status": "ok"},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v1/models": models | {"object": "list", "data": [openai_forms.model(name) for name in names + voices]},
        "/v2/models": models,
    }
    for path, content in constants.items():
        router.add_api_route(path, _constant(content))
    return router


def _constant(content: dict) -> Callable[[], Coroutine]:
    """An endpoint that always answers the same."""

    async def endpoint():
        return content

    return endpoint


def _check_model(predictor: Predictor | None, name: str, version: str | None) -> None:
    if predictor is None:
        raise RequestError(404, "There is no such model.")
    if name != predictor.name or version not in (None, str(predictor.version)):
        raise RequestError(
            404, f"There is no such model or version; this server has {predictor.name}, {predictor.version}."
        )


async def _respond(request: Request, work: Coroutine, to_response: Callable) -> Response:
    """Awaits `work` and makes a response of its result, in a thread: the log probabilities of a minute are megabytes
    of JSON. Cancels `work` if the client disconnects first."""
    task, disconnected = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return await asyncio.to_thread(to_response, task.result())
    finally:
        task.cancel()
        disconnected.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _uploaded_file(request: Request) -> tuple[str, bytes]:
    """Name and bytes of the file in a form, otherwise the whole body."""
    uploaded = form_request(request)
    if uploaded:
        async with uploaded.form(max_files=1) as form:
            for value in form.values():
                if hasattr(value, "read"):
                    # Clients may send any name, lone surrogates included.
                    return str(value.filename or "").encode(errors="replace").decode(), await value.read()
        raise RequestError(400, "The form has no file.")
    return "", await request.body()


async def _stream(websocket: WebSocket, service: Service, streams: asyncio.Semaphore) -> None:
    """Streaming recognition: float32 samples in, {"text": what is new, "final": bool} out; a text message ends it."""
    origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        # A page of another site, in the browser of a user who can reach this server.
        await websocket.close(1008)
        return
    await websocket.accept()
    if not service.predictor.streams:
        await websocket.close(1008, "This model does not support streaming recognition.")
        return
    if streams.locked():
        await websocket.close(1013, "There are too many streams; try again in a second.")
        return
    async with streams:
        await _run_session(websocket, service)


async def _run_session(websocket: WebSocket, service: Service) -> None:
    session = service.predictor.stream()
    samples_left, final = int(service.limits.max_seconds * service.predictor.sample_rate_hz), False
    # A stream may take twice as long as the audio, and a pause.
    deadline = time.monotonic() + 2 * service.limits.max_seconds + _STREAM_IDLE_SECONDS
    while not final:
        try:
            timeout = min(_STREAM_IDLE_SECONDS, deadline - time.monotonic())
            message = await asyncio.wait_for(websocket.receive(), timeout)
        except asyncio.TimeoutError:
            await websocket.close(1001, "No samples were sent for too long, or the whole stream took too long.")
            return
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes") or b""
        final = message.get("text") is not None
        chunk = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
        samples_left -= len(chunk)
        if samples_left < 0 or len(data) % 4 or not np.isfinite(chunk).all():
            await websocket.close(1007, "Send float32 samples, finite, and no more than the server accepts.")
            return
        text = await asyncio.to_thread(session.step, chunk, final)
        await websocket.send_json({"text": text, "final": final})
    await websocket.close()


async def _on_request_error(request: Request, error: RequestError) -> JSONResponse:
    return error_response(error, request.url.path)


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    return error_response(RequestError(error.status_code, str(error.detail)), request.url.path)


async def _on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    sentence = f"{'.'.join(map(str, first['loc']))}: {first['msg']}."
    return error_response(RequestError(422, sentence), request.url.path)

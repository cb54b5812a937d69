"""Admission control and request limits."""

import asyncio
import contextlib
import gzip
import json
import threading
import zlib

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

import prometheus_client
from server import call_asgi
from starlette.requests import ClientDisconnect

from tfvoice.serving import limits
from tfvoice.serving.limits import AdmissionController, LimitsMiddleware
from tfvoice.serving.service import RequestError, ServerLimits

SMALL = ServerLimits(max_mib=100 / 2**20, max_waiting=1, batch_size=1)


async def body_length(scope, receive, send):
    """An application that answers with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def responses(status):
    return prometheus_client.REGISTRY.get_sample_value("tfvoice_answers_total", {"status": str(status)}) or 0


def test_a_body_within_the_limit_reaches_the_application():
    admission = AdmissionController(SMALL, 2)
    assert call_asgi(LimitsMiddleware(body_length, admission), pieces=(b"x" * 60, b"y" * 40)) == (200, b"100")
    assert (admission.completed, admission.cancelled) == (1, 0)


@pytest.mark.parametrize(
    "pieces, headers", [((b"x" * 101,), ()), ((b"x" * 60, b"y" * 41), ()), ((b"",), ((b"content-length", b"101"),))]
)
def test_a_body_above_the_limit_is_rejected(pieces, headers):
    admission = AdmissionController(SMALL, 2)
    app = LimitsMiddleware(body_length, admission)
    status, body = call_asgi(app, pieces=pieces, headers=headers)
    assert status == 413 and "larger than" in json.loads(body)["error"]
    assert call_asgi(app) == (200, b"1") and admission.completed == 1


def pieces_of(data, size):
    return tuple(data[start : start + size] for start in range(0, len(data), size))


GZIP = ((b"content-encoding", b"gzip"),)


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"x-gzip"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_gzip_body_is_decompressed(encoding, size):
    app = LimitsMiddleware(body_length, AdmissionController(SMALL, 2))
    members = gzip.compress(b"x" * 60) + gzip.compress(b"") + gzip.compress(b"y" * 40)
    assert call_asgi(app, pieces=pieces_of(members, size), headers=((b"content-encoding", encoding),)) == (200, b"100")
    assert call_asgi(app, pieces=(b"",), headers=GZIP) == (200, b"0")
    assert call_asgi(app, pieces=(b"abc",), headers=((b"content-encoding", b"identity"),)) == (200, b"3")


def test_the_limit_is_that_of_the_decompressed_body():
    admission = AdmissionController(SMALL, 2)
    app = LimitsMiddleware(body_length, admission)
    for count in (101, 50_000_000):
        data = gzip.compress(bytes(count), 1)[:100] if count > 10_000 else gzip.compress(bytes(count))
        status, body = call_asgi(app, pieces=(data,), headers=GZIP)
        assert status == 413 and "larger than" in json.loads(body)["error"]
    with admission.admit() as received:
        received(100)


def test_compressed_bytes_that_give_nothing_count_as_well():
    app = LimitsMiddleware(body_length, AdmissionController(SMALL, 2))
    endless_name = b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 100
    for data in (gzip.compress(b"") * 6, endless_name):
        status, body = call_asgi(app, pieces=pieces_of(data, 20), headers=GZIP)
        assert status == 413 and "larger than" in json.loads(body)["error"]


def test_bytes_are_counted_in_the_thread_of_the_event_loop(monkeypatch):
    threads, check_size = set(), AdmissionController.check_size

    def recorded(self, size):
        threads.add(threading.current_thread())
        check_size(self, size)

    monkeypatch.setattr(AdmissionController, "check_size", recorded)
    app = LimitsMiddleware(body_length, AdmissionController(SMALL, 2))
    assert call_asgi(app, pieces=(gzip.compress(b"abc"),), headers=GZIP) == (200, b"3")
    assert threads == {threading.main_thread()}


WHOLE = gzip.compress(b"some text that is long enough")
DAMAGED = {
    "text": b"text",
    "without its end": WHOLE[:-9],
    "a header alone": WHOLE[:12],
    "without its last byte": WHOLE[:-1],
    "text after it": WHOLE + b"text",
    "another checksum": WHOLE[:-8] + bytes(8),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_gzip_body_is_invalid(data):
    app = LimitsMiddleware(body_length, AdmissionController(SMALL, 2))
    for size in (1, 1000):
        status, body = call_asgi(app, pieces=pieces_of(data, size), headers=GZIP)
        assert status == 400 and "gzip" in json.loads(body)["error"]


@pytest.mark.parametrize("encoding", [b"br", b"deflate", b"gzip, gzip", b"zstd"])
def test_other_encodings_are_not_supported(encoding):
    app = LimitsMiddleware(body_length, AdmissionController(SMALL, 2))
    status, body = call_asgi(app, pieces=(zlib.compress(b"x"),), headers=((b"content-encoding", encoding),))
    assert status == 415 and "gzip only" in json.loads(body)["error"]


def test_a_head_request_is_answered_like_get():
    methods = []

    async def app(scope, receive, send):
        methods.append(scope["method"])
        await body_length(scope, receive, send)

    assert call_asgi(LimitsMiddleware(app, AdmissionController(SMALL, 2)), method="HEAD")[0] == 200
    assert methods == ["GET"]


def test_requests_above_the_capacity_are_rejected_until_one_is_answered():
    admission = AdmissionController(SMALL, 2)
    app = LimitsMiddleware(body_length, admission)
    with admission.admit(), admission.admit():
        status, body = call_asgi(app)
        assert status == 429 and "try again" in json.loads(body)["error"]
        # Health checks and metrics have no body.
        assert call_asgi(app, "/healthz", method="GET")[0] == 200
    assert call_asgi(app)[0] == 200


def test_all_bodies_together_hold_at_most_sixteen_of_the_largest():
    admission = AdmissionController(SMALL, 1000)
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(admission.admit())(100)
        with pytest.raises(RequestError, match="busy"), admission.admit() as received:
            received(1)
    with admission.admit() as received:
        received(100)


def test_a_body_that_does_not_arrive_in_time_is_rejected(monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.3)
    sent = []

    async def drip():
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/transcribe", "method": "POST", "headers": ()}
    asyncio.run(LimitsMiddleware(body_length, AdmissionController(SMALL, 2))(scope, drip, send))
    assert sent[0]["status"] == 408


def test_a_disconnected_client_gets_no_response_and_is_not_an_error(caplog):
    async def disconnecting(scope, receive, send):
        raise ClientDisconnect

    disconnected, failed = responses(499), responses(500)
    assert call_asgi(LimitsMiddleware(disconnecting, AdmissionController(SMALL, 2))) is None
    assert (responses(499), responses(500)) == (disconnected + 1, failed)
    assert not caplog.text


def test_an_exception_becomes_a_response_without_details(caplog):
    async def failing(scope, receive, send):
        raise ValueError("/secret/path")

    failed = responses(500)
    status, body = call_asgi(LimitsMiddleware(failing, AdmissionController(SMALL, 2)))
    assert status == 500 and json.loads(body)["error"] == "The server failed on this request; its log says why."
    assert "/secret/path" in caplog.text and responses(500) == failed + 1


def test_cancelled_requests_are_counted():
    admission = AdmissionController(SMALL, 2)

    async def cancelled():
        with admission.admit():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert admission.cancelled == 1


def test_errors_have_openais_form_on_its_routes():
    for path, expected in (("/speak", "wrong"), ("/v1/models/x:predict", "wrong")):
        assert json.loads(limits.error_response(RequestError(400, "wrong", "text"), path).body) == {"error": expected}
    for status, kind, code in (
        (400, "invalid_request_error", None),
        (404, "invalid_request_error", "not_found"),
        (429, "invalid_request_error", "rate_limit_exceeded"),
        (500, "server_error", None),
    ):
        response = limits.error_response(RequestError(status, "wrong", "text"), "/v1/audio/speech")
        content = {"message": "wrong", "type": kind, "param": "text", "code": code}
        assert (response.status_code, json.loads(response.body)) == (status, {"error": content})
        assert ("retry-after" in response.headers) == (status == 429)

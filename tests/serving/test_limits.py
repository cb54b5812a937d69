"""What stands before the routes: who is let in, how large a body may be, and that every answer is counted."""

import asyncio
import json

import pytest

pytest.importorskip("kserve", reason="needs the extra serve")

from starlette.requests import ClientDisconnect

from tfvoice.serving import limits
from tfvoice.serving.service import Limits, Refused

SMALL = Limits(mib=100 / 2**20, waiting=1, rows=1)


def call(app, door, pieces=(b"x",), headers=(), path="/transcribe", method="POST"):
    """Sends a request by ASGI; returns status and body of the answer."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
    messages.append({"type": "http.request", "body": pieces[-1], "more_body": False})
    sent = []

    async def receive():
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def run():
        await limits.Guard(app, door)(
            {"type": "http", "path": path, "method": method, "headers": headers}, receive, send
        )

    asyncio.run(run())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def read(scope, receive, send):
    """An application that answers with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def test_a_body_that_fits_comes_in_whole():
    door = limits.Door(SMALL, 2)
    assert call(read, door, (b"x" * 60, b"y" * 40)) == (200, b"100")
    assert (door.answered, door.cut_off) == (1, 0)


@pytest.mark.parametrize(
    "pieces, headers", [((b"x" * 101,), ()), ((b"x" * 60, b"y" * 41), ()), ((b"",), ((b"content-length", b"101"),))]
)
def test_a_body_that_is_too_large_is_refused(pieces, headers):
    door = limits.Door(SMALL, 2)
    status, body = call(read, door, pieces, headers)
    assert status == 413 and "larger than" in json.loads(body)["error"]
    assert call(read, door) == (200, b"1") and door.answered == 1


def test_a_full_server_lets_nobody_in_until_somebody_is_out():
    door = limits.Door(SMALL, 2)
    with door.admitted(), door.admitted():
        status, body = call(read, door)
        assert status == 429 and "try again" in json.loads(body)["error"]
    assert call(read, door)[0] == 200


def test_bodies_share_the_memory():
    door = limits.Door(Limits(mib=100 / 2**20), 1000)
    with pytest.raises(Refused, match="busy"):
        for _ in range(100):
            door.admitted().__enter__()(100)


def test_a_body_that_comes_in_drops_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "_BODY_SECONDS", 0.3)
    sent = []

    async def drop():
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/transcribe", "method": "POST", "headers": ()}
    asyncio.run(limits.Guard(read, limits.Door(SMALL, 2))(scope, drop, send))
    assert sent[0]["status"] == 408


def test_who_hangs_up_is_no_failure(caplog):
    async def hung_up(scope, receive, send):
        raise ClientDisconnect

    with pytest.raises(IndexError):
        call(hung_up, limits.Door(SMALL, 2))
    assert not caplog.text


def test_what_fails_is_an_answer_without_details(caplog):
    async def failing(scope, receive, send):
        raise ValueError("/secret/path")

    status, body = call(failing, limits.Door(SMALL, 2))
    assert status == 500 and json.loads(body)["error"] == "The server failed on this request; its log says why."
    assert "/secret/path" in caplog.text


def test_who_is_cut_off_is_counted():
    door = limits.Door(SMALL, 2)

    async def cut():
        with door.admitted():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut())
    assert door.cut_off == 1


def test_nothing_is_sent_but_recordings():
    for path in ("/v2/repository/models/x/unload", "/v2/models/x/infer", "/v1/models/x:explain", "/"):
        assert call(read, limits.Door(SMALL, 2), path=path)[0] == 404
    for path in ("/v1/models/infer:predict", "/v1/models/repository/versions/1:predict"):
        assert call(read, limits.Door(SMALL, 2), path=path) == (200, b"1")
    assert call(read, limits.Door(SMALL, 2), path="/v2/models/infer", method="GET")[0] == 200

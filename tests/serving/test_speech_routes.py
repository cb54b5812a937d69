"""`POST /speak` over ASGI: streamed audio, headers, errors, and clients that disconnect."""

import asyncio
import contextlib
import io
import json

import pytest
import soundfile
from server import call_asgi

pytest.importorskip("fastapi", reason="needs the extra serve")

import prometheus_client
from starlette.requests import ClientDisconnect

from tfvoice.audio import io as audio_io
from tfvoice.serving import app as app_module
from tfvoice.serving.limits import AdmissionController
from tfvoice.serving.service import ServerLimits
from tfvoice.serving.speech import SpeechService
from tfvoice.serving.speech_routes import SpeechResponse
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions


@pytest.fixture(scope="module")
def speaker(voice_run):
    return Speaker(voice_run, threads=1)


@pytest.fixture
def app(speaker):
    limits = ServerLimits(max_mib=1, max_characters=200)
    speech = SpeechService({"noise": speaker}, limits)
    return app_module.create_app(None, AdmissionController(limits, speech.capacity), speech)


def post(app, **values):
    return call_asgi(app, "/speak", (json.dumps(values).encode(),))


def get(app, path):
    return call_asgi(app, path, (b"",), method="GET")


def responses(status):
    return prometheus_client.REGISTRY.get_sample_value("tfvoice_answers_total", {"status": str(status)}) or 0


def test_a_text_is_spoken_in_every_format(app, speaker):
    options = SpeechOptions(speed=2.0, seed=3)
    pcm = audio_io.to_pcm16(speaker.speak(speaker.plan("A cat.", options), options))
    status, body = post(app, text="A cat.", speed=2, seed=3)
    assert status == 200 and body == audio_io.streamed_wav_header(16000, len(pcm)) + pcm.astype("<i2").tobytes()
    assert post(app, text="A cat.", speed=2, seed=3, format="raw") == (200, body[44:])
    flac = soundfile.read(io.BytesIO(post(app, text="A cat.", speed=2, seed=3, format="flac")[1]), dtype="int16")[0]
    assert flac.tolist() == pcm.tolist()
    for format in ("mp3", "opus"):
        assert soundfile.info(io.BytesIO(post(app, text="A cat.", format=format)[1])).samplerate in (16000, 48000)
    content = json.loads(post(app, text="A cat.", format="json")[1])
    assert [word["word"] for word in content["words"]] == ["a", "cat"]


def test_the_response_is_sent_in_pieces_with_headers(app):
    sent, messages = [], [{"type": "http.request", "body": b'{"text": "A cat. \\ud83d\\ude00"}', "more_body": False}]

    async def receive():
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/speak", "method": "POST", "headers": (), "query_string": b""}
    asyncio.run(app(scope, receive, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"] == b"audio/wav" and b"content-length" not in headers
    assert json.loads(headers[b"speech-unspoken"]) == [["\U0001f600", 7]]
    assert json.loads(headers[b"speech-voice"]) == "noise"
    samples = (sum(len(message["body"]) for message in sent[1:]) - 44) // 2
    assert float(headers[b"speech-seconds"]) == pytest.approx(samples / 16000, abs=1e-3)
    assert len(sent) > 4 and [message["more_body"] for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


INVALID = {
    "no JSON": (b"text=hello", 400),
    "nothing": (b"", 400),
    "empty text": (b'{"text": ""}', 400),
    "NaN": (b'{"text": "a", "speed": NaN}', 400),
    "a huge number": (b'{"text": "a", "speed": 1' + b"0" * 400 + b"}", 400),
    "an infinite number": (b'{"text": "a", "speed": 1e999}', 400),
    "a wrong type": (b'{"text": ["a"]}', 400),
    "another voice": (b'{"text": "a", "voice": "anna"}', 404),
    "an unknown phoneme": (b'{"phonemes": "QQ"}', 400),
    "another language": ('{"text": "Привет"}'.encode(), 400),
    "a long text": (b'{"text": "' + b"a " * 200 + b'"}', 413),
    "a text of a megabyte": (b'{"text": "' + b"a" * 2**20 + b'"}', 413),
}


@pytest.mark.parametrize(("body", "status"), INVALID.values(), ids=INVALID)
def test_errors_are_sentences(app, body, status):
    found, response = call_asgi(app, "/speak", (body,))
    sentence = json.loads(response)["error"]
    assert found == status and len(sentence) > 10 and "Error" not in sentence and "/" not in sentence


def test_the_pages_and_lists_of_a_server_without_a_recogniser(app):
    assert get(app, "/") == get(app, "/speak") and b"<textarea" in get(app, "/")[1]
    assert json.loads(get(app, "/about")[1]) == {"voices": ["noise"], "max_characters": 200}
    models = json.loads(get(app, "/v1/models")[1])
    assert models["models"] == ["noise"] and models["object"] == "list"
    assert models["data"] == [{"id": "noise", "object": "model", "created": 0, "owned_by": "tfvoice"}]
    assert json.loads(get(app, "/v1/models/noise")[1])["id"] == "noise"
    assert json.loads(get(app, "/v2/models/noise/ready")[1])["ready"] and get(app, "/v2/models/x/ready")[0] == 404
    assert call_asgi(app, "/transcribe")[0] == 404


def test_a_client_that_disconnects_stops_the_response():
    closed, sent = [], []

    async def pieces():
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def receive():
        while len(sent) < 2:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    with pytest.raises(ClientDisconnect):
        asyncio.run(SpeechResponse(pieces(), "audio/wav")({}, receive, send))
    assert closed and sent[1]["body"] == b"first"


def test_a_disconnect_is_counted_as_such(app):
    before, failed = responses(499), responses(500)
    messages = [
        {"type": "http.request", "body": b'{"text": "A cat."}', "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0.01)

    scope = {"type": "http", "path": "/speak", "method": "POST", "headers": (), "query_string": b""}
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(app(scope, receive, send))
    assert responses(499) == before + 1 and responses(500) == failed

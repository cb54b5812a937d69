"""The routes of OpenAI's API: the wire form, and OpenAI's own client where it is installed."""

import io
import json

import numpy as np
import pytest
import soundfile
from samples import audio
from server import fetch, serving

pytest.importorskip("fastapi", reason="needs the extra serve")

from tfvoice.audio import io as audio_io
from tfvoice.serving import app as app_module
from tfvoice.serving.limits import AdmissionController
from tfvoice.serving.predictor import Predictor
from tfvoice.serving.service import ServerLimits, Service
from tfvoice.serving.speech import SpeechService
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions

LIMITS = ServerLimits(max_mib=1, max_seconds=8)


@pytest.fixture(scope="module")
def speaker(voice_run):
    return Speaker(voice_run, threads=1)


@pytest.fixture(scope="module")
def port(exported, speaker):
    """A server of a recogniser and a voice."""
    service, speech = Service(Predictor(exported[1]), LIMITS), SpeechService({"noise": speaker}, LIMITS)
    app = app_module.create_app(service, AdmissionController(LIMITS, 99), speech)
    with serving(app, app_module._uvicorn_config) as port:
        yield port


def spoken(speaker, text, options=SpeechOptions()):  # noqa: B008 - immutable
    return audio_io.to_pcm16(speaker.speak(speaker.plan(text, options), options)).astype("<i2").tobytes()


def post_json(port, **values):
    return fetch(port, "/v1/audio/speech", json.dumps(values), {"Content-Type": "application/json"})


def form(fields, data=None):
    """The body of a form, and its headers."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    if data is not None:
        parts.append(b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + data)
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=x"}


def transcribe(port, data, *fields):
    return fetch(port, "/v1/audio/transcriptions", *form([("model", "whisper-1"), *fields], data))


def test_speech_in_the_formats_of_openai(port, speaker):
    request = {"model": "tts-1", "input": "A cat.", "voice": "alloy", "speed": 2.0}
    pcm = spoken(speaker, "A cat.", SpeechOptions(speed=2.0))
    assert post_json(port, **request, response_format="wav") == (
        200,
        audio_io.streamed_wav_header(16000, len(pcm) // 2) + pcm,
    )
    status, mp3 = post_json(port, **request)
    assert status == 200 and soundfile.info(io.BytesIO(mp3)).format == "MP3"
    status, raw = post_json(port, **request, response_format="pcm")
    assert status == 200 and len(raw) == len(pcm) * 3 // 2
    status, events = post_json(port, **request, response_format="wav", stream_format="sse")
    assert status == 200 and events.count(b"speech.audio.delta") > 1 and b'"speech.audio.done"' in events


def test_transcripts_in_the_formats_of_openai(port):
    data = audio()
    expected = json.loads(fetch(port, "/transcribe", data)[1])
    assert json.loads(transcribe(port, data)[1]) == {"text": expected["text"]}
    assert transcribe(port, data, ("response_format", "text"))[1].decode() == expected["text"] + "\n"
    for format in ("srt", "vtt"):
        assert transcribe(port, data, ("response_format", format)) == fetch(port, f"/transcribe?format={format}", data)
    fields = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word"), ("language", "en")]
    verbose = json.loads(transcribe(port, data, *fields)[1])
    assert verbose["words"] == expected["words"] and verbose["duration"] == expected["seconds"]
    assert verbose["language"] == "en" and "segments" not in verbose


SPEECH_ERRORS = {
    "no JSON": (b"{", 400, None),
    "no input": (b'{"model": "tts-1", "voice": "alloy"}', 400, "input"),
    "empty": (b'{"model": "tts-1", "voice": "alloy", "input": ""}', 400, None),
    "another voice": (b'{"model": "tts-1", "voice": "anna", "input": "A cat."}', 404, "voice"),
    "another model": (b'{"model": "tts-9", "voice": "alloy", "input": "A cat."}', 404, "model"),
    "aac": (b'{"model": "tts-1", "voice": "alloy", "input": "A", "response_format": "aac"}', 400, "response_format"),
    "a long text": (b'{"model": "tts-1", "voice": "alloy", "input": "' + b"a " * 3000 + b'"}', 413, None),
    "a large body": (b'{"model": "tts-1", "voice": "alloy", "input": "' + b"a" * 2**20 + b'"}', 413, None),
}


def check_error(status, body, expected, field):
    error = json.loads(body)["error"]
    assert status == expected and set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) > 10 and error["type"] == "invalid_request_error" and error["param"] == field


@pytest.mark.parametrize(("body", "status", "field"), SPEECH_ERRORS.values(), ids=SPEECH_ERRORS)
def test_errors_of_speech_have_the_form_of_openai(port, body, status, field):
    check_error(*fetch(port, "/v1/audio/speech", body), status, field)


TRANSCRIPTION_ERRORS = {
    "no form": ((b"x", {}), 400, "file"),
    "no file": (form([("model", "whisper-1")]), 400, "file"),
    "no model": (form([], audio()), 400, "model"),
    "no audio": (form([("model", "whisper-1")], b"noise"), 400, None),
    "an empty file": (form([("model", "whisper-1")], b""), 400, None),
    "too long": (form([("model", "whisper-1")], audio(9, 8000)), 413, None),
    "streamed": (form([("model", "whisper-1"), ("stream", "true")], audio()), 400, "stream"),
    "a damaged form": ((b"--y\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=x"}), 400, None),
}


@pytest.mark.parametrize(("request_", "status", "field"), TRANSCRIPTION_ERRORS.values(), ids=TRANSCRIPTION_ERRORS)
def test_errors_of_transcriptions_have_the_form_of_openai(port, request_, status, field):
    found, body = fetch(port, "/v1/audio/transcriptions", *request_)
    error = json.loads(body)["error"]
    if request_[0].startswith(b"--y"):
        field = error["param"]
    check_error(found, body, status, field)


def test_unknown_paths_have_it_too(port):
    status, body = fetch(port, "/v1/audio/translations", b"x")
    assert status == 404 and json.loads(body)["error"]["type"] == "invalid_request_error"


def test_models_are_listed_in_both_forms(port):
    content = json.loads(fetch(port, "/v1/models")[1])
    assert content["models"] == ["english", "noise"] and content["object"] == "list"
    assert [model["id"] for model in content["data"]] == ["english", "noise"]
    for name in ("english", "noise"):
        found = json.loads(fetch(port, f"/v1/models/{name}")[1])
        assert (found["id"], found["object"], found["ready"]) == (name, "model", True)


def test_what_a_server_does_not_have_is_an_error_with_its_flag(speaker):
    for service, speech, path, flag in (
        (None, SpeechService({"noise": speaker}, LIMITS), "transcriptions", "--model=DIR"),
        (None, None, "speech", "--voice=DIR"),
    ):
        app = app_module.create_app(service, AdmissionController(LIMITS, 9), speech)
        with serving(app, app_module._uvicorn_config) as port:
            status, body = fetch(port, f"/v1/audio/{path}", b"x")
            assert status == 404 and flag in json.loads(body)["error"]["message"]


@pytest.fixture(scope="module")
def client(port):
    openai = pytest.importorskip("openai", reason="needs OpenAI's client")
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)


def test_openais_client_speaks(client, speaker, tmp_path):
    request = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": "A cat."}
    pcm = spoken(speaker, "A cat.")
    made = client.audio.speech.create(**request, response_format="wav", instructions="Be glad.")
    assert made.content[44:] == pcm
    for format in ("mp3", "opus", "flac"):
        with client.audio.speech.with_streaming_response.create(**request, response_format=format) as response:
            response.stream_to_file(tmp_path / f"speech.{format}")
        samples = audio_io.read(tmp_path / f"speech.{format}", 16000)
        assert len(samples) == pytest.approx(len(pcm) / 2, abs=3000)
    with client.audio.speech.with_streaming_response.create(**request, response_format="pcm") as response:
        pieces = list(response.iter_bytes())
    assert len(b"".join(pieces)) == len(pcm) * 3 // 2
    slow = client.audio.speech.create(**request, response_format="wav", speed=0.5, extra_body={"seed": 3})
    assert len(slow.content) == pytest.approx(2 * len(pcm), abs=300)


def test_openais_client_transcribes(client):
    data = audio()
    made = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", data))
    assert len(made.text) > 3
    for format in ("text", "srt", "vtt"):
        text = client.audio.transcriptions.create(model="english", file=("a.wav", data), response_format=format)
        assert made.text.split()[0] in text
    verbose = client.audio.transcriptions.create(
        model="whisper-1", file=io.BytesIO(data), response_format="verbose_json", prompt="x", language="en",
        timestamp_granularities=["word", "segment"],
    )  # fmt: skip
    assert verbose.text == made.text and [word.word for word in verbose.words] == made.text.split()
    assert " ".join(segment.text for segment in verbose.segments) == made.text
    assert np.isfinite(verbose.segments[0].avg_logprob) and verbose.duration == pytest.approx(1.0)


def test_openais_client_gets_its_errors_and_lists_models(client):
    openai = pytest.importorskip("openai")
    assert [model.id for model in client.models.list()] == ["english", "noise"]
    assert client.models.retrieve("noise").owned_by == "tfvoice"
    with pytest.raises(openai.NotFoundError, match="no such voice") as missing:
        client.audio.speech.create(model="tts-1", voice="anna", input="A cat.")
    assert missing.value.param == "voice" and missing.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.audio.speech.create(model="tts-1", voice="alloy", input="A cat.", response_format="aac")
    with pytest.raises(openai.BadRequestError, match="not an audio file"):
        client.audio.transcriptions.create(model="whisper-1", file=b"noise")

"""The service without HTTP: TensorFlow Serving's forms, and a sentence for each invalid request."""

import asyncio
import base64
import errno
import io
import json
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from samples import audio

from tfvoice.asr.transcript import Transcript
from tfvoice.serving import service as service_module
from tfvoice.serving.predictor import Predictor
from tfvoice.serving.service import RequestError, ServerLimits, Service


@pytest.fixture(scope="module")
def service(exported):
    return Service(Predictor(exported[1]), ServerLimits(max_seconds=4.0))


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def predict(service, payload):
    return asyncio.run(service.predict(json.dumps(payload).encode()))


def test_requests_by_rows_and_by_columns_get_the_same_predictions(service):
    files = [audio(seconds, seed=number) for number, seconds in enumerate((1.0, 2.5, 0.3))]
    rows = predict(service, {"instances": [b64(data) for data in files]})["predictions"]
    assert [row["text"] for row in rows] == [asyncio.run(service.transcribe(data)).text for data in files]
    assert all(row["words"] == row["text"].split() and row["word_count"] == len(row["words"]) for row in rows)
    for name in ("serving_default", "wav", "", None):
        named = {"signature_name": name, "instances": [{"wav": b64(data)} for data in files]}
        assert predict(service, named) == {"predictions": rows}
    columns = predict(service, {"inputs": {"wav": [b64(data) for data in files]}})["outputs"]
    assert columns == {name: [row[name] for row in rows] for name in rows[0]}
    assert predict(service, {"inputs": [b64(files[0])]})["outputs"]["text"] == [rows[0]["text"]]


def test_a_waveform_gets_the_prediction_of_its_file(service):
    data = audio(1.5)
    samples = soundfile.read(io.BytesIO(data), dtype="float32")[0].tolist()
    expected = predict(service, {"instances": [b64(data)]})
    instance = {"waveform": [*samples, 0.9, 0.9], "samples": len(samples)}
    assert predict(service, {"signature_name": "waveform", "instances": [instance]}) == expected
    assert predict(service, {"instances": [{"waveform": []}]})["predictions"][0]["text"] == ""


def test_log_probabilities_are_those_of_the_signature(service, exported):
    waveforms = [soundfile.read(io.BytesIO(audio(seconds)), dtype="float32")[0] for seconds in (1.5, 0.7)]
    rows = [{"waveform": waveform.tolist()} for waveform in waveforms]
    found = predict(service, {"signature_name": "log_probs", "instances": rows})["predictions"]
    model = tf.saved_model.load(str(exported[1] / "2"))
    for row, waveform in zip(found, waveforms, strict=True):
        expected = model.signatures["log_probs"](waveform=waveform[np.newaxis], samples=np.int32([len(waveform)]))
        assert row["frames"] == expected["frames"].numpy()[0] == len(row["log_probs"])
        np.testing.assert_allclose(row["log_probs"], expected["log_probs"].numpy()[0], atol=1e-3)
    columns = {"waveform": [row["waveform"] for row in rows], "samples": [len(waveforms[0]), 8000]}
    outputs = predict(service, {"signature_name": "log_probs", "inputs": columns})["outputs"]
    assert outputs["log_probs"][0] == found[0]["log_probs"] and outputs["frames"][1] < found[1]["frames"]


@pytest.mark.parametrize("options", [{"format": "FLAC"}, {"format": "OGG", "subtype": "VORBIS"}, {"rate_hz": 44100}])
def test_other_formats_and_rates_are_decoded(service, options):
    assert asyncio.run(service.transcribe(audio(**options))).seconds == pytest.approx(1.0, abs=0.01)


def float_file(*samples):
    data = io.BytesIO()
    soundfile.write(data, np.array(samples), 16000, "FLOAT", format="WAV")
    return data.getvalue()


def channels(*factors):
    data, noise = io.BytesIO(), np.random.default_rng(0).normal(0, 0.1, [1000, 1])
    soundfile.write(data, noise * factors, 16000, "PCM_16", format="WAV")
    return data.getvalue()


needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def encoded(*options):
    """Two seconds of speech-like noise as ffmpeg encodes it to a pipe, as a browser does."""
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", *options, "pipe:1"]
    return subprocess.run(command, input=audio(2.0), stdout=subprocess.PIPE, check=True).stdout


FOREIGN = {
    "WebM": ("-c:a", "libopus", "-f", "webm"),
    "m4a": ("-c:a", "aac", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov"),
    "AAC": ("-c:a", "aac", "-f", "adts"),
    "Matroska": ("-c:a", "flac", "-f", "matroska"),
}


@needs_ffmpeg
@pytest.mark.parametrize("options", FOREIGN.values(), ids=FOREIGN)
def test_recordings_of_browsers_and_phones_are_decoded(service, options):
    data = encoded(*options)
    transcript = asyncio.run(service.transcribe(data))
    assert transcript.seconds == pytest.approx(2.0, abs=0.15) and transcript.text
    assert predict(service, {"instances": [b64(data)]})["predictions"][0]["text"] == transcript.text


@needs_ffmpeg
def test_a_recording_that_is_not_finished_has_the_text_of_what_there_is(service):
    data = encoded(*FOREIGN["WebM"])
    assert 0.5 < asyncio.run(service.transcribe(data[: len(data) // 2])).seconds < 1.6
    assert 0.5 < asyncio.run(service.transcribe(audio(2.0)[:40000])).seconds < 1.6
    lossy = audio(2.0, format="MP3", subtype="MPEG_LAYER_III")
    assert 0.5 < asyncio.run(service.transcribe(lossy[: len(lossy) // 2])).seconds < 1.6


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCATENATION = b"ffconcat version 1.0\nfile /etc/passwd\n"


@needs_ffmpeg
@pytest.mark.parametrize("data", [PLAYLIST, CONCATENATION, bytes(5000), b"\x1aE\xdf\xa3" + bytes(99)])
def test_other_files_are_not_opened(service, data):
    with pytest.raises(RequestError, match="not an audio file, or it is damaged") as rejected:
        asyncio.run(service.transcribe(data))
    assert rejected.value.status == 400


@needs_ffmpeg
def test_foreign_files_have_the_same_limits(service, monkeypatch):
    long = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "anoisesrc=d=5:a=0.1", *FOREIGN["WebM"], "pipe:1"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    with pytest.raises(RequestError, match="longer than 4 s") as rejected:
        asyncio.run(service.transcribe(long))
    assert rejected.value.status == 413
    monkeypatch.setattr(service_module, "_DECODER_SECONDS", 0.001)
    with pytest.raises(RequestError, match="too much time or memory"):
        asyncio.run(service.transcribe(encoded(*FOREIGN["WebM"])))


INVALID = {
    "a list": ([1], 400, "must be a JSON object"),
    "null": (None, 400, "must be a JSON object"),
    "no instances": ({}, 400, "instances \\(or inputs\\) must be a list of 1 to 64"),
    "instances that are not a list": ({"instances": 3}, 400, "must be a list of 1 to 64"),
    "an empty list": ({"instances": []}, 400, "must be a list of 1 to 64"),
    "too many": ({"instances": [{}] * 65}, 400, "must be a list of 1 to 64"),
    "a number": ({"instances": [3]}, 400, 'An instance must be {"b64": "..."}'),
    "b64 that is not a string": ({"instances": [{"b64": 3}]}, 400, "An instance must be"),
    "not base64": ({"instances": [{"b64": "äöü!"}]}, 400, "not base64"),
    "unknown signature": ({"signature_name": "x", "instances": [{}]}, 400, "no signature of that name"),
    "inputs that are not lists": ({"inputs": {"wav": 3}}, 400, "Each of the inputs must be a list"),
    "inputs of different lengths": ({"inputs": {"waveform": [[0]], "samples": []}}, 400, "The inputs differ in length"),
    "no inputs": ({"inputs": {}}, 400, "Each of the inputs must be a list"),
    "a string as waveform": ({"instances": [{"waveform": "loud"}]}, 400, "must be a list of numbers"),
    "strings as numbers": ({"instances": [{"waveform": ["0.1", "0.2"]}]}, 400, "must be a list of numbers"),
    "booleans": ({"instances": [{"waveform": [True, False]}]}, 400, "must be a list of numbers"),
    "a boolean as count": ({"instances": [{"waveform": [0.1], "samples": True}]}, 400, "must be a list of"),
    "a huge integer": ({"instances": [{"waveform": [10**400]}]}, 400, "must be a list of numbers"),
    "larger than float32": ({"instances": [{"waveform": [1e300]}]}, 400, "not finite"),
    "a huge amplitude": ({"instances": [{"waveform": [0.1, 1e30]}]}, 400, "beyond 8; full scale is 1"),
    "a huge amplitude in a file": ({"instances": [b64(float_file(0.1, -1e30))]}, 400, "full scale"),
    "a matrix": ({"instances": [{"waveform": [[0.1]]}]}, 400, "must be a list of numbers"),
    "ragged": ({"instances": [{"waveform": [[0.1], 3]}]}, 400, "must be a list of numbers"),
    "many lists": ({"instances": [{"waveform": [[]] * 1100}]}, 400, "too many lists and objects for 64 recordings"),
    "a negative count": ({"instances": [{"waveform": [0.1], "samples": -1}]}, 400, "must be a list of numbers"),
    "a string as count": ({"instances": [{"waveform": [0.1], "samples": "one"}]}, 400, "must be a list of numbers"),
    "infinite": ({"instances": [{"waveform": [float("inf")]}]}, 400, "not finite"),
    "too many numbers": ({"instances": [{"waveform": [0.0] * 64001}]}, 413, "longer than 4 s"),
    "an empty file": ({"instances": [b64(b"")]}, 400, "The audio file is empty"),
    "random bytes": ({"instances": [b64(bytes(range(256)) * 9)]}, 400, "not an audio file, or it is damaged"),
    "a header alone": ({"instances": [b64(audio()[:44])]}, 400, "has no samples"),
    "half a header": ({"instances": [b64(audio()[:30])]}, 400, "not an audio file, or it is damaged"),
    "NaN in a file": ({"instances": [b64(float_file(0.1, np.nan, 0.2))]}, 400, "not finite"),
    "a file for log_probs": (
        {"signature_name": "log_probs", "instances": [b64(audio())]},
        *(400, 'log_probs must be .*"waveform"'),
    ),
    "a signature that is a list": ({"signature_name": ["wav"], "instances": [b64(audio())]}, 400, "no signature"),
    "the signature of a stream": ({"signature_name": "stream", "instances": [{}]}, 400, "no signature of that name"),
    "many channels": ({"instances": [b64(channels(*[0] * 17))]}, 400, "more than 16 channels"),
    "opposite channels": ({"instances": [b64(channels(1, -1))]}, 400, "channels of opposite signs, which cancel"),
    "a long file": ({"instances": [b64(audio(4.5))]}, 413, "longer than 4 s; cut it"),
}


@pytest.mark.parametrize("payload, status, fact", INVALID.values(), ids=INVALID)
def test_an_invalid_request_gets_a_sentence_without_internals(service, payload, status, fact):
    with pytest.raises(RequestError, match=fact) as rejected:
        predict(service, payload)
    assert rejected.value.status == status
    assert "/" not in str(rejected.value) and "Error" not in str(rejected.value)


class SlowPredictor:
    """A model that takes half a second for an empty transcript."""

    sample_rate_hz = 16000

    def bucket(self, samples):
        return samples

    def transcribe(self, waveforms):
        time.sleep(0.5)
        return [Transcript(0.0, "", None, []) for _ in waveforms]


def test_a_full_queue_rejects_requests():
    service = Service(SlowPredictor(), ServerLimits(max_waiting=3, batch_size=1))
    body = json.dumps({"instances": [{"waveform": [0.1] * 100}]}).encode()

    async def predict_all():
        return await asyncio.gather(*(service.predict(body) for _ in range(8)), return_exceptions=True)

    results = asyncio.run(predict_all())
    rejected = [result for result in results if isinstance(result, RequestError)]
    # Room for two that are computed and three that wait, reserved before they are decoded.
    assert len(rejected) == 3 and all(error.status == 429 and "try again" in str(error) for error in rejected)
    assert all(result["predictions"] for result in results if result not in rejected)


def test_a_request_larger_than_the_queue_is_invalid_rather_than_early():
    payload = {"instances": [{"waveform": [0.1] * 100}] * 6}
    with pytest.raises(RequestError, match="a list of 1 to 5 recordings") as rejected:
        predict(Service(SlowPredictor(), ServerLimits(max_waiting=3, batch_size=1)), payload)
    assert rejected.value.status == 400


def test_parsed_json_is_freed_while_the_waveforms_wait(monkeypatch):
    references, parsed, loads = [], [], json.loads

    async def submit(waveforms, signature):
        references.append(sys.getrefcount(parsed[0]))
        return [Transcript(0.0, "", None, []) for _ in waveforms]

    monkeypatch.setattr(service_module.json, "loads", lambda body: parsed.append(loads(body)) or parsed[0])
    service = Service(SlowPredictor(), ServerLimits())
    monkeypatch.setattr(service, "_submit", submit)
    asyncio.run(service.predict(b'{"instances": [{"waveform": [0.1, 0.2]}]}'))
    # The list of this test, and the argument of getrefcount.
    assert references == [2]


@pytest.mark.parametrize(
    "payload",
    [{"instances": [{"waveform": ["a" * 20_000] + ["b"] * 1000}]}, {"inputs": {"waveform": [0] * 200_000}}],
    ids=["strings of unequal lengths", "a column of numbers"],
)
def test_a_small_body_takes_little_memory(payload):
    service = Service(SlowPredictor(), ServerLimits())
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="must be a list"):
            predict(service, payload)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_files_that_ffmpeg_decodes_slowly_do_not_delay_waveforms(monkeypatch):
    service, decoded = Service(SlowPredictor(), ServerLimits()), threading.Event()
    monkeypatch.setattr(service, "_decode_known", lambda data: data)
    monkeypatch.setattr(service, "_decode_foreign", lambda data: decoded.wait(60) and np.zeros(9, np.float32))
    file, waveform = (json.dumps({"instances": [one]}).encode() for one in (b64(b"x"), {"waveform": [0.1]}))

    async def predict_all():
        slow = [asyncio.ensure_future(service.predict(file)) for _ in range(4)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(service.predict(waveform), 30)
        assert not any(one.done() for one in slow)
        decoded.set()
        await asyncio.gather(*slow)

    try:
        asyncio.run(predict_all())
    finally:
        decoded.set()


def test_a_full_disk_is_not_an_error_of_the_client(service, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(service, "_decode_known", lambda data: data)
    monkeypatch.setattr(service_module.audio_io, "decode_untrusted", full)
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(service.transcribe(b"x"))


def test_each_batch_is_reported():
    batches = []
    service = Service(SlowPredictor(), ServerLimits(), batches.append)
    predict(service, {"instances": [{"waveform": [0.1]}, {"waveform": [0.2]}]})
    assert [len(transcripts) for transcripts in batches] == [2]

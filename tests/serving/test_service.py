"""What the server answers, apart from HTTP: TensorFlow Serving's forms, and a sentence for whatever is wrong."""

import asyncio
import base64
import io
import json
import sys
import time

import numpy as np
import pytest
import soundfile

from tfvoice.asr.transcript import Transcript
from tfvoice.serving import service as service_
from tfvoice.serving.predictor import Served
from tfvoice.serving.service import Limits, Refused, Service


@pytest.fixture(scope="module")
def service(exported):
    return Service(Served(exported[1]), Limits(seconds=4.0))


def audio(seconds=1.0, rate_hz=16000, seed=0, **options):
    """Noise as a WAV file, or as `options` say."""
    data = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate_hz))
    soundfile.write(data, samples, rate_hz, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return data.getvalue()


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def predict(service, payload):
    return asyncio.run(service.predict(json.dumps(payload).encode()))


def test_rows_and_columns_are_answered_as_they_were_asked(service):
    files = [audio(seconds, seed=number) for number, seconds in enumerate((1.0, 2.5, 0.3))]
    rows = predict(service, {"instances": [b64(data) for data in files]})["predictions"]
    assert [row["text"] for row in rows] == [asyncio.run(service.transcribe(data)).text for data in files]
    assert all(row["words"] == row["text"].split() and row["word_count"] == len(row["words"]) for row in rows)
    for name in ("serving_default", "wav"):
        named = {"signature_name": name, "instances": [{"wav": b64(data)} for data in files]}
        assert predict(service, named) == {"predictions": rows}
    columns = predict(service, {"inputs": {"wav": [b64(data) for data in files]}})["outputs"]
    assert columns == {name: [row[name] for row in rows] for name in rows[0]}
    assert predict(service, {"inputs": [b64(files[0])]})["outputs"]["text"] == [rows[0]["text"]]


def test_numbers_are_read_like_a_file(service):
    data = audio(1.5)
    samples = soundfile.read(io.BytesIO(data), dtype="float32")[0].tolist()
    wanted = predict(service, {"instances": [b64(data)]})
    given = {"waveform": [*samples, 0.9, 0.9], "samples": len(samples)}
    assert predict(service, {"signature_name": "waveform", "instances": [given]}) == wanted
    assert predict(service, {"instances": [{"waveform": []}]})["predictions"][0]["text"] == ""


@pytest.mark.parametrize("options", [{"format": "FLAC"}, {"format": "OGG", "subtype": "VORBIS"}, {"rate_hz": 44100}])
def test_other_formats_and_rates_are_read(service, options):
    assert asyncio.run(service.transcribe(audio(**options))).seconds == pytest.approx(1.0, abs=0.01)


def float_file(*samples):
    data = io.BytesIO()
    soundfile.write(data, np.array(samples), 16000, "FLOAT", format="WAV")
    return data.getvalue()


def channels(count):
    data = io.BytesIO()
    soundfile.write(data, np.zeros([100, count]), 16000, "PCM_16", format="WAV")
    return data.getvalue()


WRONG = {
    "a list": ([1], 400, "must be a JSON object"),
    "nothing": (None, 400, "must be a JSON object"),
    "no instances": ({}, 400, "instances \\(or inputs\\) must be a list of 1 to 64"),
    "instances of no list": ({"instances": 3}, 400, "must be a list of 1 to 64"),
    "no instance": ({"instances": []}, 400, "must be a list of 1 to 64"),
    "too many": ({"instances": [{}] * 65}, 400, "must be a list of 1 to 64"),
    "a number": ({"instances": [3]}, 400, 'An instance must be {"b64": "..."}'),
    "b64 of no text": ({"instances": [{"b64": 3}]}, 400, "An instance must be"),
    "no base64": ({"instances": [{"b64": "äöü!"}]}, 400, "not base64"),
    "another signature": ({"signature_name": "x", "instances": [{}]}, 400, "no signature of that name"),
    "inputs of no list": ({"inputs": {"wav": 3}}, 400, "Each of the inputs must be a list"),
    "uneven inputs": ({"inputs": {"waveform": [[0]], "samples": []}}, 400, "The inputs differ in length"),
    "no inputs": ({"inputs": {}}, 400, "Each of the inputs must be a list"),
    "text for numbers": ({"instances": [{"waveform": "loud"}]}, 400, "must be a list of numbers"),
    "texts for numbers": ({"instances": [{"waveform": ["0.1", "0.2"]}]}, 400, "must be a list of numbers"),
    "truth values": ({"instances": [{"waveform": [True, False]}]}, 400, "must be a list of numbers"),
    "a truth value for a count": ({"instances": [{"waveform": [0.1], "samples": True}]}, 400, "must be a list of"),
    "a number without end": ({"instances": [{"waveform": [10**400]}]}, 400, "must be a list of numbers"),
    "larger than float32": ({"instances": [{"waveform": [1e300]}]}, 400, "not finite"),
    "far too loud": ({"instances": [{"waveform": [0.1, 1e30]}]}, 400, "beyond 10000; full scale is 1"),
    "a file far too loud": ({"instances": [b64(float_file(0.1, -1e30))]}, 400, "beyond 10000; full scale is 1"),
    "a matrix": ({"instances": [{"waveform": [[0.1]]}]}, 400, "must be a list of numbers"),
    "ragged": ({"instances": [{"waveform": [[0.1], 3]}]}, 400, "must be a list of numbers"),
    "a negative count": ({"instances": [{"waveform": [0.1], "samples": -1}]}, 400, "must be a list of numbers"),
    "a count in words": ({"instances": [{"waveform": [0.1], "samples": "one"}]}, 400, "must be a list of numbers"),
    "infinite": ({"instances": [{"waveform": [float("inf")]}]}, 400, "not finite"),
    "too many numbers": ({"instances": [{"waveform": [0.0] * 64001}]}, 413, "longer than 4 s"),
    "an empty file": ({"instances": [b64(b"")]}, 400, "The audio file is empty"),
    "random bytes": ({"instances": [b64(bytes(range(256)) * 9)]}, 400, "no audio file, or a damaged one"),
    "a header alone": ({"instances": [b64(audio()[:44])]}, 400, "has no samples"),
    "half a header": ({"instances": [b64(audio()[:30])]}, 400, "no audio file, or a damaged one"),
    "NaN in a file": ({"instances": [b64(float_file(0.1, np.nan, 0.2))]}, 400, "not finite"),
    "many channels": ({"instances": [b64(channels(17))]}, 400, "more than 16 channels"),
    "a long file": ({"instances": [b64(audio(4.5))]}, 413, "longer than 4 s; cut it"),
}


@pytest.mark.parametrize("payload, status, fact", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_and_nothing_of_this_machine(service, payload, status, fact):
    with pytest.raises(Refused, match=fact) as refused:
        predict(service, payload)
    assert refused.value.status == status
    assert "/" not in str(refused.value) and "Error" not in str(refused.value)


class Slow:
    """A model that takes half a second and reads nothing."""

    sample_rate_hz = 16000

    def bucket(self, samples):
        return samples

    def read(self, waves):
        time.sleep(0.5)
        return [Transcript(0.0, "", None, []) for _ in waves]


def test_a_full_queue_refuses():
    service = Service(Slow(), Limits(waiting=3, rows=1))

    async def ask():
        one = json.dumps({"instances": [{"waveform": [0.1] * 100}]}).encode()
        return await asyncio.gather(*(service.predict(one) for _ in range(8)), return_exceptions=True)

    found = asyncio.run(ask())
    refused = [one for one in found if isinstance(one, Refused)]
    # There is room for two that are read and three that wait, from before they are decoded.
    assert len(refused) == 3 and all(one.status == 429 and "try again" in str(one) for one in refused)


def test_what_would_never_find_room_is_not_asked_to_try_again():
    many = {"instances": [{"waveform": [0.1] * 100}] * 6}
    with pytest.raises(Refused, match="a list of 1 to 5 recordings") as refused:
        predict(Service(Slow(), Limits(waiting=3, rows=1)), many)
    assert refused.value.status == 400


def test_what_waits_is_waves_and_not_what_they_were_parsed_from(monkeypatch):
    seen = []

    async def read(waves):
        seen.append(sys.getrefcount(parsed[0]))
        return [Transcript(0.0, "", None, []) for _ in waves]

    parsed = []
    loads = json.loads
    monkeypatch.setattr(service_.json, "loads", lambda body: parsed.append(loads(body)) or parsed[0])
    service = Service(Slow(), Limits())
    monkeypatch.setattr(service, "_read", read)
    asyncio.run(service.predict(b'{"instances": [{"waveform": [0.1, 0.2]}]}'))
    # The list of this test, and the argument of the count.
    assert seen == [2]

"""TensorFlow Serving's gRPC API: predictions, metadata and status as over REST, and errors with a sentence."""

import json
import re

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from samples import audio
from tensorflow.core.framework import tensor_pb2

pytest.importorskip("fastapi", reason="needs the extra serve")

import asyncio
import base64
import io

import grpc
from server import Server, fetch

from tfvoice.serving import grpc_server
from tfvoice.serving.grpc_messages import message_class
from tfvoice.serving.grpc_server import padded
from tfvoice.serving.predictor import Predictor
from tfvoice.serving.service import RequestError, ServerLimits, Service


class Client:
    """A client of one service."""

    def __init__(self, channel):
        self._channel = channel

    def call(self, service, method, **fields):
        rpc = self._channel.unary_unary(
            f"/tensorflow.serving.{service}/{method}",
            request_serializer=message_class(f"{method}Request").SerializeToString,
            response_deserializer=message_class(f"{method}Response").FromString,
        )
        return rpc(message_class(f"{method}Request")(**fields), timeout=60)

    def predict(self, signature="", filter=(), spec=None, **inputs):
        inputs = {
            name: value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
            for name, value in inputs.items()
        }
        spec = {"name": "english", "signature_name": signature} | (spec or {})
        response = self.call("PredictionService", "Predict", model_spec=spec, inputs=inputs, output_filter=filter)
        return response.model_spec, {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


@pytest.fixture(scope="module")
def server(exported):
    with Server(exported[1], "--max_mib=1", "--max_seconds=8", "--grpc_port=0") as server:
        yield server
        output = server.stop()
        assert re.search(r"gRPC calls\.\nStopped\. [1-9]\d* requests were answered\.\n$", output), output


@pytest.fixture(scope="module")
def client(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield Client(channel)


def samples_of(data):
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


@pytest.mark.parametrize("signature", ["", "serving_default", "wav"])
def test_files_get_the_predictions_of_the_rest_api(server, client, signature):
    files = [audio(), audio(2, seed=1)]
    spec, found = client.predict(signature, wav=files)
    assert (spec.name, spec.version.value, spec.signature_name) == ("english", 2, signature or "serving_default")
    body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()} for data in files]})
    rows = json.loads(fetch(server.port, "/v1/models/english:predict", body)[1])["predictions"]
    assert [text.decode() for text in found["text"]] == [row["text"] for row in rows]
    np.testing.assert_allclose(found["confidence"], [row["confidence"] for row in rows], atol=1e-5)
    assert found["word_count"].tolist() == [row["word_count"] for row in rows] and found["word_count"].dtype == np.int32
    for row, expected in enumerate(rows):
        count = expected["word_count"]
        assert [word.decode() for word in found["words"][row]] == expected["words"] + [""] * (
            found["words"].shape[1] - count
        )
        assert found["word_end_seconds"].dtype == np.float32
        np.testing.assert_allclose(found["word_end_seconds"][row, :count], expected["word_end_seconds"], atol=1e-5)


def test_waveforms_and_log_probabilities_are_those_of_the_signatures(client, exported):
    model = tf.saved_model.load(str(exported[1] / "2"))
    batch = np.stack([samples_of(audio(seed=seed)) for seed in (1, 2)])
    lengths = np.int32([16000, 9000])
    for name in ("waveform", "log_probs"):
        expected = model.signatures[name](waveform=batch, samples=lengths)
        _, found = client.predict(name, waveform=batch, samples=lengths)
        assert set(found) == set(expected)
        for key, value in found.items():
            assert value.shape == expected[key].shape, key
    assert found["frames"].tolist() == expected["frames"].numpy().tolist()
    for row, count in enumerate(found["frames"]):
        np.testing.assert_allclose(found["log_probs"][row, :count], expected["log_probs"][row, :count], atol=1e-3)
    _, found = client.predict("waveform", ["text"], waveform=batch[:1])
    assert list(found) == ["text"]


def test_metadata_and_status(client):
    spec = {"name": "english"}
    response = client.call("PredictionService", "GetModelMetadata", model_spec=spec, metadata_field=["signature_def"])
    content = response.metadata["signature_def"]
    assert content.type_url.endswith("/tensorflow.serving.SignatureDefMap") and response.model_spec.version.value == 2
    signatures = message_class("SignatureDefMap").FromString(content.value).signature_def
    assert set(signatures) == {"serving_default", "wav", "waveform", "log_probs"}
    assert signatures["waveform"].inputs["samples"].dtype == tf.int32.as_datatype_enum
    (status,) = client.call("ModelService", "GetModelStatus", model_spec=spec).model_version_status
    assert (status.version, status.state, status.status.error_code) == (2, 30, 0)


def repeated(tensor, *shape):
    """A tensor of one value that claims to be larger."""
    tensor = tf.make_tensor_proto(tensor)
    if tensor.tensor_content:
        tensor.float_val[:] = np.frombuffer(tensor.tensor_content, np.float32)
        tensor.ClearField("tensor_content")
    for dim, size in zip(tensor.tensor_shape.dim, shape, strict=True):
        dim.size = size
    return tensor


ONE = np.zeros([1, 100], np.float32)
INVALID = {
    "another model": ({"spec": {"name": "french"}, "wav": [b""]}, "NOT_FOUND", "no such model"),
    "another version": ({"spec": {"version": {"value": 9}}, "wav": [b""]}, "NOT_FOUND", "no such model"),
    "a label": ({"spec": {"version_label": "stable"}, "wav": [b""]}, "NOT_FOUND", "no such model"),
    "another signature": ({"signature": "stream", "wav": [b""]}, "INVALID_ARGUMENT", "no signature"),
    "no input": ({}, "INVALID_ARGUMENT", "has the input wav"),
    "another type": ({"signature": "waveform", "waveform": np.zeros([1, 9])}, "INVALID_ARGUMENT", "float32 with 2"),
    "another rank": ({"signature": "waveform", "waveform": ONE[0]}, "INVALID_ARGUMENT", "float32 with 2"),
    "no rows": ({"wav": np.zeros([0], object)}, "INVALID_ARGUMENT", "1 to 64"),
    "many rows": ({"wav": [b"x"] * 65}, "INVALID_ARGUMENT", "1 to 64"),
    "one string for many rows": ({"wav": repeated([b"x" * 1000], 900)}, "INVALID_ARGUMENT", "1 to 64"),
    "many waveforms": ({"signature": "waveform", "waveform": repeated(ONE, 10**6, 10**6)}, "INVALID_ARGUMENT", "1 to"),
    "a shape of terabytes": (
        {"signature": "waveform", "waveform": repeated(ONE, 1, 10**12)},
        *("INVALID_ARGUMENT", "float32 with 2"),
    ),
    "NaN": ({"signature": "waveform", "waveform": ONE + np.float32("nan")}, "INVALID_ARGUMENT", "not finite"),
    "negative samples": (
        {"signature": "waveform", "waveform": ONE, "samples": np.int32([-1])},
        *("INVALID_ARGUMENT", "samples must"),
    ),
    "too few samples": (
        {"signature": "waveform", "waveform": np.vstack([ONE, ONE]), "samples": np.int32([9])},
        *("INVALID_ARGUMENT", "samples"),
    ),
    "an unknown output": ({"wav": [audio(0.5)], "filter": ["speech"]}, "INVALID_ARGUMENT", "no output speech"),
    "not audio": ({"wav": [b"text"]}, "INVALID_ARGUMENT", "not an audio file"),
    "too long": ({"wav": [audio(9, 8000)]}, "INVALID_ARGUMENT", "longer than 8 s"),
    "a large message": ({"wav": [bytes(2 * 2**20)]}, "RESOURCE_EXHAUSTED", "larger than max"),
}


@pytest.mark.parametrize(("arguments", "code", "fact"), INVALID.values(), ids=INVALID)
def test_an_invalid_call_gets_a_status_and_a_sentence(client, arguments, code, fact):
    with pytest.raises(grpc.RpcError) as refused:
        client.predict(**arguments)
    assert refused.value.code().name == code and fact in refused.value.details()


def test_metadata_of_other_fields_are_invalid(client):
    for fields in ([], ["signature"], ["signature_def", "x"]):
        with pytest.raises(grpc.RpcError, match="metadata_field must be signature_def"):
            client.call("PredictionService", "GetModelMetadata", model_spec={"name": "english"}, metadata_field=fields)


def test_bytes_that_are_no_message_are_an_error_and_the_server_stays(server, client):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        rpc = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for data in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", np.random.default_rng(0).bytes(1000)):
            with pytest.raises(grpc.RpcError) as refused:
                rpc(data, timeout=60)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.details() == "The message is no PredictRequest."
    assert client.predict(wav=[audio()])[1]["text"][0]


def test_a_call_without_a_message_is_an_error(server, monkeypatch):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        rpc = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError, match="The call has no message") as refused:
            rpc(iter(()), timeout=60)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    monkeypatch.setattr(grpc_server, "BODY_SECONDS", 0.1)

    class IdleCall:
        async def read(self):
            await asyncio.Event().wait()

    with pytest.raises(RequestError, match=r"did not arrive within 0\.1 s") as refused:
        asyncio.run(asyncio.wait_for(grpc_server._message(IdleCall()), 60))
    assert refused.value.status == 408


def test_an_output_that_the_filter_repeats_is_converted_once(monkeypatch, exported):
    service, made = Service(Predictor(exported[1]), ServerLimits()), tf.make_tensor_proto
    converted, inputs = [], {"wav": made([audio(0.5)])}
    request = message_class("PredictRequest")(model_spec={"name": "english"}, inputs=inputs)
    request.output_filter.extend(["text", "words"] * 1000)
    monkeypatch.setattr(tf, "make_tensor_proto", lambda values: converted.append(values) or made(values))

    async def predict():
        return await grpc_server.GrpcServer(service)._predict(request)

    assert set(asyncio.run(predict()).outputs) == {"text", "words"} and len(converted) == 2


def test_calls_are_counted(server, client):
    client.predict(wav=[audio()])
    metrics = fetch(server.port, "/metrics")[1].decode()
    assert re.search(r'tfvoice_grpc_answers_total{code="OK"} [1-9]', metrics)


def test_a_port_that_is_taken_is_an_error(exported, server):
    with pytest.raises(AssertionError, match=f"--grpc_port={server.grpc_port}: cannot listen there; use another port"):
        Server(exported[1], f"--grpc_port={server.grpc_port}", "--max_seconds=1")


def test_shorter_rows_are_padded():
    rows = [
        {"text": "ab c", "words": ["ab", "c"], "word_count": 2, "confidence": 0.5},
        {"text": "", "words": [], "word_count": 0, "confidence": 0.0},
    ]
    found = padded(rows)
    assert found["words"].tolist() == [["ab", "c"], ["", ""]] and found["word_count"].dtype == np.int32
    assert padded(rows[1:])["words"].shape == (1, 0)


def test_a_client_of_tensorflow_serving_works_unchanged(server):
    """Needs `pip install --no-deps tensorflow-serving-api`, whose messages must suit TensorFlow and protobuf."""
    apis = pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    assert apis
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "english", "wav"
        request.inputs["wav"].CopyFrom(tf.make_tensor_proto([audio()]))
        prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert tf.make_ndarray(prediction.Predict(request).outputs["text"])[0]
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "english"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert prediction.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
        assert "log_probs" in signatures.signature_def
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "english"
        (status,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request).model_version_status
        assert status.state == get_model_status_pb2.ModelVersionStatus.State.AVAILABLE

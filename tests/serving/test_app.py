"""The server as a process: its routes, its errors, streaming recognition, and its graceful stop under load."""

import asyncio
import base64
import concurrent.futures
import contextlib
import gzip
import http.client
import io
import json
import logging
import os
import re
import select
import signal
import socket
import threading
import time

import numpy as np
import pytest
import soundfile
from samples import RATE, audio, speech, streaming_export
from server import Server, call_asgi, fetch

from tfvoice import checkpoints, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.serving.service import ServerLimits, Service

pytest.importorskip("fastapi", reason="needs the extra serve")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tfvoice.serving import app as app_module
from tfvoice.serving.limits import AdmissionController


@pytest.fixture(scope="module")
def port(exported):
    with Server(exported[1], "--max_mib=1", "--max_seconds=8") as server:
        yield server.port
        output = server.stop(signal.SIGINT)
        assert re.search(r"^Stopped\. [1-9]\d* requests were answered\.\n$", output, re.MULTILINE)


def instances(*files):
    return json.dumps({"instances": [{"b64": base64.b64encode(data).decode()} for data in files]})


def metric(port, name):
    return re.search(rf"^{name} (\S+)$", fetch(port, "/metrics")[1].decode(), re.MULTILINE)[1]


def responses(port, status):
    count = re.search(rf'tfvoice_answers_total{{status="{status}"}} (.*)', fetch(port, "/metrics")[1].decode())
    return float(count[1]) if count else 0


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_rest_api_of_tensorflow_serving(port):
    for path in ("/v1/models/english", "/v1/models/english/versions/2"):
        status, body = fetch(port, path)
        (version,) = json.loads(body)["model_version_status"]
        assert status == 200 and version["version"] == "2" and version["state"] == "AVAILABLE"
    json_type = {"Content-Type": "application/json"}
    status, body = fetch(port, "/v1/models/english:predict", instances(audio(), audio(2, seed=1)), json_type)
    predictions = json.loads(body)["predictions"]
    assert status == 200 and len(predictions) == 2 and predictions[0]["text"]
    # As curl sends it, and for a version.
    as_form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/v1/models/english:predict", "/v1/models/english/versions/2:predict"):
        assert json.loads(fetch(port, path, instances(audio()), as_form)[1])["predictions"] == predictions[:1]
    inputs = json.dumps({"inputs": {"wav": [{"b64": base64.b64encode(audio()).decode()}]}})
    outputs = json.loads(fetch(port, "/v1/models/english:predict", inputs)[1])["outputs"]
    assert outputs == {name: [value] for name, value in predictions[0].items()}


def test_the_metadata_are_in_the_form_of_tensorflow_serving(port):
    for path in ("/v1/models/english/metadata", "/v1/models/english/versions/2/metadata"):
        status, body = fetch(port, path)
        content = json.loads(body)
        assert status == 200
        assert content["model_spec"] == {"name": "english", "signature_name": "", "version": "2"}
        signatures = content["metadata"]["signature_def"]["signature_def"]
        assert set(signatures) == {"serving_default", "wav", "waveform", "log_probs"}
        waveform = signatures["waveform"]["inputs"]["waveform"]
        assert waveform["dtype"] == "DT_FLOAT" and signatures["waveform"]["method_name"] == "tensorflow/serving/predict"
        sizes = [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}]
        assert waveform["tensor_shape"] == {"dim": sizes, "unknown_rank": False}
        assert signatures["wav"]["outputs"]["text"]["dtype"] == "DT_STRING"


def test_a_gzip_body_gets_the_answer_of_the_body(port):
    body, packed = instances(audio()), {"Content-Encoding": "gzip"}
    expected = fetch(port, "/v1/models/english:predict", body)
    assert expected[0] == 200
    assert fetch(port, "/v1/models/english:predict", gzip.compress(body.encode()), packed) == expected
    assert fetch(port, "/transcribe", gzip.compress(audio()), packed) == fetch(port, "/transcribe", audio())
    assert fetch(port, "/transcribe", gzip.compress(bytes(2 * 2**20)), packed)[0] == 413
    assert fetch(port, "/transcribe", audio(), packed)[0] == 400
    assert fetch(port, "/transcribe", audio(), {"Content-Encoding": "br"})[0] == 415


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models/english", "/v1/models/english/metadata", "/metrics"])
def test_a_head_request_gets_the_headers_of_get_alone(port, path):
    assert fetch(port, path, method="HEAD") == (200, b"")
    assert fetch(port, "/healthz")[0] == 200


def test_a_file_is_transcribed(port):
    status, body = fetch(port, "/transcribe", audio())
    transcript = json.loads(body)
    assert status == 200 and transcript["text"] == " ".join(word["word"] for word in transcript["words"])
    assert len(transcript["text"]) > 3
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form, form_type = boundary + audio() + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    status, body = fetch(port, "/transcribe", form, form_type)
    assert status == 200 and json.loads(body) == transcript | {"file": "a.wav"}
    for written in ("Multipart/Form-Data; boundary=x", "MULTIPART/FORM-DATA;boundary=x"):
        assert fetch(port, "/transcribe", form, {"Content-Type": written}) == (status, body)
    odd = form.replace(b"a.wav", b"\xed\xa0\x80\xff")
    assert fetch(port, "/transcribe", odd, form_type)[0] == 200
    empty = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n--x--\r\n'
    assert fetch(port, "/transcribe", empty, form_type) == (400, b'{"error":"The form has no file."}')
    assert fetch(port, "/transcribe?format=text", audio())[1].decode() == transcript["text"] + "\n"
    assert fetch(port, "/transcribe?format=srt", audio())[1].startswith(b"1\n00:00:0")


def test_the_page_and_what_it_needs_to_know(port):
    assert b"<title>tfvoice</title>" in fetch(port, "/")[1]
    about = {"name": "english", "version": 2, "sample_rate_hz": 16000, "max_seconds": 8.0, "streams": False}
    about["voices"] = []
    assert json.loads(fetch(port, "/about")[1]) == about


def test_health_checks_and_those_of_kserve(port):
    health = {
        "/healthz": {"status": "ok"},
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v1/models": {
            "models": ["english"],
            "object": "list",
            "data": [{"id": "english", "object": "model", "created": 0, "owned_by": "tfvoice"}],
        },
        "/v2/models": {"models": ["english"]},
        "/v2/models/english/ready": {"name": "english", "ready": True},
    }
    for path, content in health.items():
        status, body = fetch(port, path)
        assert status == 200 and json.loads(body) == content, path
    status = json.loads(fetch(port, "/v1/models/english")[1])
    assert (status["name"], status["ready"]) == ("english", True)


def test_metrics_count_responses_batches_and_audio(port):
    fetch(port, "/transcribe", audio())
    metrics = fetch(port, "/metrics")[1].decode()
    assert re.search(r'tfvoice_answers_total{status="200"} [1-9]', metrics)
    assert re.search(r"tfvoice_batch_rows_count [1-9]", metrics) and "tfvoice_waiting 0.0" in metrics
    before = float(metric(port, "tfvoice_audio_seconds_total"))
    fetch(port, "/v1/models/english:predict", instances(audio(), audio(2, seed=1)))
    assert float(metric(port, "tfvoice_audio_seconds_total")) - before == pytest.approx(3)
    openmetrics = fetch(port, "/metrics", headers={"Accept": "application/openmetrics-text"})[1]
    assert openmetrics.endswith(b"# EOF\n")


def test_the_schema_is_served_and_pages_that_need_other_servers_are_not(port):
    schema = json.loads(fetch(port, "/openapi.json")[1])
    assert {"/transcribe", "/v1/models/{name}:predict"} <= set(schema["paths"])
    assert fetch(port, "/docs")[0] == fetch(port, "/redoc")[0] == 404


INVALID = {
    "not JSON": ("/v1/models/english:predict", b"{", 400),
    "not JSON, declared": ("/v1/models/english:predict", b"{", 400),
    "deeply nested": ("/v1/models/english:predict", b"[" * 100_000, 400),
    "a list": ("/v1/models/english:predict", b"[1]", 400),
    "NaN": ("/v1/models/english:predict", b'{"instances": [{"waveform": [NaN]}]}', 400),
    "another model": ("/v1/models/french:predict", b"{}", 404),
    "another version": ("/v1/models/english/versions/9:predict", b"{}", 404),
    "another model's readiness": ("/v2/models/french/ready", None, 404),
    "another model's metadata": ("/v1/models/french/metadata", None, 404),
    "another version's metadata": ("/v1/models/english/versions/9/metadata", None, 404),
    "another version's status": ("/v1/models/english/versions/9", None, 404),
    "a version that is not a number": ("/v1/models/english/versions/last", None, 404),
    "no file": ("/transcribe", b"", 400),
    "random bytes": ("/transcribe", np.random.default_rng(0).bytes(5000), 400),
    "another format": ("/transcribe?format=pdf", b"", 400),
    "too large": ("/transcribe", bytes(2 * 2**20), 413),
    "too long": ("/transcribe", audio(9, 8000), 413),
    "unknown path": ("/secret", None, 404),
    "unknown path with a body": ("/secret", b"{}", 404),
    "unloading the model": ("/v2/repository/models/english/unload", b"", 404),
    "KServe's inference protocol": ("/v2/models/english/infer", b"{}", 404),
    "GET instead of POST": ("/transcribe", None, 405),
    "POST instead of GET": ("/healthz", b"{}", 405),
}


@pytest.mark.parametrize("path, body, status", INVALID.values(), ids=INVALID)
def test_errors_are_sentences_in_the_form_of_tensorflow_serving(port, path, body, status, request):
    headers = {"Content-Type": "application/json"} if "declared" in request.node.callspec.id else {}
    found, response = fetch(port, path, body, headers)
    sentence = json.loads(response)["error"]
    assert found == status and sentence
    assert "tfvoice/" not in sentence and "Traceback" not in sentence and "Error" not in sentence


class IdlePredictor:
    """A model that is never called."""

    name, version, sample_rate_hz, streams = "english", 1, 16000, True

    def stream(self):
        return self


def idle_app(limits=ServerLimits()):  # noqa: B008 - immutable
    service = Service(IdlePredictor(), limits)
    return app_module.create_app(service, AdmissionController(limits, service.batcher.capacity))


def test_a_parameter_of_the_wrong_type_is_an_error_in_the_same_form():
    app = idle_app()

    @app.get("/square")
    async def square(side: int):
        return side * side

    status, body = call_asgi(app, "/square", method="GET")
    assert status == 422 and json.loads(body) == {"error": "query.side: Field required."}


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(port):
    too_large = responses(port, 413)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    pieces = (bytes(2**16) for _ in range(64))
    try:
        connection.request("POST", "/transcribe", pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        assert connection.getresponse().status == 413
    except (ConnectionError, http.client.HTTPException):
        # Or the server closed the connection while more was being sent.
        pass
    finally:
        connection.close()
    wait_until(lambda: responses(port, 413) == too_large + 1)


def test_large_headers_are_rejected(port):
    batches = metric(port, "tfvoice_batch_rows_count")
    try:
        status, sentence = fetch(port, "/transcribe", audio(), {"X-Large": 200_000 * "x"})
        assert status in (400, 431) and sentence
    except ConnectionError:
        # The server closed the connection while more was being sent.
        pass
    assert metric(port, "tfvoice_batch_rows_count") == batches


def test_requests_of_disconnected_clients_are_dropped_from_the_queue(exported):
    head, data = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", audio(60)
    with Server(exported[1], "--batch_size=1") as server:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(head % len(data) + data)
        assert fetch(server.port, "/transcribe", audio())[0] == 200
        batches = float(metric(server.port, "tfvoice_batch_rows_count"))
        completed = int(re.search(r"Stopped\. (\d+) requests", server.stop())[1])
    # Some may be computed before the server sees the disconnect.
    assert 1 <= completed <= batches < 20


def test_a_full_server_rejects_a_request_before_its_body_is_sent(exported):
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(exported[1], "--max_waiting=2", "--batch_size=1"))
        # There is room for two that wait and two that are computed.
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(5)]
        for client in clients:
            client.sendall(head)
        answered, _, _ = select.select(clients, [], [], 60)
        assert [client.recv(100)[:12] for client in answered] == [b"HTTP/1.1 429"]
        for client in clients:
            client.close()
        wait_until(lambda: fetch(server.port, "/transcribe", audio())[0] == 200)


def test_client_disconnect_is_not_counted_as_an_error(port):
    disconnected, failed = responses(port, 499), responses(port, 500)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    wait_until(lambda: responses(port, 499) == disconnected + 1)
    assert responses(port, 500) == failed


def test_sigterm_under_load_loses_no_accepted_request(exported):
    with Server(exported[1]) as server:
        files = [audio(0.5 + 0.1 * client, seed=client) for client in range(8)]
        expected = [json.loads(fetch(server.port, "/transcribe", data)[1])["text"] for data in files]
        sent = threading.Semaphore(0)

        def run_client(client):
            outcomes = []
            for _ in range(50):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                try:
                    connection.connect()
                except OSError:
                    return outcomes
                try:
                    connection.request("POST", "/transcribe", files[client])
                    sent.release()
                    response = connection.getresponse()
                    text = json.loads(response.read())["text"] if response.status == 200 else None
                    outcomes.append(text == expected[client])
                except (OSError, http.client.HTTPException) as error:
                    outcomes.append(error)
                finally:
                    connection.close()
            return outcomes

        with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
            clients = [pool.submit(run_client, client) for client in range(len(files))]
            assert all(sent.acquire(timeout=60) for _ in range(20))
            output = server.stop(signal.SIGTERM)
            outcomes = [outcome for client in clients for outcome in client.result()]
    # The server's count is that of the clients, whose first requests came before the load.
    completed = len(files) + outcomes.count(True)
    assert output == f"Stopped. {completed} requests were answered.\n"
    # The server never accepted a connection that only the kernel had: that one is closed or reset.
    lost = [outcome for outcome in outcomes if outcome is not True]
    assert len(lost) <= len(files)
    assert all(isinstance(outcome, ConnectionError | http.client.RemoteDisconnected) for outcome in lost)


def test_sigterm_finishes_the_speech_that_was_accepted(voice_run):
    # For a folder of its own name.
    with Server(None, f"--voice={voice_run.run_dir}") as server:
        body = json.dumps({"text": "The cat sat on the mat. " * 8, "format": "raw"})
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(fetch, server.port, "/speak", body) for _ in range(4)]
            wait_until(lambda: float(metric(server.port, "tfvoice_spoken_seconds_total")) > 0)
            output = server.stop(signal.SIGTERM)
            (status, first), *others = [client.result() for client in clients]
    assert status == 200 and len(first) > 16000 and all(other == (200, first) for other in others)
    assert output == "Stopped. 4 requests were answered.\n"


def test_clients_that_hang_up_stop_the_synthesis(voice_run):
    with Server(None, f"--voice={voice_run.run_dir}") as server:
        body = json.dumps({"text": "The cat sat on the mat. " * 200, "format": "raw"}).encode()
        disconnected = responses(server.port, 499)
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                assert b"200" in client.recv(100)
        wait_until(lambda: responses(server.port, 499) == disconnected + 4)
        assert metric(server.port, "tfvoice_sentences_waiting") == "0.0"
        spoken = float(metric(server.port, "tfvoice_spoken_seconds_total"))
        assert spoken < 60 and responses(server.port, 500) == 0
        assert server.stop() == "Stopped. 0 requests were answered.\n"


def test_serve_restores_signal_handlers_and_sets_up_no_logging(exported, capsys):
    def process_state():
        loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.error", "uvicorn.access", "tfvoice")]
        setup = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
        return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), setup

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def stop_when_ready():
        def is_ready():
            with contextlib.suppress(OSError):
                return fetch(port, "/healthz")[0] == 200

        wait_until(is_ready)
        os.kill(os.getpid(), signal.SIGTERM)

    before, stopper = process_state(), threading.Thread(target=stop_when_ready)
    stopper.start()
    app_module.serve(exported[1], "127.0.0.1", port, ServerLimits(max_seconds=1, batch_size=1))
    stopper.join()
    assert process_state() == before
    assert capsys.readouterr().out.endswith("Stopped. 0 requests were answered.\n")


def test_an_address_that_cannot_be_used_is_an_error_in_one_sentence():
    with app_module._bound_socket("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(TfvoiceError, match=f"--host=127.0.0.1 --port={port}: cannot listen there: Address already"):
            app_module._bound_socket("127.0.0.1", port)
    with pytest.raises(TfvoiceError, match=r"--host=127.0.0.1 --port=70000: cannot listen there: .*port must be"):
        app_module._bound_socket("127.0.0.1", 70000)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_connections_end_when_the_client_reads_nothing_for_two_minutes():
    with app_module._bound_socket("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


def test_the_listening_socket_makes_asyncio_disable_nagles_algorithm():
    with app_module._bound_socket("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.fixture(scope="module")
def streaming_server(tmp_path_factory):
    """A run that streams, and the port of a server of it."""
    run, model = streaming_export(tmp_path_factory.mktemp("streaming"))
    with Server(model, "--max_seconds=4") as server:
        yield run, server.port


def test_a_stream_gets_the_text_of_the_run(streaming_server):
    run, port = streaming_server
    samples = speech(3)
    expected = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    with connect(f"ws://127.0.0.1:{port}/stream") as websocket:
        results = []
        for chunk in np.split(samples, [1000, 1001, 9000]):
            websocket.send(chunk.tobytes())
            results.append(json.loads(websocket.recv()))
        websocket.send("the end")
        results.append(json.loads(websocket.recv()))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv()
    assert closed.value.rcvd.code == 1000
    assert [result["final"] for result in results] == [False, False, False, False, True]
    assert len(expected) > 20 and " ".join("".join(result["text"] for result in results).split()) == expected
    assert any(result["text"] for result in results[:-1])


@pytest.mark.parametrize(
    "data, code",
    [
        (np.array([0.1, np.nan], np.float32).tobytes(), 1007),
        (b"123", 1007),
        (bytes(4 * 8000 * 5), 1007),
        (bytes(2 * 2**20), 1009),
    ],
    ids=["NaN", "half a number", "longer than the limit", "a large message"],
)
def test_invalid_messages_close_the_stream(streaming_server, data, code):
    _, port = streaming_server
    with connect(f"ws://127.0.0.1:{port}/stream") as websocket:
        with pytest.raises(ConnectionClosed) as closed:
            websocket.send(data)
            websocket.recv()
        assert closed.value.rcvd.code == code
    assert fetch(port, "/healthz")[0] == 200


def test_pages_of_other_origins_cannot_stream(streaming_server):
    _, port = streaming_server
    with connect(f"ws://127.0.0.1:{port}/stream", origin=f"http://127.0.0.1:{port}") as websocket:
        websocket.send("the end")
        assert json.loads(websocket.recv())["final"]
    for origin in ("http://example.com", "null", "http://[", f"http://127.0.0.1:{port}/x", ""):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/stream", additional_headers={"Origin": origin})


def test_streams_above_the_limit_are_rejected_until_one_ends(streaming_server):
    _, port = streaming_server

    def is_accepted(websocket):
        try:
            websocket.send(bytes(4))
            return not json.loads(websocket.recv())["final"]
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1013
            return False

    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connect(f"ws://127.0.0.1:{port}/stream")) for _ in range(32)]
        assert all(map(is_accepted, streams))
        with connect(f"ws://127.0.0.1:{port}/stream") as websocket:
            assert not is_accepted(websocket)
        streams[0].close()

        def is_room():
            with connect(f"ws://127.0.0.1:{port}/stream") as websocket:
                return is_accepted(websocket)

        wait_until(is_room)


def test_a_model_without_streaming_closes_the_stream(port):
    with connect(f"ws://127.0.0.1:{port}/stream") as websocket, pytest.raises(ConnectionClosed) as closed:
        websocket.recv()
    assert closed.value.rcvd.code == 1008


def test_an_idle_stream_is_closed(monkeypatch):
    monkeypatch.setattr(app_module, "_STREAM_IDLE_SECONDS", 0.1)
    received, sent = [{"type": "websocket.connect"}], []

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/stream", "headers": [], "query_string": b"", "subprotocols": []}
    asyncio.run(asyncio.wait_for(idle_app()(scope, receive, send), 30))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1001


def test_a_recording_longer_than_the_training_clips_gets_the_text_of_the_transcriber(random_words, tmp_path):
    small = ["model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20"]
    small += ["features.sample_rate_hz=8000", "features.normalization=utterance", "data.max_seconds=1"]
    run = Recognizer.create(tmp_path / "run", tasks.resolve("wavenet_asr", overrides=small))
    random_words(run.model)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    model = export.export(run.run_dir, tmp_path / "model" / "1")
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    # Loud at first and quiet at the end: features normalised over the whole recording give another text.
    samples = speech(6) * np.geomspace(1, 0.03, 6 * RATE, dtype=np.float32)
    with Server(model) as server:
        for waveform in (samples[: RATE // 2], samples):
            data = io.BytesIO()
            soundfile.write(data, waveform, RATE, "FLOAT", format="WAV")
            expected = transcriber.transcribe(data.getvalue()).text
            text = json.loads(fetch(server.port, "/transcribe", data.getvalue())[1])["text"]
            assert len(expected) > 5 and text == expected

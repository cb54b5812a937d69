"""The server as a process: its routes, its errors, and its end under load."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import re
import select
import signal
import socket
import threading
import time

import numpy as np
import pytest
from server import Server
from test_serving import audio
from test_streaming import reader, speech

from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.export import export
from tfvoice.training import checkpoints

pytest.importorskip("kserve", reason="needs the extra serve")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


@pytest.fixture(scope="module")
def port(exported):
    with Server(exported[1], "--max_mib=1", "--max_seconds=8") as server:
        yield server.port
        assert re.search(
            r"^Stopped\. [1-9]\d* recordings or batches of them were read\.\n$", server.end(), re.MULTILINE
        )


def ask(port, path, body=None, headers=None, method=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def rows(*files):
    return json.dumps({"instances": [{"b64": base64.b64encode(data).decode()} for data in files]})


def ask_metric(port, name):
    return re.search(rf"^{name} (\S+)$", ask(port, "/metrics")[1].decode(), re.MULTILINE)[1]


def test_a_signal_ends_a_server_that_has_just_begun(exported):
    with Server(exported[1]) as server:
        assert server.end() == "Stopped. 0 recordings or batches of them were read.\n"


def test_the_forms_of_tensorflow_serving(port):
    status, body = ask(port, "/v1/models/english")
    known = json.loads(body)["model_version_status"][0]
    assert status == 200 and known["version"] == "2" and known["state"] == "AVAILABLE"
    json_type = {"Content-Type": "application/json"}
    status, body = ask(port, "/v1/models/english:predict", rows(audio(), audio(2, seed=1)), json_type)
    predictions = json.loads(body)["predictions"]
    assert status == 200 and len(predictions) == 2 and predictions[0]["text"]
    # As curl sends it, and for a version.
    as_form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/v1/models/english:predict", "/v1/models/english/versions/2:predict"):
        assert json.loads(ask(port, path, rows(audio()), as_form)[1])["predictions"] == predictions[:1]


def test_a_file_is_transcribed(port):
    status, body = ask(port, "/transcribe", audio())
    found = json.loads(body)
    assert status == 200 and found["text"] == " ".join(word["word"] for word in found["words"])
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form = boundary + audio() + b"\r\n--x--\r\n"
    status, body = ask(port, "/transcribe", form, {"Content-Type": "multipart/form-data; boundary=x"})
    assert status == 200 and json.loads(body)["text"] == found["text"] and json.loads(body)["file"] == "a.wav"
    odd = form.replace(b"a.wav", b"\xed\xa0\x80\xff")
    assert ask(port, "/transcribe", odd, {"Content-Type": "multipart/form-data; boundary=x"})[0] == 200
    assert ask(port, "/transcribe?format=text", audio())[1].decode() == found["text"] + "\n"
    assert ask(port, "/transcribe?format=srt", audio())[1].startswith(b"1\n00:00:0")


def test_the_page_health_and_metrics(port):
    assert b"<title>tfvoice</title>" in ask(port, "/")[1]
    assert ask(port, "/healthz") == (200, b'{"status":"ok"}')
    assert json.loads(ask(port, "/about")[1])["sample_rate_hz"] == 16000
    ask(port, "/transcribe", audio())
    metrics = ask(port, "/metrics")[1].decode()
    assert re.search(r'tfvoice_answers_total{status="200"} [1-9]', metrics)
    assert re.search(r"tfvoice_batch_rows_count [1-9]", metrics) and "tfvoice_waiting 0.0" in metrics
    before = float(ask_metric(port, "tfvoice_audio_seconds_total"))
    ask(port, "/v1/models/english:predict", rows(audio(), audio(2, seed=1)))
    assert float(ask_metric(port, "tfvoice_audio_seconds_total")) - before == pytest.approx(3)


WRONG = {
    "no JSON": ("/v1/models/english:predict", b"{", 400),
    "no JSON, declared": ("/v1/models/english:predict", b"{", 400),
    "deep": ("/v1/models/english:predict", b"[" * 100_000, 400),
    "a list": ("/v1/models/english:predict", b"[1]", 400),
    "NaN": ("/v1/models/english:predict", b'{"instances": [{"waveform": [NaN]}]}', 400),
    "another model": ("/v1/models/french:predict", b"{}", 404),
    "another version": ("/v1/models/english/versions/9:predict", b"{}", 404),
    "another version's status": ("/v1/models/english/versions/9", None, 404),
    "a version that is no number": ("/v1/models/english/versions/last", None, 404),
    "no file": ("/transcribe", b"", 400),
    "random bytes": ("/transcribe", np.random.default_rng(0).bytes(5000), 400),
    "another format": ("/transcribe?format=pdf", b"", 400),
    "too large": ("/transcribe", bytes(2 * 2**20), 413),
    "too long": ("/transcribe", audio(9, 8000), 413),
    "no such page": ("/secret", None, 404),
    "switching the model off": ("/v2/repository/models/english/unload", b"", 404),
    "KServe's own form": ("/v2/models/english/infer", b"{}", 404),
    "no such method": ("/transcribe", None, 405),
}


@pytest.mark.parametrize("path, body, status", WRONG.values(), ids=WRONG)
def test_errors_are_sentences_in_the_form_of_tensorflow_serving(port, path, body, status, request):
    headers = {"Content-Type": "application/json"} if "declared" in request.node.callspec.id else {}
    found, answer = ask(port, path, body, headers)
    sentence = json.loads(answer)["error"]
    assert found == status and sentence
    assert "tfvoice/" not in sentence and "Traceback" not in sentence and "Error" not in sentence


def test_a_body_of_unknown_length_ends_at_the_limit(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    pieces = (bytes(2**16) for _ in range(64))
    try:
        connection.request("POST", "/transcribe", pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        assert connection.getresponse().status == 413
    except (ConnectionError, http.client.HTTPException):
        # Or the server hung up while there was more to come.
        pass
    finally:
        connection.close()
    assert ask(port, "/healthz")[0] == 200


def test_large_headers_are_refused(port):
    try:
        status, sentence = ask(port, "/transcribe", audio(), {"X-Large": 200_000 * "x"})
        assert status in (400, 431) and sentence
    except ConnectionError:
        # It hung up while there was more to come.
        pass
    assert ask(port, "/healthz")[0] == 200


def test_who_does_not_wait_is_not_read(exported):
    request, data = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", audio(60)
    with Server(exported[1], "--batch_size=1") as server:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(request % len(data) + data)
        assert ask(server.port, "/transcribe", audio())[0] == 200
        batches = float(ask_metric(server.port, "tfvoice_batch_rows_count"))
        answered = int(re.search(r"Stopped\. (\d+) recordings", server.end())[1])
    # Some can have been read before their end was seen.
    assert 1 <= answered <= batches < 20


def test_a_full_server_refuses_before_the_body_has_come(exported):
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(exported[1], "--max_waiting=2", "--batch_size=1"))
        # There is room for two that wait and two that are read.
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(5)]
        for client in slow:
            client.sendall(head)
        answered, _, _ = select.select(slow, [], [], 60)
        assert [client.recv(100)[:12] for client in answered] == [b"HTTP/1.1 429"]
        for client in slow:
            client.close()
        until(lambda: ask(server.port, "/transcribe", audio())[0] == 200)


def test_who_hangs_up_while_sending_is_no_failure(port):
    def count(status):
        found = re.search(rf'tfvoice_answers_total{{status="{status}"}} (.*)', ask(port, "/metrics")[1].decode())
        return float(found[1]) if found else 0

    gone, failed = count(499), count(500)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    until(lambda: count(499) == gone + 1)
    assert count(500) == failed


def until(true, seconds=60):
    """Waits until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_nothing_that_was_accepted(exported, number):
    with Server(exported[1]) as server:
        files = [audio(0.5 + 0.1 * number, seed=number) for number in range(8)]
        wanted = [json.loads(ask(server.port, "/transcribe", data)[1])["text"] for data in files]
        accepted = threading.Semaphore(0)

        def client(number):
            outcomes = []
            for _ in range(50):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                try:
                    connection.connect()
                except OSError:
                    return outcomes
                try:
                    connection.request("POST", "/transcribe", files[number])
                    accepted.release()
                    answer = connection.getresponse()
                    outcomes.append(answer.status == 200 and json.loads(answer.read())["text"] == wanted[number])
                except (OSError, http.client.HTTPException) as error:
                    outcomes.append(error)
                finally:
                    connection.close()
            return outcomes

        with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
            clients = [pool.submit(client, number) for number in range(len(files))]
            assert all(accepted.acquire(timeout=60) for _ in range(20))
            said = server.end(number)
            outcomes = [outcome for each in clients for outcome in each.result()]
    # The server's count is that of the clients, whose first requests came before the load.
    assert f"Stopped. {len(files) + outcomes.count(True)} recordings or batches of them were read.\n" == said
    # A connection that the kernel took while the server was closing was never accepted by it, and is closed or reset.
    lost = [one for one in outcomes if one is not True]
    assert len(lost) <= len(files)
    assert all(isinstance(one, ConnectionError | http.client.RemoteDisconnected) for one in lost)


def listener(folder):
    """A run that can follow speech, and the folder of its export."""
    run = reader(folder / "run")
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run, export.export(run.run_dir, folder / "models" / "1")


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """A run that can follow speech, and the port of a server of it."""
    run, model = listener(tmp_path_factory.mktemp("listening"))
    with Server(model, "--max_seconds=4") as server:
        yield run, server.port


def test_speech_is_followed_over_a_socket(listening):
    run, port = listening
    samples = speech(3)
    wanted = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    with connect(f"ws://127.0.0.1:{port}/stream") as socket:
        found = []
        for chunk in np.split(samples, [1000, 1001, 9000]):
            socket.send(chunk.tobytes())
            found.append(json.loads(socket.recv()))
        socket.send("the end")
        found.append(json.loads(socket.recv()))
        with pytest.raises(ConnectionClosed):
            socket.recv()
    assert [one["final"] for one in found] == [False, False, False, False, True]
    assert len(wanted) > 20 and " ".join("".join(one["text"] for one in found).split()) == wanted
    assert any(one["text"] for one in found[:-1])


@pytest.mark.parametrize(
    "data, code",
    [
        (np.array([0.1, np.nan], np.float32).tobytes(), 1007),
        (b"123", 1007),
        (bytes(4 * 8000 * 5), 1007),
        (bytes(2 * 2**20), 1009),
    ],
    ids=["NaN", "half a number", "longer than is taken", "a large message"],
)
def test_what_cannot_be_followed_closes_the_socket(listening, data, code):
    _, port = listening
    with connect(f"ws://127.0.0.1:{port}/stream") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.send(data)
            socket.recv()
        assert closed.value.rcvd.code == code
    assert ask(port, "/healthz")[0] == 200


def test_pages_of_others_follow_nobody(listening):
    _, port = listening
    with connect(f"ws://127.0.0.1:{port}/stream", origin=f"http://127.0.0.1:{port}") as socket:
        socket.send("the end")
        assert json.loads(socket.recv())["final"]
    for origin in ("http://example.com", "null", "http://[", f"http://127.0.0.1:{port}/x", ""):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/stream", additional_headers={"Origin": origin})


def test_a_model_that_reads_both_ways_follows_nobody(port):
    with connect(f"ws://127.0.0.1:{port}/stream") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv()
    assert closed.value.rcvd.code == 1008

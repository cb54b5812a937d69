"""The server as a process: its routes, its errors, and its end under load."""

import base64
import concurrent.futures
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_serving import audio
from test_streaming import reader, speech

from tfvoice import checkpoints, exporting
from tfvoice.streaming import StreamingTranscriber

pytest.importorskip("kserve", reason="needs the extra serve")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

BIN = Path(__file__).parent.parent / "bin"


def start(folder, *flags):
    command = [sys.executable, str(BIN / "tfvoice_serve"), f"--model={folder}", "--port=0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if found := re.search(r"Ready: http://127.0.0.1:(\d+)/", line):
            process.port = int(found[1])
            # A full pipe would stop the server.
            process.said = {}
            process.readers = [
                threading.Thread(target=lambda pipe=pipe: process.said.update({pipe: pipe.read()}), daemon=True)
                for pipe in (process.stdout, process.stderr)
            ]
            for thread in process.readers:
                thread.start()
            return process
    raise AssertionError(process.stderr.read())


def end(process, number=signal.SIGTERM):
    """Ends a server; returns all that it said since it was ready: warnings, and then its output."""
    process.send_signal(number)
    assert process.wait(60) == 0
    for thread in process.readers:
        thread.join()
    return process.said[process.stderr] + process.said[process.stdout]


@pytest.fixture(scope="module")
def port(exported):
    process = start(exported[1], "--max_mib=1", "--max_seconds=8")
    yield process.port
    assert re.search(r"^Stopped\. [1-9]\d* recordings or batches of them were read\.\n$", end(process), re.MULTILINE)


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
    assert end(start(exported[1])) == "Stopped. 0 recordings or batches of them were read.\n"


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
    process = start(exported[1], "--batch_size=1")
    request = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    data = audio(60)
    clients = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(20)]
    for client in clients:
        client.sendall(request % len(data) + data)
    for client in clients:
        client.close()
    assert ask(process.port, "/transcribe", audio())[0] == 200
    batches = float(ask_metric(process.port, "tfvoice_batch_rows_count"))
    assert batches < len(clients) and "Stopped. 1 recordings" in end(process)


def test_a_full_server_refuses_before_the_body_has_come(exported):
    process = start(exported[1], "--max_waiting=2", "--batch_size=1")
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(4)]
    for client in slow:
        client.sendall(head)
        time.sleep(0.2)
    assert slow[3].recv(100).startswith(b"HTTP/1.1 429")
    for client in slow[:3]:
        client.close()
    time.sleep(0.5)
    assert ask(process.port, "/transcribe", audio())[0] == 200
    end(process)


def test_who_hangs_up_while_sending_is_no_failure(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    time.sleep(0.3)
    client.close()
    time.sleep(0.3)
    metrics = ask(port, "/metrics")[1].decode()
    assert 'tfvoice_answers_total{status="499"} 1.0' in metrics and 'status="500"' not in metrics


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_loses_nothing_that_was_accepted(exported, number):
    process = start(exported[1])
    files = [audio(0.5 + 0.1 * number, seed=number) for number in range(8)]
    wanted = [json.loads(ask(process.port, "/transcribe", data)[1])["text"] for data in files]
    accepted = threading.Semaphore(0)

    def client(number):
        outcomes = []
        for _ in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
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
                outcomes.append(repr(error))
            finally:
                connection.close()
        return outcomes

    with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
        clients = [pool.submit(client, number) for number in range(len(files))]
        for _ in range(20):
            accepted.acquire()
        said = end(process, number)
        outcomes = [outcome for each in clients for outcome in each.result()]
    # The server's count is that of the clients, whose first requests came before the load.
    assert f"Stopped. {len(files) + outcomes.count(True)} recordings or batches of them were read.\n" == said
    # A connection that the kernel took while the server was closing was never accepted by it, and is reset.
    lost = [one for one in outcomes if one is not True]
    assert len(lost) <= len(files)
    assert all(isinstance(one, str) and ("Reset" in one or "Disconnected" in one) for one in lost)


def listen(folder, *flags):
    """A run that can follow speech, and a server of it."""
    run = reader(folder / "run")
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run, start(exporting.export(run.run_dir, folder / "models" / "1"), *flags)


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """A run that can follow speech, and the port of a server of it."""
    run, process = listen(tmp_path_factory.mktemp("listening"), "--max_seconds=4")
    yield run, process.port
    end(process)


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
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/stream", origin="http://example.com")


def test_a_model_that_reads_both_ways_follows_nobody(port):
    with connect(f"ws://127.0.0.1:{port}/stream") as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv()
    assert closed.value.rcvd.code == 1008

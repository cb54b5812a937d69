"""The server as a process: its routes, its errors, and its end under load."""

import base64
import concurrent.futures
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from test_serving import audio

pytest.importorskip("kserve", reason="needs the extra serve")

BIN = Path(__file__).parent.parent / "bin"


def start(folder, *flags):
    command = [sys.executable, str(BIN / "tfvoice_serve"), f"--model={folder}", "--port=0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if found := re.search(r"Ready: http://127.0.0.1:(\d+)/", line):
            process.port = int(found[1])
            # Nobody reads on, and a full pipe would stop the server.
            for pipe in (process.stdout, process.stderr):
                threading.Thread(target=pipe.read, daemon=True).start()
            return process
    raise AssertionError(process.stderr.read())


@pytest.fixture(scope="module")
def port(exported):
    process = start(exported[1], "--max_mib=1", "--max_seconds=8")
    yield process.port
    process.terminate()
    assert process.wait(60) == 0


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


WRONG = {
    "no JSON": ("/v1/models/english:predict", b"{", 400),
    "no JSON, declared": ("/v1/models/english:predict", b"{", 400),
    "deep": ("/v1/models/english:predict", b"[" * 100_000, 400),
    "a list": ("/v1/models/english:predict", b"[1]", 400),
    "NaN": ("/v1/models/english:predict", b'{"instances": [{"waveform": [NaN]}]}', 400),
    "another model": ("/v1/models/french:predict", b"{}", 404),
    "another version": ("/v1/models/english/versions/9:predict", b"{}", 404),
    "another version's status": ("/v1/models/english/versions/9", None, 404),
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


def test_sigterm_under_load_loses_nothing_that_was_accepted(exported):
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
        process.send_signal(signal.SIGTERM)
        outcomes = [outcome for each in clients for outcome in each.result()]
    assert process.wait(60) == 0
    # A connection that the kernel took while the server was closing was never accepted by it, and is reset.
    lost = [one for one in outcomes if one is not True]
    assert outcomes.count(True) >= 20 - len(lost) and len(lost) <= len(files)
    assert all(isinstance(one, str) and ("Reset" in one or "Disconnected" in one) for one in lost)

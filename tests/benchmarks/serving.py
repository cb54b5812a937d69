"""Load test of the server: one client, many clients, malformed requests, and the memory of the process.

  python tests/benchmarks/serving.py models/english recordings/
  python tests/benchmarks/serving.py models/english recordings/ --baseline=../tfvoice-0.1

The folder holds short WAV or FLAC files. Clients and server share the machine. Each client sends its requests by both
forms in turn: a file to /transcribe, and an instance to TensorFlow Serving's predict.
"""

import argparse
import base64
import concurrent.futures
import gzip
import http.client
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import measure
import numpy as np
import soundfile


def main() -> int:
    """Returns 1 if a text was wrong, a malformed request was not rejected, or a server did not stop cleanly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an exported model")
    parser.add_argument("recordings", type=Path, help="a folder")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of load by all clients, and by one client")
    parser.add_argument("--rounds", type=int, default=4, help="in which one client and all of them alternate")
    parser.add_argument("--malformed", type=int, default=1000, help="malformed requests")
    parser.add_argument("--grpc", action="store_true", help="serve gRPC, too, and send malformed calls")
    parser.add_argument("--baseline", type=Path, help="another checkout of tfvoice, whose server alternates with ours")
    flags = parser.parse_args()
    clips = _clips(flags.recordings)
    print(f"{len(clips)} recordings of {statistics.mean(clip.seconds for clip in clips):.2f} s on average")
    roots = {"ours": measure.ROOT} | ({"baseline": flags.baseline.resolve()} if flags.baseline else {})
    servers = {}
    try:
        for name, root in roots.items():
            options = ["--grpc_port=0"] if flags.grpc and name == "ours" else []
            servers[name] = Server(name, root, flags.model, *options)
        texts = [servers["ours"].transcribe(clip.wav) for clip in clips]
        # In turn, because machines drift, and each of them first in every other round.
        for number in range(flags.rounds):
            ordered = sorted(servers.values(), key=lambda server: server.name, reverse=bool(number % 2))
            for clients in (1, flags.clients):
                for server in ordered:
                    server.load(clips, texts, clients, flags.seconds / flags.rounds)
        ours = servers["ours"]
        rejected, others = ours.malformed(flags.malformed, clips[0].wav)
        if flags.grpc:
            calls, other_calls = ours.malformed_calls(flags.malformed, clips[0].wav)
            print(f"gRPC          {calls} of {flags.malformed} malformed calls rejected, others: {other_calls}")
            others += other_calls
        sane = ours.transcribe(clips[0].wav) == texts[0]
    finally:
        stopped = {name: server.stop() for name, server in servers.items()}
    for server in servers.values():
        server.report(flags.clients)
    if flags.baseline:
        for clients in (1, flags.clients):
            ratio = ours.rate(clients) / servers["baseline"].rate(clients)
            print(f"{clients:>3} clients   {ratio:.3f} times the requests/s of the baseline (medians of rounds)")
    print(
        f"malformed     {rejected} of {flags.malformed} rejected with a sentence, others: {others}; still works: {sane}"
    )
    print(f"exit status   {stopped}")
    wrong = any(load.wrong for server in servers.values() for loads in server.loads.values() for load in loads)
    return int(wrong or bool(others) or not sane or any(stopped.values()))


class Clip(NamedTuple):
    """A recording: 16-bit WAV, the body of a predict request with it, and its length."""

    wav: bytes
    instances: bytes
    seconds: float


class Load:
    """The result of one round: latencies in seconds of right responses, wrong ones, seconds of audio and of the CPU."""

    def __init__(self):
        self.seconds, self.latencies, self.wrong, self.audio, self.cpu = 0.0, [], [], 0.0, 0.0

    @property
    def rate(self) -> float:
        """Right responses a second."""
        return len(self.latencies) / self.seconds


class Server:
    """A `tfvoice_serve` of a checkout.

    Attributes:
      loads: results of the rounds, by number of clients.
      memory: MiB that the process held at first and after each round.
    """

    def __init__(self, name: str, root: Path, model: str, *options: str):
        self.name, self.loads, start = name, {}, time.perf_counter()
        command = [sys.executable, str(root / "bin" / "tfvoice_serve"), f"--model={model}", "--port=0", *options]
        environment = measure.environment() | {"PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        for line in self.process.stdout:
            if ready := re.search(r"http://127.0.0.1:(\d+)/v1/models/(.*):predict", line):
                self.port, self.model = int(ready[1]), ready[2]
                grpc = re.search(r"gRPC: port (\d+)", line)
                self.grpc_port = int(grpc[1]) if grpc else None
                self.memory = [self.mib()]
                print(f"{name}: ready after {time.perf_counter() - start:.1f} s")
                return
        raise measure.Failure(f"the server of {root} did not start")

    def mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def cpu_seconds(self) -> float:
        """CPU time of the process, which other work on the machine disturbs less than the throughput."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def request(self, path: str, body: bytes, headers: dict | None = None) -> tuple[int, bytes]:
        """A POST on a connection of its own; returns status and body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def transcribe(self, wav: bytes) -> str:
        """The text of a file; raises `Failure` for an error response."""
        status, body = self.request("/transcribe", wav)
        if status != 200:
            raise measure.Failure(body.decode())
        return json.loads(body)["text"]

    def load(self, clips: list[Clip], texts: list[str], clients: int, seconds: float) -> None:
        """One round: each client sends one request after another for so many seconds."""
        load, start, cpu = Load(), time.perf_counter(), self.cpu_seconds()
        deadline = start + seconds

        def run_client(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            place, by_instance = number, bool(number % 2)
            while time.perf_counter() < deadline:
                place, by_instance = (place + 7) % len(clips), not by_instance
                clip, sent = clips[place], time.perf_counter()
                if by_instance:
                    connection.request("POST", f"/v1/models/{self.model}:predict", clip.instances)
                else:
                    connection.request("POST", "/transcribe", clip.wav)
                response = connection.getresponse()
                body = response.read()
                if response.status == 200 and _text(body) == texts[place]:
                    load.latencies.append(time.perf_counter() - sent)
                    load.audio += clip.seconds
                else:
                    load.wrong.append(body.decode()[:200])
            connection.close()

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(run_client, range(clients)))
        load.seconds, load.cpu = time.perf_counter() - start, self.cpu_seconds() - cpu
        self.loads.setdefault(clients, []).append(load)
        self.memory.append(self.mib())

    def rate(self, clients: int) -> float:
        """Right responses a second, median of the rounds."""
        return statistics.median(load.rate for load in self.loads[clients])

    def report(self, most_clients: int) -> None:
        """Prints the results of the rounds."""
        for clients, loads in self.loads.items():
            latencies = [latency for load in loads for latency in load.latencies]
            middle, most = (1000 * np.quantile(latencies, q) for q in (0.5, 0.95))
            wrong = [text for load in loads for text in load.wrong]
            audio = sum(load.audio for load in loads) / sum(load.seconds for load in loads)
            cpu = 1000 * sum(load.cpu for load in loads) / len(latencies)
            print(
                f"{self.name:<8} {clients:>3} clients: {self.rate(clients):.1f} requests/s "
                f"(rounds: {', '.join(f'{load.rate:.1f}' for load in loads)}), {audio:.0f} s of audio a second, "
                f"median {middle:.0f} ms, 95 % below {most:.0f} ms, {cpu:.2f} ms of CPU a request, "
                f"{len(latencies)} right, {len(wrong)} wrong {wrong[:2] or ''}"
            )
        print(f"{self.name:<8} throughput {self.rate(most_clients) / self.rate(1):.2f} times that of one client")
        print(
            f"{self.name:<8} memory {', '.join(f'{mib:.0f}' for mib in self.memory)} MiB at first and after each round"
        )

    def malformed(self, count: int, wav: bytes) -> tuple[int, list]:
        """Sends malformed requests; returns how many were rejected as they should be, and the other responses."""
        rejected, others = 0, []
        for number in range(count):
            path, body, headers = _malformed(np.random.default_rng(number), wav, self.model)
            status, response = self.request(path, body, {"Content-Type": "application/json"} | headers)
            try:
                sentence = json.loads(response)["error"]
            except (ValueError, KeyError, TypeError):
                sentence = ""
            if 400 <= status < 500 and sentence and "Error" not in sentence:
                rejected += 1
            else:
                others.append((status, response[:100], body[:60]))
        return rejected, others

    def malformed_calls(self, count: int, wav: bytes) -> tuple[int, list]:
        """Sends malformed gRPC calls; returns how many were rejected as they should be, and the other results."""
        import grpc

        rejected, others, codes = 0, [], (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            rpc = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            for number in range(count):
                body = _malformed_call(np.random.default_rng(number), wav, self.model)
                try:
                    others.append((rpc(body, timeout=60)[:100], body[:60]))
                except grpc.RpcError as error:
                    good = error.code() in codes and "log says why" not in error.details()
                    rejected += good
                    others += [] if good else [(error.code(), error.details()[:100], body[:60])]
        return rejected, others

    def stop(self) -> int:
        """Sends SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def _text(body: bytes) -> str:
    """The text in a response of either form."""
    content = json.loads(body)
    return content["predictions"][0]["text"] if "predictions" in content else content["text"]


def _malformed(random: np.random.Generator, wav: bytes, model: str) -> tuple[str, bytes, dict]:
    """A malformed request: path, body and headers."""
    kind = random.integers(11)
    if kind == 9:
        return _malformed_gzip(random, wav)
    if kind == 10:
        # The header of WebM or of MP4, and noise.
        head = (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\x82\x84webm", b"\0\0\0\x18ftypM4A \0\0\2\0")
        return "/transcribe", head[random.integers(2)] + random.bytes(int(random.integers(0, 5000))), {}
    return *_malformed_body(kind, random, wav, model), {}


def _malformed_gzip(random: np.random.Generator, wav: bytes) -> tuple[str, bytes, dict]:
    """A body that is no gzip, is cut off, or expands to more than the server accepts."""
    bodies = (random.bytes(500), gzip.compress(wav)[: random.integers(1, 1000)], gzip.compress(bytes(2**26), 1), wav)
    return "/transcribe", bodies[random.integers(len(bodies))], {"Content-Encoding": "gzip"}


def _malformed_call(random: np.random.Generator, wav: bytes, model: str) -> bytes:
    """A malformed message for Predict: noise, a damaged one, or one with a file that is no audio."""
    import tensorflow as tf

    from tfvoice.serving.grpc_messages import message_class

    kind = random.integers(4)
    if kind == 0:
        return random.bytes(int(random.integers(1, 500)))
    request = message_class("PredictRequest")(model_spec={"name": model if kind < 3 else "other"})
    request.inputs["wav"].CopyFrom(tf.make_tensor_proto([wav[: random.integers(1, 44)]]))
    message = bytearray(request.SerializeToString())
    if kind == 1:
        # Within the name of the model, the names of fields, or the type and shape of the tensor.
        message[random.integers(0, 30)] = random.integers(256)
    return bytes(message)


def _malformed_body(kind: int, random: np.random.Generator, wav: bytes, model: str) -> tuple[str, bytes]:
    predict = f"/v1/models/{model}:predict"
    if kind == 0:
        return "/transcribe", wav[: random.integers(1, 44)]
    if kind == 1:
        # A header that promises four gigabytes, cut off before the samples.
        return "/transcribe", wav[:4] + b"\xff\xff\xff\xff" + wav[8 : random.integers(12, 40)]
    if kind == 2:
        return "/transcribe", b""
    if kind == 3:
        data = io.BytesIO()
        samples = random.normal(0, 0.1, 800)
        samples[random.integers(800)] = random.choice([np.nan, np.inf, -np.inf])
        soundfile.write(data, samples, 16000, "FLOAT", format="WAV")
        return "/transcribe", data.getvalue()
    if kind == 4:
        return "/transcribe", random.bytes(int(random.integers(1, 5000)))
    if kind == 5:
        return predict, random.bytes(int(random.integers(1, 500)))
    if kind == 6:
        junk = [3, None, "text", [], {}, {"b64": 3}, {"b64": "?"}, {"waveform": "x"}, {"waveform": [[1]]}]
        return predict, json.dumps({"instances": [junk[random.integers(len(junk))]]}).encode()
    if kind == 7:
        cut = base64.b64encode(wav[: random.integers(1, 44)]).decode()
        return predict, json.dumps({"instances": [{"b64": cut}]}).encode()
    shapes = [b"{", b"[]", b"3", b'"text"', b"null", b'{"instances": 3}', b'{"inputs": {"wav": 3}}', b"[" * 10_000]
    return predict, shapes[random.integers(len(shapes))]


def _clips(folder: Path) -> list[Clip]:
    """The first 64 recordings of a folder."""
    clips = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".flac"))[:64]:
        samples, rate_hz = soundfile.read(path)
        data = io.BytesIO()
        soundfile.write(data, samples, rate_hz, "PCM_16", format="WAV")
        instances = json.dumps({"instances": [{"b64": base64.b64encode(data.getvalue()).decode()}]}).encode()
        clips.append(Clip(data.getvalue(), instances, len(samples) / rate_hz))
    return clips


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())

"""Puts a served model under load: one client, many clients, malformed requests, and what memory does meanwhile.

  python tests/benchmarks/serving.py models/english recordings/

The folder holds short WAV or FLAC files. Clients and server share the machine.
"""

import argparse
import base64
import concurrent.futures
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

import measure
import numpy as np
import soundfile


def main() -> int:
    """Returns 1 where an answer was wrong, a malformed request was not refused, or the server did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="what tfvoice_export wrote")
    parser.add_argument("recordings", type=Path, help="folder")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of load by all clients, and by one")
    parser.add_argument("--rounds", type=int, default=4, help="in which one client and all of them take turns")
    parser.add_argument("--malformed", type=int, default=1000)
    flags = parser.parse_args()
    clips = _clips(flags.recordings)
    print(f"{len(clips)} recordings of {statistics.mean(seconds for _, seconds in clips):.2f} s on average")
    server = Server(flags.model)
    try:
        wanted = [server.transcribe(data) for data, _ in clips]
        # In turn, because machines drift.
        one, many, memory = Load(), Load(), [server.mib()]
        for _ in range(flags.rounds):
            server.load(one, clips, wanted, 1, flags.seconds / flags.rounds)
            server.load(many, clips, wanted, flags.clients, flags.seconds / flags.rounds)
            memory.append(server.mib())
        refused, others = server.malformed(flags.malformed, clips[0][0])
        sane = server.transcribe(clips[0][0]) == wanted[0]
    finally:
        ended = server.stop()
    for name, load in (("1 client", one), (f"{flags.clients} clients", many)):
        print(f"{name:<12} {load}")
    print(f"throughput   {many.rate / one.rate:.2f} times that of one client")
    print(f"memory       {', '.join(f'{mib:.0f}' for mib in memory)} MiB at first and after each round")
    print(f"malformed    {refused} of {flags.malformed} refused with a sentence, others: {others}; goes on: {sane}")
    print(f"end          status {ended}")
    return int(bool(one.wrong or many.wrong or others or not sane or ended))


class Load:
    """What came of a load: latencies in seconds of right answers, wrong ones, and audio seconds read."""

    def __init__(self):
        self.seconds, self.latencies, self.wrong, self.audio = 0.0, [], [], 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.latencies) / self.seconds

    def __str__(self) -> str:
        middle, most = (1000 * np.quantile(self.latencies, q) for q in (0.5, 0.95))
        return (
            f"{self.rate:.1f} requests/s, {self.audio / self.seconds:.0f} s of audio a second, median {middle:.0f} ms, "
            f"95 % below {most:.0f} ms, {len(self.latencies)} right, {len(self.wrong)} wrong {self.wrong[:2] or ''}"
        )


class Server:
    """A `tfvoice_serve` of its own."""

    def __init__(self, model: str):
        began = time.perf_counter()
        command = [*measure.command("tfvoice_serve"), f"--model={model}", "--port=0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=measure.environment()
        )
        for line in self.process.stdout:
            if found := re.search(r"http://127.0.0.1:(\d+)/v1/models/(.*):predict", line):
                self.port, self.name = int(found[1]), found[2]
                print(f"ready after {time.perf_counter() - began:.1f} s")
                return
        raise measure.Failure("the server did not start")

    def mib(self) -> float:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def ask(self, path: str, body: bytes, headers: dict | None = None) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def transcribe(self, data: bytes) -> str:
        """The text of a file; raises where there is none."""
        status, body = self.ask("/transcribe", data)
        if status != 200:
            raise measure.Failure(body.decode())
        return json.loads(body)["text"]

    def load(self, load: Load, clips, wanted, clients: int, seconds: float) -> None:
        """All clients ask one thing after another for so many seconds; what comes of it goes into `load`."""
        began = time.perf_counter()
        end = began + seconds

        def client(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            place = number
            while time.perf_counter() < end:
                place = (place + 7) % len(clips)
                asked = time.perf_counter()
                connection.request("POST", "/transcribe", clips[place][0])
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200 and json.loads(body)["text"] == wanted[place]:
                    load.latencies.append(time.perf_counter() - asked)
                    load.audio += clips[place][1]
                else:
                    load.wrong.append(body.decode()[:200])
            connection.close()

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(client, range(clients)))
        load.seconds += time.perf_counter() - began

    def malformed(self, count: int, good: bytes) -> tuple[int, list]:
        """Sends so many broken requests; returns how many were refused as they should be, and the others."""
        refused, others = 0, []
        for number in range(count):
            path, body = _broken(np.random.default_rng(number), good, self.name)
            status, answer = self.ask(path, body, {"Content-Type": "application/json"})
            try:
                sentence = json.loads(answer)["error"]
            except (ValueError, KeyError, TypeError):
                sentence = ""
            if 400 <= status < 500 and sentence and "Error" not in sentence:
                refused += 1
            else:
                others.append((status, answer[:100], body[:60]))
        return refused, others

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def _broken(random: np.random.Generator, good: bytes, name: str) -> tuple[str, bytes]:
    """A request with something wrong."""
    kind = random.integers(9)
    predict = f"/v1/models/{name}:predict"
    if kind == 0:
        return "/transcribe", good[: random.integers(1, 44)]
    if kind == 1:
        # A header that promises four gigabytes, and is cut off before its samples.
        return "/transcribe", good[:4] + b"\xff\xff\xff\xff" + good[8 : random.integers(12, 40)]
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
        cut = base64.b64encode(good[: random.integers(1, 44)]).decode()
        return predict, json.dumps({"instances": [{"b64": cut}]}).encode()
    shapes = [b"{", b"[]", b"3", b'"text"', b"null", b'{"instances": 3}', b'{"inputs": {"wav": 3}}', b"[" * 10_000]
    return predict, shapes[random.integers(len(shapes))]


def _clips(folder: Path) -> list[tuple[bytes, float]]:
    """Files as 16-bit WAV, and their seconds."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".flac"))[:64]:
        samples, rate_hz = soundfile.read(path)
        data = io.BytesIO()
        soundfile.write(data, samples, rate_hz, "PCM_16", format="WAV")
        found.append((data.getvalue(), len(samples) / rate_hz))
    return found


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())

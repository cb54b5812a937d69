"""Load test of the server's speech: one client, many clients, clients that disconnect, malformed requests, memory.

  python tests/benchmarks/speech_serving.py voices/mary

Clients and server share the machine. Each response is compared with what `Speaker` gives for its text and seed, byte
for byte.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import measure
import numpy as np
import serving

# Of one and of two sentences.
TEXTS = (
    "Please call Stella.",
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background. It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch. The box was thrown beside the parked truck.",
    "Four hours of steady work faced us.",
    "Yes.",
)
MALFORMED = (
    b"", b"{", b"[]", b'{"text": ""}', b'{"text": 3}', b'{"text": "a", "speed": NaN}', b'{"text": "a", "speed": 99}',
    b'{"phonemes": "QQ"}', b'{"text": "a", "voice": "unknown"}', b'{"txt": "a"}', b'{"text": "\\u0000"}',
    b'{"text": "a", "seed": 1e9}', b'{"text": "a", "format": "pdf"}', b'{"text": "' + b"a " * 2**19 + b'"}',
)  # fmt: skip


def main() -> int:
    """Returns 1 if a response was wrong, a malformed request was not rejected, or the server did not stop cleanly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voice", help="folder of a voice")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60, help="of load by all clients; a quarter of it by one")
    parser.add_argument("--rounds", type=int, default=4, help="after which the memory is looked at")
    flags = parser.parse_args()
    requests = _requests(flags.voice)
    server = SpeechServer(flags.voice)
    try:
        server.load(requests, 1, flags.seconds / 4)
        for _ in range(flags.rounds):
            server.load(requests, flags.clients, flags.seconds / flags.rounds)
        loads = list(server.loads)
        disconnected = server.disconnect(requests, 100)
        others = server.malformed()
        server.load(requests, 1, 1)
    finally:
        status = server.stop()
    for load in loads:
        load.report()
    print(f"memory        {', '.join(f'{mib:.0f}' for mib in server.memory)} MiB at first and after each round")
    print(f"disconnected  100 clients after their first bytes; idle again after {disconnected:.1f} s")
    print(
        f"malformed     {len(MALFORMED) - len(others)} of {len(MALFORMED)} rejected with a sentence, others: {others}"
    )
    print(f"exit status   {status}")
    return int(any(load.wrong for load in server.loads) or bool(others) or bool(status))


class Request(NamedTuple):
    """A body, the samples that are expected, 16 bits each, and their length in seconds."""

    body: bytes
    pcm: bytes
    seconds: float


class Load:
    """The result of one round: seconds to the first sound and to the last, of right responses; wrong ones; speech."""

    def __init__(self, clients: int):
        self.clients, self.seconds, self.first, self.whole, self.wrong = clients, 0.0, [], [], []
        self.speech, self.cpu = 0.0, 0.0

    def report(self) -> None:
        """Prints a line."""
        first, whole = (np.quantile(values, (0.5, 0.95)) for values in (self.first, self.whole))
        print(
            f"{self.clients:>3} clients   {len(self.whole) / self.seconds:.2f} texts/s, "
            f"{self.speech / self.seconds:.2f} s of speech a second, first sound {first[0]:.2f} s (median), "
            f"{first[1]:.2f} s (95 %), whole text {whole[0]:.2f} and {whole[1]:.2f} s, "
            f"{self.cpu / self.speech:.3f} s of CPU a second of it, {len(self.whole)} right, {len(self.wrong)} wrong "
            f"{self.wrong[:2] or ''}"
        )


class SpeechServer(serving.Server):
    """A `tfvoice_serve` with a voice.

    Attributes:
      loads: results of the rounds.
      memory: MiB that the process held at first and after each round.
    """

    def __init__(self, voice: str):
        command = [sys.executable, str(measure.ROOT / "bin" / "tfvoice_serve"), f"--voice={voice}", "--port=0"]
        environment = measure.environment() | {"PYTHONPATH": str(measure.ROOT)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.loads, start = [], time.perf_counter()
        for line in self.process.stdout:
            if ready := re.search(r"http://127.0.0.1:(\d+)/speak", line):
                self.port, self.memory = int(ready[1]), [self.mib()]
                print(f"ready after {time.perf_counter() - start:.1f} s")
                return
        raise measure.Failure("the server did not start")

    def load(self, requests: list[Request], clients: int, seconds: float) -> None:
        """One round: each client sends one request after another for so many seconds."""
        load, start, cpu = Load(clients), time.perf_counter(), self.cpu_seconds()
        deadline, lock = start + seconds, threading.Lock()

        def run_client(number: int) -> None:
            connection, place = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300), number
            while time.perf_counter() < deadline:
                place = (place + 7) % len(requests)
                sent = time.perf_counter()
                connection.request("POST", "/speak", requests[place].body)
                response = connection.getresponse()
                data = response.read1(64)
                first = time.perf_counter() - sent
                data += response.read()
                with lock:
                    if response.status == 200 and data == requests[place].pcm:
                        load.first.append(first)
                        load.whole.append(time.perf_counter() - sent)
                        load.speech += requests[place].seconds
                    else:
                        load.wrong.append((response.status, requests[place].body, data[:100]))
            connection.close()

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(run_client, range(clients)))
        load.seconds, load.cpu = time.perf_counter() - start, self.cpu_seconds() - cpu
        self.loads.append(load)
        self.memory.append(self.mib())

    def disconnect(self, requests: list[Request], count: int) -> float:
        """Clients that hang up after their first bytes; returns the seconds until nothing waits and nothing is made."""
        body = json.dumps({"text": " ".join(TEXTS) * 5, "format": "raw"}).encode()
        for number in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
            connection.request("POST", "/speak", body if number % 2 else requests[number % len(requests)].body)
            if number % 10 == 0:
                connection.getresponse().read1(64)
            connection.close()
        start, before = time.perf_counter(), -1.0
        while (spoken := self._metric("tfvoice_spoken_seconds_total")) != before or self._metric(
            "tfvoice_sentences_waiting"
        ):
            before = spoken
            time.sleep(1)
        self.memory.append(self.mib())
        return time.perf_counter() - start

    def malformed(self) -> list:
        """Sends malformed requests; returns the responses to those that were not rejected as they should be."""
        others = []
        for body in MALFORMED:
            status, response = self.request("/speak", body)
            sentence = json.loads(response).get("error") if 400 <= status < 500 else ""
            if not sentence or "Error" in sentence:
                others.append((status, response[:100], body[:60]))
        return others

    def _metric(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def _requests(voice: str) -> list[Request]:
    """Each text with two seeds, and what the voice says without a server."""
    from tfvoice.audio import io as audio_io
    from tfvoice.tts.voice.run import VoiceRun
    from tfvoice.tts.voice.speaker import Speaker, SpeechOptions

    speaker, requests = Speaker(VoiceRun.load(voice)), []
    for number, text in enumerate((*TEXTS, *TEXTS)):
        options, parts = SpeechOptions(seed=number), []
        for sentence in speaker.sentences(text, options):
            parts += [speaker.pause(options)] if parts else []
            parts.append(speaker.speak(sentence, options))
        pcm = audio_io.to_pcm16(np.concatenate(parts)).astype("<i2").tobytes()
        body = json.dumps({"text": text, "seed": number, "format": "raw"}).encode()
        requests.append(Request(body, pcm, len(pcm) / 2 / speaker.voice.sample_rate_hz))
    seconds = sum(request.seconds for request in requests)
    print(f"{len(requests)} texts of {seconds / len(requests):.2f} s on average")
    return requests


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(measure.ROOT)))
    sys.exit(main())

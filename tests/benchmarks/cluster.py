"""Training in several processes on loopback: equal runs, one process against several, failures, random kills, exchange.

  python tests/benchmarks/cluster.py --data=RECORDS                 all cases; or only those named: equal failures ...

`equal` trains every model whose records are given (`--data` plain, `--aligned` aligned ones) twice in two processes and
compares all bytes of the last checkpoint. `shares` compares SampleRNN, and for the record WaveNet ASR, in two processes
with one. `failures` kills, stops and interrupts single processes, measures how long the others go on, and lets the same
command resume; `random` does so at random moments, `--kills` times. `exchange` times the sum of as many numbers as each
model has.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import measure
import numpy as np
from safetensors.numpy import load_file

SMALL = {
    "wavenet_asr": ("model.width=16", "model.dilations=[1,2,4]", "model.stacks=1"),
    "deepspeech2": ("model.units=32", "model.convolution_channels=4", "features.bins=32", "features.kind=log_mel"),
    "sample_rnn": ("model.units=32", "model.embedding=16", "sampling.count=0"),
    "segmentation": ("model.units=32",),
    "g2p": ("model.units=32",),
    "duration_f0": ("model.dense=32", "model.recurrent=16"),
    "vocoder": ("model.layers=4", "sampling.count=0"),
}
ALIGNED = ("duration_f0", "vocoder")
PARAMETERS = {
    "wavenet_asr 3.7 M": 3.7e6,
    "deepspeech2 16 M": 16e6,
    "sample_rnn 18.7 M": 18.7e6,
    "deepspeech2 86 M": 86e6,
}
LIMIT_SECONDS = 30


class End(NamedTuple):
    """How a process ended: exit status, seconds after the signal, what it wrote to its standard error."""

    status: int
    seconds: float
    errors: str


class Bench:
    """Options and a temporary folder."""

    def __init__(self, folder: Path, options: argparse.Namespace):
        self.folder, self.options = folder, options

    def command(self, model: str, run: str, *more: str) -> list[str]:
        """The command line that trains a small model."""
        data = {"g2p": "cmudict"}.get(model, self.options.aligned if model in ALIGNED else self.options.data)
        chosen = [f"--set={change}" for change in (*SMALL[model], "training.precision=float32")]
        return [
            *measure.command("tfvoice_train"),
            f"--model={model}", f"--data={data}", f"--run={self.folder / run}", *chosen, *more,
        ]  # fmt: skip

    def train(self, command: list[str], count: int) -> float:
        """Runs a command to its end in `count` processes; returns the seconds."""
        start = time.monotonic()
        ends = self.wait(self.start(command, count), start, 1200)
        failed = [end.errors for end in ends if end.status]
        if failed:
            sys.exit(f"{' '.join(command)}\n{failed[0]}")
        return time.monotonic() - start

    def start(self, command: list[str], count: int) -> list[subprocess.Popen]:
        """Starts a command in `count` processes."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        processes = []
        for number in range(count):
            place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            environment = measure.environment() | {"TF_CONFIG": json.dumps(place) if count > 1 else ""}
            with open(self.folder / f"errors-{number}", "w") as errors:
                processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors))
        return processes

    def wait(self, processes: list[subprocess.Popen], start: float, limit: float) -> list[End]:
        """Waits for the end of all; those that live on after `limit` seconds are killed, status 137."""
        ended: dict[int, float] = {}
        while len(ended) < len(processes) and time.monotonic() - start < limit:
            for number, process in enumerate(processes):
                if process.poll() is not None:
                    ended.setdefault(number, time.monotonic() - start)
            time.sleep(0.05)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        return [
            End(
                process.returncode,
                ended.get(number, float("inf")),
                (self.folder / f"errors-{number}").read_text(errors="replace").strip(),
            )
            for number, process in enumerate(processes)
        ]

    def arrays(self, run: str) -> dict[str, np.ndarray]:
        """The last checkpoint."""
        return load_file(self.folder / run / "checkpoints" / "last.safetensors")

    def same(self, run: str, other: str) -> bool:
        """Whether all tensors of two runs are equal, bit for bit."""
        one, two = self.arrays(run), self.arrays(other)
        return one.keys() == two.keys() and all(one[key].tobytes() == two[key].tobytes() for key in one)

    def step(self, run: str) -> int:
        """The step of the last checkpoint; 0 without one."""
        path = self.folder / run / "checkpoints" / "last.safetensors"
        if not path.is_file():
            return 0
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return json.loads(json.loads(header["__metadata__"]["tfvoice"])["state"])["step"]

    def wait_for(self, run: str, step: int, processes: list[subprocess.Popen]) -> None:
        """Waits until the run has saved so many steps, or has ended."""
        while self.step(run) < step and all(process.poll() is None for process in processes):
            time.sleep(0.02)


def equal(bench: Bench) -> None:
    """Two equal runs of two processes."""
    models = [model for model in SMALL if model not in ALIGNED or bench.options.aligned]
    for model in bench.options.models or models:
        for run in ("first", "second"):
            bench.train(bench.command(model, run, "--overwrite", "--max_steps=6", "--set=training.batch_size=8"), 2)
        print(
            f"equal: {model}, two runs of two processes: {'identical' if bench.same('first', 'second') else 'DIFFER'}"
        )


def shares(bench: Bench) -> None:
    """Two and three processes against one."""
    for model, count, size in (("sample_rnn", 2, 16), ("sample_rnn", 3, 15), ("wavenet_asr", 2, 16)):
        flags = ("--overwrite", "--max_steps=16", f"--set=training.batch_size={size}")
        for run, processes in (("one", 1), ("several", count)):
            bench.train(bench.command(model, run, *flags), processes)
        one, several = bench.arrays("one"), bench.arrays("several")
        weights = [key for key in one if key.split("/")[0] == ("raw" if "raw/" in " ".join(one) else "weights")]
        apart = max(
            float(np.abs(one[key].astype(np.float64) - several[key]).max() / max(np.abs(one[key]).max(), 1e-30))
            for key in weights
        )
        share = size // count
        print(f"shares: {model}, {count} x {share} against 1 x {size}, 16 steps: at most {apart:.1e} of its maximum")


def failures(bench: Bench) -> None:
    """Single processes that die, freeze, or are asked to stop."""
    for model in ("wavenet_asr", "sample_rnn"):
        flags = ("--max_steps=40", "--checkpoint_minutes=0", "--set=training.batch_size=8")
        bench.train(bench.command(model, f"whole-{model}", *flags), 2)
        for number, victim in ((signal.SIGKILL, 1), (signal.SIGKILL, 0), (signal.SIGTERM, 1), (signal.SIGSTOP, 1)):
            run = f"{model}-{number.name}-{victim}"
            command = bench.command(model, run, *flags)
            processes = bench.start(command, 2)
            bench.wait_for(run, 10, processes)
            processes[victim].send_signal(number)
            ends = bench.wait(processes, time.monotonic(), 60)
            other, step = ends[1 - victim], bench.step(run)
            bench.train(command, 2)
            verdict = "identical" if bench.same(run, f"whole-{model}") else "DIFFER"
            one_sentence = "Traceback" not in other.errors and len(other.errors.splitlines()) == 1
            print(
                f"failures: {model}, {number.name} to worker {victim}: the other ended after {other.seconds:.1f} s "
                f"with {other.status}, {'one sentence' if one_sentence else 'MORE THAN A SENTENCE'}; resumed after "
                f"step {step}: {verdict}\n  {other.errors[-600:]}"
            )


def kills(bench: Bench) -> None:
    """Random kills in a row."""
    steps = 12 * bench.options.kills
    flags = (
        f"--max_steps={steps}",
        "--checkpoint_minutes=0",
        "--set=training.batch_size=8",
        "--set=training.epochs=99",
    )
    bench.train(bench.command("wavenet_asr", "whole", *flags), 2)
    command, times = bench.command("wavenet_asr", "killed", *flags), []
    for kill in range(bench.options.kills):
        processes = bench.start(command, 2)
        bench.wait_for("killed", bench.step("killed") + random.randint(1, 9), processes)
        time.sleep(random.random() / 5)
        victim, number = random.choice(processes), random.choice((signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM))
        victim.send_signal(number)
        ends = bench.wait(processes, time.monotonic(), 60)
        times.append(max(end.seconds for end, process in zip(ends, processes, strict=True) if process is not victim))
        print(
            f"random: kill {kill + 1}, {number.name}, the other after {times[-1]:.1f} s, step {bench.step('killed')}",
            flush=True,
        )
    bench.train(command, 2)
    verdict = "identical" if bench.same("killed", "whole") else "DIFFER"
    print(f"random: {len(times)} kills, the others ended after {max(times):.1f} s at most; at the end {verdict}")


def exchange(bench: Bench) -> None:
    """The sum of a vector over the processes."""
    code = (
        "import statistics, sys, time, tensorflow as tf\n"
        "from tfvoice.cluster import cluster\n"
        "joined = cluster.join()\n"
        "for size in map(int, sys.argv[1:]):\n"
        "    values, times = tf.zeros([size]), []\n"
        "    total = tf.function(lambda part: joined.sums([part]))\n"
        "    for _ in range(12):\n"
        "        start = time.perf_counter()\n"
        "        total(values)\n"
        "        times.append(time.perf_counter() - start)\n"
        "    if joined.is_chief:\n"
        "        print(statistics.median(times[2:]), file=sys.stderr, flush=True)\n"
        "joined.shared()\n"
    )
    for count in (2, 3):
        command = [sys.executable, "-c", code, *(str(int(size)) for size in PARAMETERS.values())]
        ends = bench.wait(bench.start(command, count), time.monotonic(), 600)
        times = [float(line) for line in ends[0].errors.splitlines() if line.replace(".", "").isdigit()]
        for name, seconds in zip(PARAMETERS, times, strict=False):
            print(f"exchange: {count} processes, {name}: {1000 * seconds:.0f} ms")


CASES = {"equal": equal, "shares": shares, "failures": failures, "random": kills, "exchange": exchange}


def main() -> None:
    """Runs the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--data", required=True, help="folder of plain records")
    parser.add_argument("--aligned", help="folder of aligned records")
    parser.add_argument("--models", nargs="*", help="of the case equal; default: all whose records are given")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    options.data = os.path.abspath(options.data)
    options.aligned = options.aligned and os.path.abspath(options.aligned)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases or CASES:
            CASES[name](Bench(Path(folder), options))


if __name__ == "__main__":
    main()

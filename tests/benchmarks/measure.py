"""What all benchmarks share: worker processes that are timed in turn, rows, and what the machine is.

Standard library only: a worker may run in an environment that has nothing else of ours.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Options(NamedTuple):
    """How to measure: runs of each side, the interpreter that has PyTorch, and a folder that is thrown away."""

    runs: int
    torch_python: str
    folder: Path


class Row(NamedTuple):
    """One line of the table.

    Attributes:
      what: is measured.
      ours: figure of tfvoice, with its unit.
      instead: what one would use otherwise, and its figure.
      ratio: how many times better tfvoice is; None where there is nothing to compare with.
      target: what was aimed at; empty for a row that only informs.
      met: whether it was reached; None where it could not be judged.
      notes: lines for below the row.
      seconds: every single run, by side.
    """

    what: str
    ours: str
    instead: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, list[float]] = {}  # noqa: RUF012 - a named tuple's default, never changed


class Failure(Exception):
    """A worker or a command that did not do its work; the text is for the table."""


class Worker:
    """A process that makes something ready and then runs it as often as it is told to.

    Args:
      command: of the process, which calls `serve`.
      spec: what it gets as its first line.
    """

    def __init__(self, command: list[str], spec: dict[str, Any]):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment()
        )
        self.about = self._ask(json.dumps(spec))

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def do(self, action: str) -> dict[str, Any]:
        """Runs an action; returns its `seconds`, and what it returned itself."""
        return self._ask(action)

    def timer(self, action: str) -> Callable[[], float]:
        """An action as a function that returns its seconds."""
        return lambda: self.do(action)["seconds"]

    def _ask(self, line: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or ["no message"]
            raise Failure(f"{Path(self._process.args[-1]).name} ended: {lines[-1]}")
        return json.loads(answer)


def serve(prepare: Callable[[dict[str, Any]], tuple[dict[str, Callable], dict[str, Any]]]) -> None:
    """The other side of `Worker`: reads the spec, then one action a line, and answers each with its time.

    Args:
      prepare: takes the spec; returns the actions by name, and what there is to tell about them.
    """
    # Only answers go out on the standard output, whatever libraries print.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    actions, about = prepare(json.loads(sys.stdin.readline()))
    print(json.dumps(about), file=out, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        result = actions[line.strip()]()
        answer = {"seconds": time.perf_counter() - began} | (result or {})
        print(json.dumps(answer), file=out, flush=True)


def in_turn(sides: dict[str, Callable[[], float]], runs: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Runs every side once, then every side again, and so on, so that a slow minute of the machine hits all of them.

    Args:
      sides: what returns its own time in seconds.
      runs: of each side.
      warm_up: runs before those that count.

    Returns:
      The times of each side.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(warm_up + runs):
        for name, side in sides.items():
            seconds = side()
            if run >= warm_up:
                times[name].append(seconds)
    return times


def timed(command: list[str], **options) -> float:
    """Wall time of a command; raises `Failure` where it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), **options)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise Failure(f"{' '.join(command[:3])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return seconds


def command(name: str) -> list[str]:
    """A command of tfvoice, run from this checkout by this interpreter."""
    return [sys.executable, str(ROOT / "bin" / name)]


def environment() -> dict[str, str]:
    """Variables of every process: this checkout is importable, TensorFlow is quiet."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def peak() -> dict[str, float]:
    """The most memory that this process ever held, as the answer of an action."""
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)}


def median(seconds: list[float]) -> float:
    """The middle one, which a few disturbed runs do not move."""
    return statistics.median(seconds)


def milliseconds(seconds: list[float]) -> str:
    """The median for people."""
    value = 1000 * median(seconds)
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Processor, cores, memory and system."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        names = [line.split(":", 1)[1].strip() for line in described.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {cores()} cores, {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}"


def versions() -> dict[str, str]:
    """Of Python and of the packages that the times depend on."""
    found = {"python": platform.python_version()}
    for name in ("tfvoice", "tensorflow", "keras", "numpy", "soxr", "soundfile"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found

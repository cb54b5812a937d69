"""Shared by all benchmarks: timed worker processes, rows of the table, and a description of the machine.

Standard library only, because a worker may run in an environment without tfvoice's dependencies.
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
    """How to measure: runs of each side, the interpreter with PyTorch, and a temporary folder."""

    runs: int
    torch_python: str
    folder: Path


class Row(NamedTuple):
    """One line of the table.

    Attributes:
      benchmark: what is measured.
      tfvoice: tfvoice's result, with its unit.
      baseline: name and result of the alternative.
      ratio: how many times better tfvoice is; None without a baseline.
      target: target for the result; empty for an informational row.
      met: whether the target was met; None if that is unknown.
      notes: lines printed below the row.
      seconds: the time of every run, by side.
    """

    benchmark: str
    tfvoice: str
    baseline: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, list[float]] = {}  # noqa: RUF012 - default of a named tuple, never modified


class Failure(Exception):
    """A worker or command that failed; the message goes into the table."""


class Worker:
    """A subprocess that sets a benchmark up once and then runs its actions on request.

    Args:
      command: command line of the subprocess, which calls `serve`.
      spec: parameters of the set-up, sent as the first line of its standard input.

    Attributes:
      about: facts that the set-up returned, such as versions and parameter counts.
    """

    def __init__(self, command: list[str], spec: dict[str, Any]):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
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
        """Runs an action; returns its `seconds` merged with the action's own result."""
        return self._ask(action)

    def timer(self, action: str) -> Callable[[], float]:
        """Returns a function that runs an action and returns its time in seconds."""
        return lambda: self.do(action)["seconds"]

    def _ask(self, line: str) -> dict[str, Any]:
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            response = self._process.stdout.readline()
        except BrokenPipeError:
            response = ""
        if not response:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or ["no error message"]
            raise Failure(f"{Path(self._process.args[-1]).name} exited: {lines[-1]}")
        return json.loads(response)


def serve(prepare: Callable[[dict[str, Any]], tuple[dict[str, Callable], dict[str, Any]]]) -> None:
    """Runs inside the subprocess of a `Worker`: reads the spec, then one action per line, and replies with its time.

    Args:
      prepare: takes the spec; returns the actions by name, and the facts for `Worker.about`.
    """
    # Libraries that print must not corrupt the protocol: standard output carries responses only.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    actions, about = prepare(json.loads(sys.stdin.readline()))
    print(json.dumps(about), file=out, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        result = actions[line.strip()]()
        response = {"seconds": time.perf_counter() - start} | (result or {})
        print(json.dumps(response), file=out, flush=True)


def in_turn(sides: dict[str, Callable[[], float]], runs: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Interleaves the runs of all sides, so that a slow phase of the machine affects all of them.

    Args:
      sides: functions that run once and return their time in seconds.
      runs: measured runs of each side.
      warm_up: runs of each side before the measured ones.

    Returns:
      The times of each side in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(warm_up + runs):
        for name, side in sides.items():
            seconds = side()
            if run >= warm_up:
                times[name].append(seconds)
    return times


def timed(command: list[str], **options) -> float:
    """Wall time of a command in seconds; raises `Failure` if it fails."""
    start = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, env=environment(), **options)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise Failure(f"{' '.join(command[:3])}: {(process.stderr.strip().splitlines() or ['no error message'])[-1]}")
    return seconds


def command(name: str) -> list[str]:
    """Command line of a tfvoice script in this checkout, run by this interpreter."""
    return [sys.executable, str(ROOT / "bin" / name)]


def environment() -> dict[str, str]:
    """Environment of every subprocess: this checkout is importable and TensorFlow logs only errors."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def peak() -> dict[str, float]:
    """Peak resident memory of this process in MiB, as the result of an action."""
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)}


def median(seconds: list[float]) -> float:
    """The median, which is robust to a few disturbed runs."""
    return statistics.median(seconds)


def milliseconds(seconds: list[float]) -> str:
    """The median, formatted in milliseconds."""
    value = 1000 * median(seconds)
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def cores() -> int:
    """CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """CPU model, cores, memory and operating system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {cores()} cores, {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the timings."""
    installed = {"python": platform.python_version()}
    for name in ("tfvoice", "tensorflow", "keras", "numpy", "soxr", "soundfile"):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed

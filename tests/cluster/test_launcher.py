"""Laws of the launcher: processes that find each other, one terminal, signals to all, and none left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tfvoice.cluster import launcher
from tfvoice.errors import TfvoiceError

ROOT = Path(__file__).resolve().parents[2]


def script(tmp_path, body):
    """A program that knows its place in `me`, of which `body` is the rest."""
    path = tmp_path / "program.py"
    head = "import os, signal, sys, time\nfrom tfvoice.cluster import place\nme = place.find(os.environ)\n"
    path.write_text(head + textwrap.dedent(body))
    return [sys.executable, str(path)]


def launched(command, count=3):
    """Launches in a process of its own, whose output is not that of the tests."""
    code = f"import sys; from tfvoice.cluster import launcher; sys.exit(launcher.launch({command!r}, {count}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment.pop("TF_CONFIG", None)
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_each_process_has_a_place_and_the_chief_the_terminal(tmp_path):
    process = launched(
        script(tmp_path, "print(me.index, len(set(me.addresses)), os.environ['TF_NUM_INTRAOP_THREADS'])")
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    index, count, threads = out.split()
    assert (index, count) == ("0", "3") and int(threads) >= 1
    assert sorted(err.splitlines()) == [f"worker {number}: {number} 3 {threads}" for number in (1, 2)]


def test_the_status_is_that_of_the_first_failure_and_the_others_are_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "_GRACE_SECONDS", 0.5)
    start = time.monotonic()
    assert launcher.launch(script(tmp_path, "sys.exit(3) if me.index == 1 else time.sleep(60)"), 2) == 3
    assert launcher.launch(script(tmp_path, "os.kill(os.getpid(), 9) if me.index == 1 else time.sleep(60)"), 2) == 137
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_every_process_once(tmp_path, number):
    body = """
        seen = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: seen.append(number))
        print("ready", flush=True)
        deadline = time.monotonic() + 30
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        print([int(each) for each in seen], flush=True)
        sys.exit(130)
    """
    process = launched(script(tmp_path, body), 2)
    assert process.stdout.readline() == "ready\n" and process.stderr.readline() == "worker 1: ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, f"[{number}]\n", f"worker 1: [{number}]\n")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells children of the end of their parent")
def test_processes_end_with_a_launcher_that_is_killed(tmp_path):
    process = launched(script(tmp_path, "print(os.getpid(), flush=True); time.sleep(60)"), 2)
    children = [int(process.stdout.readline()), int(process.stderr.readline().removeprefix("worker 1: "))]
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while (left := [child for child in children if is_running(child)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def is_running(process):
    """Whether a process exists and has not ended; the launcher, which would wait for it, is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_cluster_within_a_cluster_is_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(TfvoiceError, match="--processes"):
        launcher.launch([sys.executable, "-c", ""], 2)

"""Several processes of one command on this machine, which train together: `tfvoice_train --processes`."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from tfvoice import hardware
from tfvoice.cluster import place as place_
from tfvoice.cluster.place import ALONE, Place
from tfvoice.errors import TfvoiceError
from tfvoice.handlers import handler

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.1
# When one process has ended with an error, the others notice within 11 s, and then say so.
_GRACE_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def launch(command: Sequence[str], count: int) -> int:
    """Runs a command in several processes that find each other by `TF_CONFIG`.

    The first one has the terminal; lines of the others are printed with their number in front. Signals are passed on.
    When one process fails, the others are ended.

    Args:
      command: program and arguments.
      count: number of processes.

    Returns:
      The exit status of the first process that failed; 0 where none did.

    Raises:
      TfvoiceError: the environment already names a cluster.
    """
    if place_.find(os.environ) != ALONE:
        raise TfvoiceError(
            "--processes: TF_CONFIG or Slurm has already placed this process in a cluster; leave it out."
        )
    addresses = tuple(f"{_HOST}:{port}" for port in _free_ports(count))
    processes: list[subprocess.Popen] = []
    with _passed_on(processes), contextlib.ExitStack() as stack:
        stack.callback(_end, processes)
        for number in range(count):
            processes.append(_start(command, Place(number, addresses)))
        for number, process in enumerate(processes[1:], 1):
            threading.Thread(target=_print, args=(process.stdout, number), daemon=True).start()
        return _wait(processes)


def _start(command: Sequence[str], place: Place) -> subprocess.Popen:
    threads = max(1, hardware.cores() // len(place.addresses))
    environment = {"TF_NUM_INTRAOP_THREADS": str(threads)} | os.environ | {"TF_CONFIG": place.as_tf_config()}
    output = {} if place.index == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # A session of its own, so that Ctrl-C reaches each process once: from this one.
    return subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with_parent, **output)


def _end_with_parent() -> None:
    """Has Linux send SIGTERM to this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(processes: list[subprocess.Popen]) -> int:
    """Waits for all processes; for those that are left after a failure, not for long."""
    deadline, failed = None, 0
    while any(process.poll() is None for process in processes):
        for process in processes:
            if not failed and process.poll():
                failed, deadline = process.returncode, time.monotonic() + _GRACE_SECONDS
        if deadline and time.monotonic() > deadline:
            _end(processes)
        time.sleep(_POLL_SECONDS)
    failed = failed or next((process.returncode for process in processes if process.returncode), 0)
    # As a shell says that a signal ended a process.
    return failed if failed >= 0 else 128 - failed


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.kill()


def _print(lines: IO[bytes], number: int) -> None:
    for line in lines:
        print(f"worker {number}: {line.decode(errors='replace').rstrip()}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _passed_on(processes: list[subprocess.Popen]) -> Iterator[None]:
    """Inside the `with`, SIGINT and SIGTERM go to the processes, which save and end, and not to this one."""

    def pass_on(number: int, _) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    with handler(signal.SIGINT, pass_on), handler(signal.SIGTERM, pass_on):
        yield


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((_HOST, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]

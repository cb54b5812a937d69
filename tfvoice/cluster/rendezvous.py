"""Waits until all processes of a cluster are there, and names the one that is not.

TensorFlow's own start waits for ever, with signals blocked, for a process that never comes. So the processes meet
before it: each connects to the address of the chief, says who it is, and waits for the chief to say that all are there.
The port is then free for TensorFlow.
"""

import contextlib
import json
import socket
import time
from collections.abc import Iterable

from tfvoice.cluster.place import Place
from tfvoice.errors import TfvoiceError

_POLL_SECONDS = 0.2
_LONGEST_LINE = 65_536
# To answer those that are there, when time is up.
_GRACE_SECONDS = 5.0


def meet(place: Place, seconds: float, version: str) -> None:
    """Returns when all processes of the cluster have met.

    Args:
      place: of this process.
      seconds: to wait for the others.
      version: of what must be the same everywhere.

    Raises:
      TfvoiceError: a process did not come or has another version, or the address of the chief cannot be used.
    """
    deadline = time.monotonic() + seconds
    if place.index == 0:
        _gather(place, deadline, seconds, version)
    else:
        _report(place, deadline, seconds, version)


def _gather(place: Place, deadline: float, seconds: float, version: str) -> None:
    """The chief's part."""
    port = int(place.addresses[0].rpartition(":")[2])
    there: dict[int, socket.socket] = {}
    versions: dict[int, str] = {}
    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(_listener(port))
        except OSError as error:
            raise TfvoiceError(
                f"{place.addresses[0]}, the address of the chief, cannot be used ({error.strerror}); is another "
                "training still running there?"
            ) from None
        listener.settimeout(_POLL_SECONDS)
        while len(there) < len(place.addresses) - 1:
            if time.monotonic() > deadline:
                absent = [number for number in range(1, len(place.addresses)) if number not in there]
                _refuse(there.values(), f"{_named(place, absent)} did not join within {seconds:g} s.")
            try:
                connection = stack.enter_context(listener.accept()[0])
            except TimeoutError:
                continue
            # What connects may be anything, such as a check of the port.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                connection.settimeout(_GRACE_SECONDS)
                hello = json.loads(_line(connection))
                number, its_version = int(hello["index"]), str(hello["version"])
                if 0 < number < len(place.addresses):
                    there[number], versions[number] = connection, its_version
        for number, its_version in sorted(versions.items()):
            if its_version != version:
                _refuse(there.values(), f"{_named(place, [number])} has {its_version}, and the chief {version}.")
        for connection in there.values():
            with contextlib.suppress(OSError):
                connection.sendall(b'{"go": true}\n')


def _report(place: Place, deadline: float, seconds: float, version: str) -> None:
    """The part of all others."""
    host, _, port = place.addresses[0].rpartition(":")
    while time.monotonic() < deadline + _GRACE_SECONDS:
        answer = None
        # What answers may be something else, such as a chief that has not ended yet.
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_SECONDS) as connection,
        ):
            connection.sendall(json.dumps({"index": place.index, "version": version}).encode() + b"\n")
            connection.settimeout(max(deadline - time.monotonic(), 0) + _GRACE_SECONDS)
            answer = json.loads(_line(connection))
        if isinstance(answer, dict) and answer.get("go"):
            return
        if isinstance(answer, dict):
            raise TfvoiceError(str(answer.get("error")))
        time.sleep(_POLL_SECONDS)
    raise TfvoiceError(f"{_named(place, [0])} did not join within {seconds:g} s.")


def _listener(port: int) -> socket.socket:
    """A socket that listens on all interfaces: the name of the chief may be that of a service in front of its host."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    return socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6)


def _line(connection: socket.socket) -> bytes:
    """A line; raises `ValueError` where the connection ends before."""
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(1024)
        received += part
        if not part or len(received) > _LONGEST_LINE:
            raise ValueError("no line")
    return received


def _refuse(connections: Iterable[socket.socket], sentence: str) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps({"error": sentence}).encode() + b"\n")
    raise TfvoiceError(sentence)


def _named(place: Place, numbers: list[int]) -> str:
    return ", ".join(f"worker {number} ({place.addresses[number]})" for number in numbers)

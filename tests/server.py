"""The server in tests: `tfvoice_serve` as a process and HTTP requests to it, and an ASGI application without either."""

import asyncio
import contextlib
import http.client
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

_COMMAND = Path(__file__).parent.parent / "bin" / "tfvoice_serve"
# To start and to stop on a busy machine.
_TIMEOUT_SECONDS = 300


class Server:
    """A server on a free port; killed at the end of the `with` if it still runs.

    Args:
      folder: of the exported model; None: there is none.
      flags: of the command.

    Attributes:
      port: the port that it listens on.
      grpc_port: that of its gRPC API, where it has one.
    """

    def __init__(self, folder: Path | None, *flags: str):
        model = [f"--model={folder}"] if folder else []
        command = [sys.executable, str(_COMMAND), *model, "--port=0", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._errors, self._lines, self._ports = [], [], queue.Queue()
        # Both pipes are drained all the time: a full one would block the server.
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_output, self._read_errors)]
        for reader in self._readers:
            reader.start()
        try:
            self.port = self._ports.get(timeout=_TIMEOUT_SECONDS)
            assert self.port, "".join(self._errors)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Stops the server by a signal; returns its standard error, then its output since it was ready."""
        self._process.send_signal(number)
        assert self._process.wait(_TIMEOUT_SECONDS) == 0
        for reader in self._readers:
            reader.join()
        return "".join(self._errors + self._lines)

    def _read_output(self):
        for line in self._process.stdout:
            if ready := re.search(r"Ready: http://127.0.0.1:(\d+)/", line):
                grpc = re.search(r" gRPC: port (\d+)\.", line)
                self.grpc_port = int(grpc[1]) if grpc else None
                self._ports.put(int(ready[1]))
                break
        self._lines.extend(self._process.stdout)
        self._ports.put(None)

    def _read_errors(self):
        self._errors.extend(self._process.stderr)


def fetch(port, path, body=None, headers=None, method=None):
    """A request over HTTP: GET without a body, otherwise POST; returns status and body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def call_asgi(app, path="/transcribe", pieces=(b"x",), headers=(), method="POST"):
    """A request to an ASGI application; returns status and body of the response, or None where it sends none."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
    messages.append({"type": "http.request", "body": pieces[-1], "more_body": False})
    sent = []

    async def receive():
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    if not sent:
        return None
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@contextlib.contextmanager
def serving(app, config):
    """An ASGI application on a free port, in a thread of this process; yields the port. `config` as of `app`."""
    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(config(app, 5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)

"""`tfvoice_serve` as a process of a test."""

import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

_COMMAND = Path(__file__).parent.parent / "bin" / "tfvoice_serve"
# Starting and ending, with other work on the machine.
_PATIENCE_SECONDS = 300


class Server:
    """A server on a free port, killed where a test leaves it running.

    Args:
      folder: of the exported model.
      flags: of the command.

    Attributes:
      port: where it listens.
    """

    def __init__(self, folder: Path, *flags: str):
        command = [sys.executable, str(_COMMAND), f"--model={folder}", "--port=0", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._errors, self._lines, self._ports = [], [], queue.Queue()
        # Both are read all the time: a full pipe would stop the server.
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()
        try:
            self.port = self._ports.get(timeout=_PATIENCE_SECONDS)
            assert self.port, "".join(self._errors)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()

    def end(self, number: int = signal.SIGTERM) -> str:
        """Ends it; returns its warnings, and then what it said since it was ready."""
        self._process.send_signal(number)
        assert self._process.wait(_PATIENCE_SECONDS) == 0
        for reader in self._readers:
            reader.join()
        return "".join(self._errors + self._lines)

    def _read(self):
        for line in self._process.stdout:
            if found := re.search(r"Ready: http://127.0.0.1:(\d+)/", line):
                self._ports.put(int(found[1]))
                break
        self._lines.extend(self._process.stdout)
        self._ports.put(None)

    def _read_errors(self):
        self._errors.extend(self._process.stderr)

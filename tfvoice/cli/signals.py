"""How a command handles SIGINT (Ctrl-C) and SIGTERM; the handlers are restored afterwards."""

import signal
from typing import Any


class StopRequest:
    """Context manager: the first SIGINT or SIGTERM only sets `requested`; the second one acts as usual.

    Attributes:
      requested: whether the process has been asked to stop.
    """

    def __init__(self):
        self.requested = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_) -> None:
        self._restore()

    def _request(self, *_) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

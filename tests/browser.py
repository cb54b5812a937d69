"""Headless Chromium by its DevTools protocol: open a page, run JavaScript in it, photograph it."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A browser with one page.

    Args:
      profile: an empty folder for it.
      width, height: of the window, in CSS pixels.
      microphone: a WAV file that it hears instead of a microphone, once and again.
      dark: whether the reader prefers dark pages.
    """

    def __init__(
        self, profile: Path, width: int = 1280, height: int = 900, microphone: Path | None = None, dark: bool = False
    ):
        from websockets.sync.client import connect

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        flags += ["--force-dark-mode"] if dark else []
        if microphone:
            flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            flags.append(f"--use-file-for-fake-audio-capture={microphone}")
        self._process = subprocess.Popen(
            [CHROMIUM, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._number = 0
        try:
            port = self._when(lambda: (profile / "DevToolsActivePort").read_text().splitlines()[0])
            self._socket = connect(self._when(lambda: self._pages(port)[0]), max_size=None)
        except BaseException:
            self._process.kill()
            raise
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        if dark:
            scheme = {"name": "prefers-color-scheme", "value": "dark"}
            self._call("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(Exception):
            self._call("Browser.close")
        self._process.terminate()
        self._process.wait(30)

    def open(self, address: str) -> None:
        """Goes to a page, and waits until it is there."""
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """The value of a JavaScript expression, awaited where it is a promise."""
        found = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise AssertionError(
                    f"{condition} is still false; the page says: {self.run('document.body.innerText')}"
                )
            time.sleep(0.1)

    def photograph(self, path: Path, whole: bool = True) -> None:
        """Writes the page as PNG: all of it, or what the window shows."""
        options = {}
        if whole:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            options = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        data = self._call("Page.captureScreenshot", **options)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **given):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": given}))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    @staticmethod
    def _pages(port: str) -> list[str]:
        targets = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        return [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"]

    @staticmethod
    def _when(found):
        for _ in range(1200):
            try:
                return found()
            except (OSError, IndexError, ValueError):
                time.sleep(0.1)
        raise AssertionError("Chromium did not start")

"""Headless Chromium through its DevTools protocol: open a page, run JavaScript in it, take a screenshot."""

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
      profile: an empty folder for its user data.
      width, height: of the window, in CSS pixels.
      microphone: a WAV file that is played in a loop as the microphone.
      dark: whether the user prefers dark pages.
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
            port = self._retry(lambda: (profile / "DevToolsActivePort").read_text().splitlines()[0])
            self._socket = connect(self._retry(lambda: self._pages(port)[0]), max_size=None)
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
        """Opens a page and waits until it is loaded."""
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """The value of a JavaScript expression, awaited if it is a promise."""
        evaluated = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in evaluated:
            raise AssertionError(evaluated["exceptionDetails"])
        return evaluated["result"].get("value")

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Waits until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"{condition} is still false; the page: {self.run('document.body.innerText')}")
            time.sleep(0.1)

    def screenshot(self, path: Path, full_page: bool = True) -> None:
        """Writes the page as PNG: all of it, or the visible part."""
        options = {}
        if full_page:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            options = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        data = self._call("Page.captureScreenshot", **options)["data"]
        path.write_bytes(base64.b64decode(data))

    def _call(self, method: str, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == self._number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]

    @staticmethod
    def _pages(port: str) -> list[str]:
        targets = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        return [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"]

    @staticmethod
    def _retry(function):
        for _ in range(1200):
            try:
                return function()
            except (OSError, IndexError, ValueError):
                time.sleep(0.1)
        raise AssertionError("Chromium did not start")

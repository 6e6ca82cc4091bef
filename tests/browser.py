"""Chromium without a window, driven through its debugging pipe: real mouse and keys, and every address it asks for."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--hide-scrollbars"),
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")


class Page:
    """An open page."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.number, self.session, self.requested = process, 0, "", []

    def call(self, method: str, **settings: Any) -> dict[str, Any]:
        """The answer to a command of the DevTools protocol."""
        assert self.process.stdin and self.process.stdout
        self.number += 1
        session = {"sessionId": self.session} if self.session else {}
        message = {"id": self.number, "method": method, "params": settings, **session}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        while True:
            text = bytearray()
            while (letter := self.process.stdout.read(1)) not in (b"\0", b""):
                text += letter
            answer = json.loads(text)
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        self.value(
            f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )

    def key(self, name: str) -> None:
        """Press a key: a letter, a digit or a name such as ArrowUp."""
        text = {"text": name} if len(name) == 1 else {"windowsVirtualKeyCode": {"ArrowUp": 38, "ArrowRight": 39}[name]}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

    def move(self, x: float, y: float, pressed: bool = False) -> None:
        """Move the mouse, with its left button pressed or not."""
        button = {"button": "left", "buttons": 1} if pressed else {}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **button)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the left button, move and let go."""
        self.move(*start)
        button = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], buttons=1, **button)
        for part in (0.5, 1.0):
            self.move(*(a + part * (b - a) for a, b in zip(start, end, strict=True)), pressed=True)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **button)

    def turn_wheel(self, x: float, y: float, steps: int) -> None:
        """Turn the wheel at a place; down is positive."""
        for _ in range(abs(steps)):
            turned = {"deltaX": 0, "deltaY": 100 if steps > 0 else -100}
            self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, **turned)

    def box(self, selector: str) -> dict[str, float]:
        """Place of the first such element in the window: left, top, width, height."""
        return self.value(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")

    def picture(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextmanager
def opened(path: Path, width: int, profile: Path, height: int = 900) -> Iterator[Page]:
    """A file in a window of this width, until the block ends."""
    # The shell puts the pipes where the browser looks for them: file descriptors 3 and 4.
    words = ["sh", "-c", 'exec "$@" 3<&0 4>&1 >/dev/null 2>&1', "sh", str(BROWSER), *OPTIONS]
    words += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            page = Page(process)
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            page.call("Network.enable")
            page.call("Page.enable")
            page.call("Page.navigate", url=path.as_uri())
            page.wait_for('document.readyState === "complete"')
            yield page
        finally:
            process.terminate()

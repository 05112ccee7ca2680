"""Chromium without a window, driven through pipes in its own protocol: no driver and no port."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)

WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""Starts a program that reads commands from descriptor 3 and writes answers to 4."""

SAID = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
"""Events of what a page writes to the console, and of its errors."""


class Browser:
    """One tab. ``said`` and ``requests`` are of the page that was opened last."""

    def __init__(self, profile: Path) -> None:
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        starter = [sys.executable, "-c", WITH_PIPES, str(theirs), str(answers)]
        self._process = subprocess.Popen(
            [*starter, FOUND, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._numbers = itertools.count(1)
        self._read = b""
        self._events: list[dict[str, Any]] = []
        self._session: dict[str, str] = {}
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out a command of the protocol and return what it answers."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters, **self._session}
        text = json.dumps(command).encode() + b"\0"
        while text:
            text = text[os.write(self._out, text) :]
        (answer,) = self._until(lambda each: each.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        while True:
            while b"\0" not in self._read:
                part = os.read(self._in, 1 << 20)
                assert part, "the browser has ended"
                self._read += part
            text, _, self._read = self._read.partition(b"\0")
            message = json.loads(text)
            if is_last(message):
                return [message]
            self._events.append(message)

    def open(
        self, page: Path, *, width: int = 1280, dark: bool = False, scripts: bool = True
    ) -> None:
        """Open a page in a window so wide."""
        height = 900
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._events.clear()
        self.call("Page.navigate", url=page.as_uri())
        if not any(each.get("method") == "Page.loadEventFired" for each in self._events):
            self._until(lambda each: each.get("method") == "Page.loadEventFired")
        self.rest()

    def rest(self) -> None:
        """Wait until what was asked for is drawn."""
        self.call(
            "Page.captureScreenshot", clip={"x": 0, "y": 0, "width": 1, "height": 1, "scale": 1}
        )

    @property
    def said(self) -> list[dict[str, Any]]:
        """What the page wrote to the console."""
        return [each["params"] for each in self._events if each["method"] in SAID]

    @property
    def requests(self) -> list[str]:
        """The addresses that were asked for; what is in the page itself is none."""
        sent = [each for each in self._events if each["method"] == "Network.requestWillBeSent"]
        addresses = [each["params"]["request"]["url"] for each in sent]
        return [each for each in addresses if not each.startswith("data:")]

    def ask(self, code: str) -> Any:
        """Return what a line of JavaScript gives."""
        found = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def place(self, selector: str) -> dict[str, float]:
        """Return the middle of an element, which is scrolled into sight."""
        return self.ask(
            f"""(() => {{
              const found = document.querySelector({json.dumps(selector)});
              found.scrollIntoView({{ block: "center", behavior: "instant" }});
              const {{ x, y, width, height }} = found.getBoundingClientRect();
              return {{ x: x + width / 2, y: y + height / 2 }};
            }})()"""
        )

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Let the mouse do something: ``mousePressed``, ``mouseMoved``, ``mouseReleased``."""
        button = {"button": "left", "buttons": int(kind != "mouseReleased"), "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        at = self.place(selector)
        self.mouse("mousePressed", **at)
        self.mouse("mouseReleased", **at)
        self.rest()

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

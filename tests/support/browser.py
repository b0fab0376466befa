"""Chromium without a window, driven by its own protocol: pages at a width, what they measure, and pictures of them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from rasteret_sql.io import loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """The browser of this machine, or None."""
    return next((found for found in map(shutil.which, _NAMES) if found), None)


class Browser:
    """One tab. Commands are those of the Chrome DevTools Protocol."""

    def __init__(self, endpoint: str) -> None:
        self._number = 0
        loop.run(self._connect(endpoint))

    async def _connect(self, endpoint: str) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(endpoint, max_msg_size=0)

    def close(self) -> None:
        """End the connection."""

        async def end() -> None:
            await self._socket.close()
            await self._session.close()

        loop.run(end())

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Run a command and give its result."""
        return loop.run(self._call(method, params, until=None))

    async def _call(self, method: str, params: dict[str, Any], until: str | None) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        result: dict[str, Any] | None = None
        while result is None or until is not None:
            message = json.loads(await self._socket.receive_str())
            if message.get("id") == self._number:
                assert "error" not in message, message
                result = message["result"]
            if message.get("method") == until:
                until = None
        return result

    def open(self, url: str, width: int, height: int = 900) -> None:
        """Show a page in a window of a size, and wait until it is loaded."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.enable")
        loop.run(self._call("Page.navigate", {"url": url}, until="Page.loadEventFired"))

    def value_of(self, script: str) -> Any:
        """Evaluate a script in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """The page as PNG: what the window shows, or all of it."""
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            width, height = self.value_of("[innerWidth, document.documentElement.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", **options)["data"])


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the browser; it ends with its profile."""
    found = program()
    assert found is not None
    with tempfile.TemporaryDirectory() as profile:
        arguments = [
            found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run", "--disable-extensions", "--remote-debugging-port=0", f"--user-data-dir={profile}",
            "about:blank",
        ]  # fmt: skip
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                line = next(line for line in process.stderr if "DevTools listening on ws://" in line)
                address = line.split("ws://")[1].split("/")[0]
                browser = Browser(_tab(address))
                try:
                    yield browser
                finally:
                    browser.close()
            finally:
                process.kill()
                process.wait()


def _tab(address: str) -> str:
    async def ask() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/json/list") as answer:
            tabs = await answer.json()
        return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))

    return loop.run(ask())


def url_of(path: Path) -> str:
    """The address of a page on this machine's disk."""
    return path.resolve().as_uri()

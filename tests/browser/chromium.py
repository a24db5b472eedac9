"""Headless Chromium from the system's packages, driven over its DevTools protocol."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.machine import missing
from tests.support.processes import eventually

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # which root may not use; it opens no pages but ours
    "--disable-gpu",
    "--disable-dev-shm-usage",  # small in containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_TIMEOUT_S = 30


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, count(1)

    async def open(self, url: str) -> None:
        """Navigate, and wait until the page has loaded."""
        await self._call("Page.navigate", url=url)
        await self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    async def run(self, expression: str) -> Any:
        """What a JavaScript expression comes to, as JSON; of a promise, what it resolves to."""
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not await self.run(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {_TIMEOUT_S} s: {condition}; {await self.run('document.body.innerText')}"
                )
            await asyncio.sleep(0.05)

    async def _call(self, method: str, **parameters: Any) -> Any:
        call_id = next(self._ids)
        await self._socket.send_json({"id": call_id, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=2 * _TIMEOUT_S)
            if answer.get("id") == call_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]


class Chromium:
    """A running browser with a profile of its own."""

    def __init__(self, folder: Path, languages: str) -> None:
        self._profile, self._port_file = folder, folder / "DevToolsActivePort"
        command = [_program(), *_OPTIONS, f"--accept-lang={languages}", f"--user-data-dir={folder}", "about:blank"]
        with (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    @asynccontextmanager
    async def page(self, url: str) -> AsyncIterator[Page]:
        """A new tab that shows `url`."""
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self._port()}") as session:
            async with session.put("/json/new?about:blank") as answer:
                tab = await answer.json()
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                await page.open(url)
                yield page
            async with session.get(f"/json/close/{tab['id']}"):
                pass

    def end(self) -> None:
        """End it with all of its processes, in order if it can be."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _port(self) -> int:
        lines = eventually(self._port_lines, _TIMEOUT_S)
        return int(lines[0])

    def _port_lines(self) -> list[str]:
        assert self._process.poll() is None, (self._profile / "chromium.log").read_text()[-2000:]
        return self._port_file.read_text().splitlines() if self._port_file.exists() else []


@contextmanager
def running_chromium(folder: Path, languages: str) -> Iterator[Chromium]:
    """A browser whose user reads `languages` (as in `zh-CN,zh`); skips where none is installed."""
    browser = Chromium(folder, languages)
    try:
        yield browser
    finally:
        browser.end()


def _program() -> str:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or missing(f"no browser: none of {', '.join(_NAMES)} is installed")

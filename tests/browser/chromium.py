"""A real Chromium, spoken to over its DevTools protocol: no driver program and no library between.

One browser serves a whole run of tests; every tab has a context of its own (storage, cache).
"""

import asyncio
import base64
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

START_SECONDS: Final = 40.0
WAIT_SECONDS: Final = 15.0
EVENTS_MAX: Final = 10_000
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--metrics-recording-only", "--mute-audio",
    "--remote-debugging-port=0", "--remote-debugging-address=127.0.0.1",
)  # fmt: skip


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[str]:
    """Run a browser with a fresh profile in ``folder``; give its DevTools address."""
    profile = folder / "profile"
    with (folder / "chromium.log").open("wb") as log:
        child = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield _address(child, profile / "DevToolsActivePort", folder / "chromium.log")
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _address(child: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and child.poll() is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start: {log.read_text()[-2_000:]}")


class Tab:
    """One tab, with all that it asked the network for and complained about."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self.requests: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    async def read(self) -> None:
        """Take what the browser says until it says no more."""
        async for message in self._socket:
            found = json.loads(message.data)
            answer = self._answers.pop(found.get("id", 0), None)
            if answer is not None and not answer.done():
                answer.set_result(found)
            elif "method" in found:
                self._note(found["method"], found.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        assert len(self.requests) + len(self.complaints) < EVENTS_MAX
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:2_000])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"])[:2_000])

    async def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        sent: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            sent["sessionId"] = self._session
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps(sent))
        found = await asyncio.wait_for(self._answers[number], WAIT_SECONDS)
        assert "error" not in found, (method, found["error"])
        return dict(found["result"])

    async def open(self) -> None:
        """Make the tab, in a context of its own."""
        context = (await self.tell("Target.createBrowserContext"))["browserContextId"]
        target = await self.tell("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.tell(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.tell(f"{domain}.enable")
        await self.size(1280, 900)

    async def size(self, width: int, height: int) -> None:
        await self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    async def scheme(self, name: str) -> None:
        """Prefer `dark` or `light`, and no motion: colours are there at once."""
        features = [
            {"name": "prefers-color-scheme", "value": name},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await self.tell("Emulation.setEmulatedMedia", features=features)

    async def goto(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = await self.tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true of the page, and return its value."""
        last: object = None
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                last = await self.run(script)
            except AssertionError as error:  # the page is being left
                last = error
            else:
                if last:
                    return last
            await asyncio.sleep(0.05)
        page = await self.run("document.body.innerText")
        raise AssertionError(f"{script} stayed {last!r}; {self.complaints}; the page: {page}")

    async def sees(self, text: str) -> None:
        """Wait until the page shows a text."""
        await self.until(f"document.body.innerText.includes({json.dumps(text)})")

    async def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, as a person does."""
        quoted = json.dumps(selector)
        await self.until(f"!!document.querySelector({quoted})")
        box = await self.run(
            f"(() => {{ const one = document.querySelector({quoted});"
            "one.scrollIntoView({block: 'center', inline: 'center'});"
            "const box = one.getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.tell(
                "Input.dispatchMouseEvent", type=kind, **box, button="left", clickCount=1
            )

    async def fill(self, selector: str, text: str) -> None:
        """Type a text into an empty field."""
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.tell("Input.insertText", text=text)

    async def press(self, key: str, code: int) -> None:
        """Press one key by its name and its virtual key code."""
        extra = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.tell(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, **(extra if kind == "keyDown" else {}),
            )  # fmt: skip

    async def picture(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        found = await self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def tab(address: str) -> AsyncIterator[Tab]:
    """Open a tab in the browser at ``address``."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, max_msg_size=64 * 2**20) as socket,
    ):
        made = Tab(socket)
        reading = asyncio.create_task(made.read())
        try:
            await made.open()
            yield made
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

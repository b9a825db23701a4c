"""Keeps a gateway's standing policy in step with the collector; never in a step's way.

One request hangs at the collector until the standing policy changes, so a change is known at once.
The last good one is kept on disk: a gateway that starts while the collector is away decides by it.
While the collector is away or answers nonsense, what was known stands. A collector that refuses
(a wrong token, or one too old to know the route) means the declared policy.
"""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from learning import standing
from learning.standing import Standing
from router.decider import Decider
from telemetry.clock import Clock
from telemetry.metrics import Meters

PATH: Final = "/api/policy/active"
FILE: Final = "standing.json"
WAIT_SECONDS: Final = 10.0  # that the collector may keep a request when there is no news
CONNECT_SECONDS: Final = 2.0
SLACK_SECONDS: Final = 5.0  # for an answer beyond the wait
# Between two requests: after news, after an answer that was not waited for, and while the collector
# is away, where the pause doubles.
NEWS_SECONDS: Final = 0.05
QUICK_SECONDS: Final = 0.5
AWAY_SECONDS_MIN: Final = 0.1
AWAY_SECONDS_MAX: Final = 1.0
REFUSED_SECONDS: Final = 5.0
AWAY_TOLD: Final = 6  # failures in a row: a collector that starts beside us is not away
BYTES_MAX: Final = 4_194_304

log = logging.getLogger("tierwise.revisions")


class Refused(Exception):
    """The collector will not tell this gateway, however often it is asked."""


class Revisions:
    """The talk with the collector about the standing policy."""

    def __init__(  # noqa: PLR0913 - all of it is wiring
        self,
        decider: Decider,
        *,
        url: str,
        token: str | None,
        state_dir: Path,
        clock: Clock,
        rng: random.Random,
        meters: Meters,
    ) -> None:
        self.decider = decider
        self._url = url.rstrip("/") + PATH
        self._headers = {"accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._file = state_dir / FILE
        self._clock = clock
        self._rng = rng
        self._meters = meters
        self._tag: str | None = None
        self._confirmed: float | None = None
        self._away = 0  # failures in a row
        self._said: set[str] = set()  # what stands in the log already
        self._session: aiohttp.ClientSession | None = None
        self._talk: asyncio.Task[None] | None = None
        self.error: str | None = None  # why the collector could not be heard; None when it was

    async def start(self) -> None:
        """Decide by the last good standing policy of the disk, and listen until ``close``."""
        self._meters.revision_active(False)
        await self._remember()
        self._talk = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.gather(self._talk, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def state(self) -> Mapping[str, object]:
        """Return what decides now and how fresh that is, for people."""
        found, at = self.decider.standing, self._confirmed
        return {
            "revision": _name(found),
            "rollout": found.rollout,
            "pins": sorted(found.pins),
            "graded": sorted(found.graded),
            "confirmed_seconds_ago": None if at is None else self._clock.monotonic() - at,
            "error": self.error,
        }

    async def _remember(self) -> None:
        try:
            found = await asyncio.to_thread(_read, self._file)
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s cannot be used, the declared policy decides: %s", self._file, error)
            return
        self._take(found, tag=found.etag)
        log.info("deciding by revision %s of the disk", _name(found))

    async def _listen(self) -> None:
        while True:
            began = self._clock.monotonic()
            try:
                news = await self._ask()
            except Refused as error:
                self._refused(error)
                await self._pause(REFUSED_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, what was known stands
                self._failed(error)
                doubled = AWAY_SECONDS_MIN * 2 ** min(self._away - 1, 10)
                await self._pause(min(AWAY_SECONDS_MAX, doubled))
            else:
                self._heard(news=news)
                waited = self._clock.monotonic() - began > QUICK_SECONDS
                await self._pause(NEWS_SECONDS if news or waited else QUICK_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait half to all of ``seconds``, so that gateways do not ask in step."""
        await self._clock.sleep(seconds * (0.5 + 0.5 * self._rng.random()))

    async def _ask(self) -> bool:
        """Ask once and take the answer; return whether it was news.

        Raises:
            Refused: by the collector.
            ValueError, RecursionError, OSError, aiohttp.ClientError, TimeoutError: it could not be
                reached or did not make sense.
        """
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=WAIT_SECONDS + SLACK_SECONDS, sock_connect=CONNECT_SECONDS
            )
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = dict(self._headers)
        if self._tag is not None:
            headers["if-none-match"] = self._tag
        async with self._session.get(
            self._url, params={"wait": f"{WAIT_SECONDS:g}"}, headers=headers, allow_redirects=False
        ) as reply:
            if reply.status == 304 and self._tag is not None:
                return False
            if reply.status in (401, 403, 404, 405):
                raise Refused(f"HTTP {reply.status}")
            if reply.status != 200:
                raise ValueError(f"HTTP {reply.status} is no answer to that")
            content = await _bounded(reply)
            found = await asyncio.to_thread(_parsed, content)
            tag = reply.headers.get("etag", found.etag)
        if tag == self._tag:
            return False
        self._take(found, tag=tag)
        await self._keep(content)
        log.info("deciding by revision %s from now on", _name(found))
        return True

    def _take(self, found: Standing, *, tag: str | None) -> None:
        self.decider.take(found)
        self._tag = tag
        self._meters.revision_active(found.revision is not None)

    async def _keep(self, content: bytes) -> None:
        try:
            await asyncio.to_thread(_write, self._file, content)
        except OSError as error:
            what = "%s cannot be written, a restart will not know this revision: %s"
            self._say("disk", what, self._file, error)
        else:
            self._said.discard("disk")

    def _heard(self, *, news: bool) -> None:
        if self.error is not None:
            log.info("revisions: the collector is there")
        self.error, self._away = None, 0
        self._said -= {"refused", "away"}
        self._confirmed = self._clock.monotonic()
        self._meters.revision_confirmed(self._clock.now_ns() / 1e9)
        self._meters.count("tierwise_revision_fetches_total", labels=("new" if news else "same",))

    def _refused(self, error: Refused) -> None:
        self.error = f"the collector at {self._url} refuses: {error}"
        self._say(
            "refused",
            "%s; the declared policy decides: collector.token_env must name its token, and the "
            "collector must be no older than this gateway",
            self.error,
        )
        if self._tag is not None or self.decider.standing != Standing():
            self._take(Standing(), tag=None)
        self._meters.count("tierwise_revision_fetches_total", labels=("refused",))

    def _failed(self, error: Exception) -> None:
        self._away += 1
        self.error = f"the collector at {self._url} was not heard: {type(error).__name__}: {error}"[
            :500
        ]
        if self._away >= AWAY_TOLD:
            self._say("away", "%s; revision %s stands", self.error, _name(self.decider.standing))
        self._meters.count("tierwise_revision_fetches_total", labels=("failed",))

    def _say(self, what: str, message: str, *arguments: object) -> None:
        """Log a trouble once, until it is over."""
        if what not in self._said:
            self._said.add(what)
            log.warning(message, *arguments)


def _name(found: Standing) -> str:
    return "declared" if found.revision is None else found.revision.revision_id


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in reply.content.iter_chunked(65_536):
        content += piece
        if len(content) > BYTES_MAX:
            raise ValueError(f"the answer is over {BYTES_MAX} bytes")
    return bytes(content)


def _parsed(content: bytes) -> Standing:
    return standing.parse(content.decode())


def _read(path: Path) -> Standing:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise ValueError(f"it is over {BYTES_MAX} bytes")
    return _parsed(content)


def _write(path: Path, content: bytes) -> None:
    """Replace the file as a whole: whoever reads it finds the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)

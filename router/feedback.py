"""Feedback on its way from the gateway's port to the console, which keeps it."""

from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from telemetry.errors import Overloaded

FEEDBACK_PATH: Final = "/v1/feedback"
FEEDBACK_BYTES_MAX: Final = 65_536
REPLY_BYTES_MAX: Final = 65_536
CALL_SECONDS_MAX: Final = 5.0
CALLS_MAX: Final = 64  # under way at once; more are told to come back
CONNECTIONS_MAX: Final = 8
RETRY_AFTER_SECONDS: Final = 5


class Kept(NamedTuple):
    """What the console said: its status, its JSON object and when to come back."""

    status: int
    body: bytes
    error: dict[str, Any] | None  # type, code and message; None when it took the feedback
    retry_after_seconds: int | None


class FeedbackDesk:
    """The way to the console's ``POST /v1/feedback``; it holds no feedback back."""

    def __init__(self, *, console: str, token: str | None) -> None:
        """``console`` is an origin; ``token`` is what the collector trusts senders by."""
        self._url = console.rstrip("/") + FEEDBACK_PATH
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._calls = 0

    async def forward(self, content: bytes, *, known: bool, traceparent: str) -> Kept:
        """Hand one piece of feedback over and return the console's answer.

        ``known`` says that the caller has shown a client key: only then the collector's token
        goes with it, so that nobody's word counts as authenticated feedback.

        Raises:
            Overloaded: the console is away, does not take our token, or too much is under way.
        """
        if self._calls >= CALLS_MAX:
            raise _away(f"{CALLS_MAX} pieces of feedback are under way", seconds=1)
        headers = {"content-type": "application/json", "traceparent": traceparent}
        if self._token is not None and known:
            headers["authorization"] = f"Bearer {self._token}"
        self._calls += 1
        try:
            async with self._opened().post(
                self._url, data=content, headers=headers, allow_redirects=False
            ) as reply:
                said = b""
                while len(said) <= REPLY_BYTES_MAX and (piece := await reply.content.readany()):
                    said += piece
                return _kept(reply, said)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _away(f"the console cannot be reached ({type(error).__name__})") from error
        finally:
            self._calls -= 1

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def _kept(reply: aiohttp.ClientResponse, said: bytes) -> Kept:
    if reply.status == 401:
        raise _away("the console does not take the gateway's token")
    try:
        body = msgspec.json.decode(said, type=dict[str, Any])
        error = body.get("error") if reply.status >= 400 else None
    except msgspec.MsgspecError:
        body, error = None, None
    if body is None or not (200 <= reply.status < 300 or isinstance(error, dict)):
        raise _away(f"the console answered {reply.status} in no form that is known")
    retry_after = reply.headers.get("retry-after", "")
    return Kept(reply.status, said, error, int(retry_after) if retry_after.isdigit() else None)


def _away(what: str, *, seconds: int = RETRY_AFTER_SECONDS) -> Overloaded:
    return Overloaded(
        "collector_away",
        f"the feedback was not kept: {what}",
        hint="send it again later, it may come late; collector.console says where it should listen",
        retry_after_seconds=seconds,
    )

"""The checks of `doctor` that ask providers: reachable, key accepted, clocks in agreement."""

import asyncio
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from router.cli.checkup import Check
from router.config import Config, ProviderConfig
from router.targets import secret
from telemetry.clock import Clock
from telemetry.errors import ConfigError
from telemetry.records import Dialect

SKEW_SECONDS_MAX = 5.0  # a Date header counts whole seconds and has travelled
STEP_SECONDS_MAX = 0.5  # between the wall clock and the monotonic one, over the whole look
ANTHROPIC_VERSION = "2023-06-01"
PROVIDERS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What one provider answered to a question for its models."""

    status: int | None = None  # None: nothing came back
    fault: str = ""
    skew_seconds: float | None = None  # our wall clock minus theirs


def examine(
    config: Config, environment: Mapping[str, str], *, timeout_seconds: float, clock: Clock
) -> list[Check]:
    """Return one check for each provider, and one for the clock.

    Each is sent one GET of its list of models, which no provider charges for.
    """
    wall, steady = clock.now_ns(), clock.monotonic()
    replies = asyncio.run(_ask_all(config, environment, timeout_seconds, clock))
    stepped = (clock.now_ns() - wall) / 1e9 - (clock.monotonic() - steady)
    checks = [
        _provider_check(name, config.providers[name], reply) for name, reply in replies.items()
    ]
    return [*checks, clock_check([r.skew_seconds for r in replies.values()], stepped)]


async def _ask_all(
    config: Config, environment: Mapping[str, str], timeout_seconds: float, clock: Clock
) -> dict[str, Reply]:
    room = asyncio.Semaphore(PROVIDERS_AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:

        async def ask(name: str, provider: ProviderConfig) -> tuple[str, Reply]:
            async with room:
                return name, await _ask(session, provider, environment, clock)

        return dict(await asyncio.gather(*(ask(n, p) for n, p in config.providers.items())))


async def _ask(
    session: aiohttp.ClientSession,
    provider: ProviderConfig,
    environment: Mapping[str, str],
    clock: Clock,
) -> Reply:
    base_url = provider.base_url if urlsplit(provider.base_url).path else f"{provider.base_url}/v1"
    before = clock.now_ns()
    try:
        async with session.get(
            f"{base_url}/models", headers=_headers(provider, environment), allow_redirects=False
        ) as answer:
            middle = (before + clock.now_ns()) / 2e9
            return Reply(status=answer.status, skew_seconds=_skew(answer.headers, middle))
    except TimeoutError:
        return Reply(fault="no answer in time")
    except aiohttp.ClientConnectorError as error:
        return Reply(fault=error.os_error.strerror or str(error.os_error))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Reply(fault=str(error) or type(error).__name__)


def _headers(provider: ProviderConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers a call would carry; without a usable key, as `of_keys` says, without."""
    headers = dict(provider.headers)
    messages_only = set(provider.dialects) == {Dialect.MESSAGES}
    if messages_only:
        headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    if provider.key_env is None:
        return headers
    try:
        key = secret(provider.key_env, environment, user="this provider")
    except ConfigError:
        return headers
    if provider.auth == "x-api-key" or (provider.auth is None and messages_only):
        return {**headers, "x-api-key": key}
    return {**headers, "authorization": f"Bearer {key}"}


def _skew(headers: Mapping[str, str], ours_seconds: float) -> float | None:
    try:
        theirs = email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return ours_seconds - (theirs + 0.5)  # the header cuts the second off


def _provider_check(name: str, provider: ProviderConfig, reply: Reply) -> Check:
    title = f"provider {name}"
    if reply.status is None:
        return Check(
            name=title,
            status="fail",
            message=f"{provider.base_url}: {reply.fault}",
            mend=f"start it, or correct base_url in [providers.{name}]; "
            "the gateway reaches providers directly, not through a proxy",
        )
    if reply.status in (401, 403):
        named = provider.key_env or "none is configured"
        return Check(
            name=title,
            status="fail",
            message=f"{provider.base_url} refuses the key (HTTP {reply.status}; key: {named})",
            mend=f"put a valid key in {provider.key_env}"
            if provider.key_env
            else f"add key_env to [providers.{name}]",
        )
    if reply.status >= 500:
        return Check(
            name=title,
            status="warning",
            message=f"{provider.base_url} answers, but with HTTP {reply.status}",
            mend="ask again later; a second model in the tier would stand in meanwhile",
        )
    listed = "" if reply.status == 200 else f" (no list of models: HTTP {reply.status})"
    return Check(name=title, status="ok", message=f"{provider.base_url} answers{listed}")


def clock_check(skews: list[float | None], stepped_seconds: float) -> Check:
    """Return the word on our clock, from the skew to each provider that stated its own (seconds).

    The provider that agrees best is believed: one with a wrong clock must not accuse ours.
    """
    if abs(stepped_seconds) > STEP_SECONDS_MAX:
        return Check(
            name="clock",
            status="fail",
            message=f"the wall clock jumped by {stepped_seconds:+.2f} s while being watched",
            mend="let a time service slew the clock instead of stepping it",
        )
    known = [skew for skew in skews if skew is not None]
    if not known:
        return Check(
            name="clock",
            status="warning",
            message="no provider stated the time, so the clock was not compared",
            mend="look again when a provider answers",
        )
    best = min(known, key=abs)
    within = abs(best) <= SKEW_SECONDS_MAX
    return Check(
        name="clock",
        status="ok" if within else "fail",
        message=f"{best:+.1f} s from a provider's, {SKEW_SECONDS_MAX:g} s are tolerated",
        mend="" if within else "set the clock, for example with a time service such as chrony",
    )

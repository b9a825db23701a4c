"""A gateway process that follows the standing policy, and what it does without a collector."""

import asyncio
import http.client
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from learning.revision import Revision
from learning.standing import Standing
from router.revisions import FILE
from tests.e2e.serving import FREE, WAIT_SECONDS, Provider, Service, provider
from tests.router.test_revisions import NEWS_SECONDS_MAX, Console, console

POLICY = """\
schema = 1
ladder = ["small", "large"]
[tiers.small]
models = ["one/small"]
[tiers.large]
models = ["one/large"]
[roles.worker]
tier = "large"
range = ["small", "large"]
learn = "bounded"
quality_floor = 0.9
[alerts.cost]
budget_usd_per_day = 9
[alerts.quality]
"""
CONFIG = """\
schema = 1
state_dir = "state"
[collector]
console = "{console}"
otlp_http = "127.0.0.1:9"
[providers.one]
base_url = "http://127.0.0.1:{port}/v1"
dialects = ["chat"]
[prices]
"one/small" = {{ input = 1, output = 1 }}
"one/large" = {{ input = 5, output = 5 }}
"""
BODY = json.dumps({"model": "tierwise/worker", "messages": [{"role": "user", "content": "well?"}]})
STEPS = 120


@pytest.fixture
def upstream() -> Iterator[Provider]:
    with provider() as running:
        yield running


Start = Callable[[str], Service]


@pytest.fixture
def start(tmp_path: Path, upstream: Provider) -> Iterator[Start]:
    services: list[Service] = []

    def started(url: str) -> Service:
        found = CONFIG.format(console=url.removeprefix("http://"), port=upstream.port)
        (tmp_path / "tierwise.toml").write_text(found)
        (tmp_path / "policy.toml").write_text(POLICY)
        files = [f"--config={tmp_path}/tierwise.toml", f"--policy={tmp_path}/policy.toml"]
        service = Service(
            ["gateway", *files, *FREE],
            log=tmp_path / f"log-{len(services)}",
            variables={"TIERWISE_LOG_LEVEL": "WARNING"},
        )
        services.append(service)
        return service.ready()

    yield started
    for service in services:
        service.close()


def steps(service: Service, count: int = 1, **headers: str) -> list[dict[str, str]]:
    """Send steps one after the other; return the headers of the replies, all of them 200."""
    link = http.client.HTTPConnection(service.address, timeout=WAIT_SECONDS)
    sent = {"content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    found = []
    try:
        for _ in range(count):
            link.request("POST", "/v1/chat/completions", BODY, sent)
            answer = link.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            found.append({name.lower(): value for name, value in answer.getheaders()})
    finally:
        link.close()
    return found


def follows(service: Service, revision: str) -> None:
    """Send steps until ``revision`` decides them; fail when that takes longer than it may."""
    ends = time.monotonic() + NEWS_SECONDS_MAX
    while steps(service)[0]["x-tierwise-revision"] != revision:
        assert time.monotonic() < ends, f"{revision} does not decide; log:\n{service.log()}"


def revision(policy: str, small: float) -> Revision:
    shares = {"worker||": {"small/accept": small, "large/accept": 1.0 - small}}
    return Revision(policy_hash=policy, parent=None, shares=shares, evidence={})


def name(at: Console) -> str:
    assert at.standing.revision is not None
    return at.standing.revision.revision_id


def ended(service: Service) -> None:
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


def readiness(service: Service) -> Any:
    status, found = service.ask("GET", "/readyz")
    assert status == 200
    return found


def metrics(service: Service) -> dict[str, float]:
    """Return the metrics about revisions, by their text up to the value."""
    link = http.client.HTTPConnection(service.address, timeout=WAIT_SECONDS)
    try:
        link.request("GET", "/metrics")
        lines = link.getresponse().read().decode().splitlines()
    finally:
        link.close()
    named = (line.rpartition(" ") for line in lines if line.startswith("tierwise_revision_"))
    return {name: float(value) for name, _, value in named}


async def test_a_gateway_follows_the_standing_policy_and_outlives_its_collector(
    start: Start, tmp_path: Path
) -> None:
    async with console() as at:
        service = await asyncio.to_thread(start, at.url)
        (first,) = await asyncio.to_thread(steps, service)
        assert (first["x-tierwise-tier"], first["x-tierwise-revision"]) == ("large", "declared")
        hash_ = (await asyncio.to_thread(readiness, service))["policy"]

        await at.tell(Standing(revision=revision(hash_, 0.3)))
        await asyncio.to_thread(follows, service, name(at))
        shown = await asyncio.to_thread(metrics, service)
        assert shown["tierwise_revision_active"] == 1
        assert shown['tierwise_revision_fetches_total{result="new"}'] >= 2
        heard = shown["tierwise_revision_confirmed_timestamp_seconds"]
        assert abs(heard - time.time()) < WAIT_SECONDS
        served = await asyncio.to_thread(steps, service, STEPS)
        assert {reply["x-tierwise-revision"] for reply in served} == {name(at)}
        small = Counter(reply["x-tierwise-tier"] for reply in served)["small"]
        assert abs(small - 0.3 * STEPS) <= 30  # six standard deviations

        before = at.standing.revision
        half = Standing(revision=revision(hash_, 1.0), previous=before, rollout=0.5)
        await at.tell(half)
        async with asyncio.timeout(NEWS_SECONDS_MAX):
            while (await asyncio.to_thread(readiness, service))["revision"]["rollout"] != 0.5:
                await asyncio.sleep(0.02)
        seen = set()
        for number in range(8):
            session = {"x_tierwise_session": f"s{number}"}
            replies = await asyncio.to_thread(steps, service, 3, **session)
            revisions = {reply["x-tierwise-revision"] for reply in replies}
            assert len(revisions) == 1
            seen |= revisions
        assert before is not None
        assert seen == {name(at), before.revision_id}

        pinned = Standing(revision=revision(hash_, 1.0))
        await at.tell(pinned)
        await asyncio.to_thread(follows, service, name(at))
        async with asyncio.timeout(NEWS_SECONDS_MAX):
            while (tmp_path / "state" / FILE).read_text() != pinned.text:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(ended, service)

    again = await asyncio.to_thread(start, at.url)  # nobody listens there any more
    (reply,) = await asyncio.to_thread(steps, again)
    assert (reply["x-tierwise-revision"], reply["x-tierwise-tier"]) == (name(at), "small")
    assert (await asyncio.to_thread(readiness, again))["revision"]["revision"] == name(at)
    await asyncio.to_thread(ended, again)

    (tmp_path / "state" / FILE).write_bytes(b'{"format": 1, "revision": "torn')
    broken = await asyncio.to_thread(start, at.url)
    (reply,) = await asyncio.to_thread(steps, broken)
    assert (reply["x-tierwise-revision"], reply["x-tierwise-tier"]) == ("declared", "large")
    assert f"{FILE} cannot be used, the declared policy decides" in broken.log()
    await asyncio.to_thread(ended, broken)

"""A real Prometheus and a real Alertmanager beside a running gateway and collector."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from telemetry.alerting import NotifyConfig
from tests.collector.sinks.posting import alert, posting
from tests.collector.sinks.receiver import Receiver, receiving
from tests.e2e.serving import Service, provider, write_files
from tests.needs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
WAIT_SECONDS = 60.0
NOTIFY = """
[[alerts.notify]]
kind = "alertmanager"
url_env = "TIERWISE_TEST_ALERTMANAGER"
allow_private = true
"""


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@contextlib.contextmanager
def child(command: list[str], log: Path) -> Iterator[None]:
    """Run a program until the block ends, then end it by its own id."""
    with log.open("wb") as sink:
        running = subprocess.Popen(command, stdout=sink, stderr=sink)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(20)


class Asker:
    """Asks HTTP APIs until they answer as wanted."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def until(self, url: str, when: Callable[[Any], bool]) -> Any:
        found = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    with contextlib.suppress(aiohttp.ClientError, ValueError):
                        async with self._session.get(url) as answer:
                            found = await answer.json(content_type=None)
                            if answer.status == 200 and when(found):
                                return found
                    await asyncio.sleep(0.1)
        raise AssertionError(f"{url} never answered as wanted; last: {str(found)[:3_000]}")


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    async with aiohttp.ClientSession() as session:
        yield Asker(session)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def alertmanager(tmp_path: Path, receiver: Receiver, asker: Asker) -> AsyncIterator[str]:
    """The shipped example with our receiver and short waits; yields its address."""
    found = program("prometheus-alertmanager")
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    text = text.replace("http://127.0.0.1:9099", receiver.url)
    text = text.replace("group_wait: 30s", "group_wait: 1s")
    text = text.replace("group_interval: 5m", "group_interval: 1s")
    config = tmp_path / "alertmanager.yml"
    config.write_text(text)
    address = f"127.0.0.1:{free_port()}"
    command = [
        found, f"--config.file={config}", f"--storage.path={tmp_path / 'am'}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with child(command, tmp_path / "alertmanager.log"):
        await asker.until(f"http://{address}/api/v2/status", lambda _: True)
        yield address


async def told(receiver: Receiver, name: str, status: str) -> Any:
    """Wait until Alertmanager has told of an alert by this name in this state."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            for one in receiver.received:
                found = one.plain
                if found["status"] == status and found["groupLabels"] == {"alertname": name}:
                    return found
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_an_alertmanager_groups_and_resolves_what_the_poster_tells_it(
    tmp_path: Path, alertmanager: str, receiver: Receiver, asker: Asker
) -> None:
    config = NotifyConfig(kind="alertmanager", url_env="AM", allow_private=True, prove_hours=0)
    environment = {"AM": f"http://{alertmanager}"}
    async with posting(tmp_path, environment, config, start_ns=time.time_ns()) as post:
        for role in ("worker", "planner"):
            post.fire("QualityLow", role)
        await post.poster.step()
        firing = await told(receiver, "QualityLow", "firing")
        assert {one["labels"]["role"] for one in firing["alerts"]} == {"worker", "planner"}
        assert firing["receiver"] == "pages"
        assert firing["alerts"][0]["annotations"]["summary"].startswith("QualityLow of ")
        listed = await asker.until(
            f"http://{alertmanager}/api/v2/alerts", lambda all_: len(all_) == 2
        )
        assert {one["status"]["state"] for one in listed} == {"active"}

        begun = post.clock.now_ns()
        post.clock.advance(time.time() - begun / 1e9)
        for role in ("worker", "planner"):
            now = post.clock.now_ns()
            post.put(alert("QualityLow", role, status="resolved", at_ns=now, starts_ns=begun))
        await post.poster.step()
        resolved = await told(receiver, "QualityLow", "resolved")
        assert {one["status"] for one in resolved["alerts"]} == {"resolved"}


@pytest.mark.timeout(120)
async def test_an_alertmanager_keeps_an_alert_active_that_is_silenced_here_since(
    tmp_path: Path, alertmanager: str, asker: Asker
) -> None:
    config = NotifyConfig(kind="alertmanager", url_env="AM", allow_private=True, prove_hours=0)
    environment, url = {"AM": f"http://{alertmanager}"}, f"http://{alertmanager}/api/v2/alerts"
    async with posting(tmp_path, environment, config, start_ns=time.time_ns()) as post:
        post.fire("QualityLow")
        await post.poster.step()
        (known,) = await asker.until(url, lambda all_: len(all_) == 1)
        post.muted |= {alert(name).fingerprint for name in ("QualityLow", "CostHigh")}
        post.fire("CostHigh")  # it begins under the silence
        post.clock.advance(61)
        await post.poster.step()
        (kept,) = await asker.until(url, lambda all_: all_[0]["endsAt"] > known["endsAt"])
        assert kept["labels"]["alertname"] == "QualityLow"
        assert kept["status"]["state"] == "active"


def prometheus_files(folder: Path, *, gateway: str, collector: str, alertmanager: str) -> Path:
    """Write the shipped configuration and rules with our ports, seconds in place of minutes."""
    rules = (DEPLOY / "prometheus" / "tierwise.rules.yml").read_text()
    assert "for: 2m" in rules
    (folder / "tierwise.rules.yml").write_text(rules.replace("for: 2m", "for: 2s"))
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    for shipped, ours in (
        ("127.0.0.1:9093", alertmanager),
        ("127.0.0.1:8080", gateway),
        ("127.0.0.1:8081", collector),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("evaluation_interval: 15s", "evaluation_interval: 1s"),
    ):
        assert shipped in text
        text = text.replace(shipped, ours)
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


def all_well(found: Any) -> bool:
    rules = [rule for group in found["data"]["groups"] for rule in group["rules"]]
    return len(rules) > 20 and {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.timeout(240)
async def test_a_prometheus_evaluates_the_rules_and_an_alertmanager_tells_and_resolves(
    tmp_path: Path, alertmanager: str, receiver: Receiver, asker: Asker
) -> None:
    prometheus = program("prometheus")
    gateway, console, page = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with provider() as upstream, contextlib.ExitStack() as stack:
        files = write_files(tmp_path, upstream.port)
        policy = tmp_path / "policy.toml"
        policy.write_text(policy.read_text() + NOTIFY)

        def started(name: str, *flags: str) -> Service:
            service = Service(
                [name, *files, *flags], log=tmp_path / f"{name}.log",
                variables={"TIERWISE_TEST_ALERTMANAGER": f"http://{alertmanager}"},
            )  # fmt: skip
            stack.callback(service.close)
            service.event("ready")
            return service

        otlp = ("--otlp-http=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0")
        await asyncio.to_thread(started, "collector", f"--console={console}", *otlp)
        serving = await asyncio.to_thread(started, "gateway", f"--gateway={gateway}")
        config = prometheus_files(
            tmp_path, gateway=gateway, collector=console, alertmanager=alertmanager
        )
        command = [
            prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address={page}", "--log.level=warn",
            "--rules.alert.resend-delay=1s",  # the first sending comes before it knows to whom
        ]  # fmt: skip
        stack.enter_context(child(command, tmp_path / "prometheus.log"))

        await asker.until(f"http://{page}/api/v1/rules", all_well)
        up = f"http://{page}/api/v1/query?query=sum(up)"
        await asker.until(up, lambda found: value(found) == "2")
        state = (
            f'http://{page}/api/v1/query?query=tierwise_collector_alert_state{{alert="Watchdog"}}'
        )
        await asker.until(state, lambda found: value(found) == "2")
        alive = await asker.until(
            f"http://{alertmanager}/api/v2/alerts?filter=alertname=Watchdog",
            lambda found: len(found) == 2,
        )
        assert {one["labels"]["severity"] for one in alive} == {"none", "info"}  # of both senders

        serving.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(serving.process.wait, WAIT_SECONDS) == 0
        firing = await told(receiver, "TierwiseGatewayDown", "firing")
        assert firing["receiver"] == "pages"
        assert firing["alerts"][0]["labels"]["instance"] == gateway
        await asyncio.to_thread(started, "gateway", f"--gateway={gateway}")
        await told(receiver, "TierwiseGatewayDown", "resolved")


def value(found: Any) -> str | None:
    """Return the first value of an instant query."""
    result = found["data"]["result"]
    return result[0]["value"][1] if result else None

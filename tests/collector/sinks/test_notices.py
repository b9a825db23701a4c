"""Notices of a running collector: its routes, and that it really sends."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collector.desk import Desk, desk_path
from collector.outbox import enqueue
from telemetry.alerting import AlertsConfig, NotifyConfig
from telemetry.terms import Terms
from tests.collector.conftest import Running, Start
from tests.collector.sinks.posting import alert, webhook
from tests.collector.sinks.receiver import Receiver, answering, receiving

DOCS = Path(__file__).parents[3] / "docs"


def terms(*notify: NotifyConfig) -> Terms:
    return Terms(policy_hash="h", ladder=(), tiers={}, roles=(), alerts=AlertsConfig(notify=notify))


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    async with receiving() as made:
        monkeypatch.setenv("HOOK", made.url)
        yield made


async def posted(running: Running, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with running.session.post(
        running.console + "/api/alerts/test", json=body, headers=headers
    ) as answer:
        return answer.status, await answer.json()


async def until(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(20):
        while len(receiver.received) < count:
            await asyncio.sleep(0.05)


async def test_what_is_in_the_outbox_is_sent(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    running = await start(terms=terms(webhook(group_wait_seconds=0)))
    desk = Desk(desk_path(tmp_path / "c.duckdb"))
    with desk.transaction() as change:
        enqueue(change, alert(at_ns=running.clock.now_ns()))
    desk.close()
    await until(receiver, 1)
    assert receiver.received[0].plain["commonLabels"]["alertname"] == "QualityLow"


async def test_a_test_says_of_each_sink_whether_it_acknowledged(
    start: Start, receiver: Receiver
) -> None:
    broken = webhook(name="broken", url_env="UNSET")
    running = await start(terms=terms(webhook(), broken))
    status, body = await posted(running)
    assert status == 200
    found = {one["sink"]: one for one in body["sinks"]}
    assert found["webhook"]["acknowledged"] is True
    assert found["broken"]["acknowledged"] is False
    assert "UNSET is not set" in found["broken"]["message"]
    receiver.behave = answering(404)
    status, body = await posted(running, {"sink": "webhook"})
    assert [(one["sink"], one["message"]) for one in body["sinks"]] == [("webhook", "HTTP 404")]
    listed = {one["name"]: one for one in (await running.get("/api/sinks"))["sinks"]}
    assert listed["webhook"]["tested_ns"] == running.clock.now_ns()
    assert listed["webhook"]["error"] == "HTTP 404"
    assert listed["broken"]["tested_ns"] is None


async def test_an_unknown_sink_is_named_with_the_known_ones(
    start: Start, receiver: Receiver
) -> None:
    running = await start(terms=terms(webhook()))
    status, body = await posted(running, {"sink": "wbhook"})
    assert status == 404
    assert "known: webhook" in body["error"]["message"]
    assert (await posted(running, {"sinks": "x"}))[0] == 422


async def test_a_page_of_another_site_cannot_fire_tests(start: Start, receiver: Receiver) -> None:
    running = await start(terms=terms(webhook()))
    status, _ = await posted(running, origin="http://evil.example")
    assert status == 403
    assert receiver.received == []


async def test_without_sinks_there_is_nothing_to_test(start: Start) -> None:
    running = await start()
    assert await posted(running) == (200, {"sinks": []})


async def test_the_drift_report_is_there(start: Start) -> None:
    running = await start()
    report = await running.get("/api/drift?since_seconds=86400")
    assert report["roles"] == []
    assert "no traffic" in report["summary"]
    assert 86_400 <= (report["to_ns"] - report["from_ns"]) / 1e9 < 86_400 + 3_660


async def test_every_route_of_notices_is_described(start: Start) -> None:
    page = (DOCS / "collector.md").read_text()
    for route in ("GET /api/sinks", "POST /api/alerts/test", "GET /api/drift"):
        assert re.search(rf"`{re.escape(route)}[?`]", page), route

"""The poster: each piece of news gets to each sink, once under one id, whatever comes between."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.outbox import enqueue_change, enqueue_report, sink_proofs
from telemetry.alerting import NotifyConfig
from tests.collector.sinks.posting import NOW_NS, Post, alert, posting, webhook
from tests.collector.sinks.receiver import Receiver, answering, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def post(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Post]:
    async with posting(tmp_path, {"HOOK": receiver.url}, webhook()) as made:
        await made.poster.step()
        yield made


def told(receiver: Receiver) -> list[tuple[str, str, int]]:
    """Return status, reason and number of alerts of each message."""
    bodies = [one.plain for one in receiver.received]
    return [(b["status"], b["notification_reason"], len(b["alerts"])) for b in bodies]


async def test_a_new_group_waits_then_speaks_once(post: Post, receiver: Receiver) -> None:
    post.fire(role="worker")
    await post.wait(25)
    assert receiver.received == []
    post.fire(role="planner")
    await post.wait(60)
    assert told(receiver) == [("firing", "FirstNotification", 2)]


async def test_the_body_is_alertmanager_s_to_the_key(post: Post, receiver: Receiver) -> None:
    post.fire()
    await post.wait(35)
    body = receiver.received[0].plain
    own = body["alerts"][0]
    labels = {"alertname": "QualityLow", "role": "worker", "severity": "page"}
    words = {"summary": "QualityLow of worker", "reason": "evidence"}
    assert body == {
        "version": "4",
        "groupKey": '{}:{alertname="QualityLow"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "webhook",
        "groupLabels": {"alertname": "QualityLow"},
        "commonLabels": labels,
        "commonAnnotations": words,
        "externalURL": "",
        "notification_reason": "FirstNotification",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": words,
                "startsAt": "2027-01-15T08:00:00.000000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": own["fingerprint"],
            }
        ],
    }


async def test_a_group_speaks_again_after_its_interval_and_then_repeats(
    post: Post, receiver: Receiver
) -> None:
    post.fire(role="worker")
    await post.wait(35)
    post.fire(role="planner")
    await post.wait(290)
    assert len(receiver.received) == 1
    await post.wait(20)
    assert told(receiver)[1:] == [("firing", "NewAlertsInGroup", 2)]
    post.resolve(role="worker")
    await post.wait(310)
    assert told(receiver)[2:] == [("firing", "NewResolvedAlerts", 2)]
    await post.wait(4 * 3_600 + 60, every=60)
    assert told(receiver)[3:] == [("firing", "RepeatIntervalElapsed", 1)]
    post.resolve(role="planner")
    await post.wait(310)
    assert told(receiver)[4:] == [("resolved", "AllAlertsResolved", 1)]
    await post.wait(10 * 3_600, every=600)
    assert len(receiver.received) == 5
    assert len(set(receiver.ids)) == 5


async def test_what_ended_before_its_group_spoke_is_told_all_the_same(
    post: Post, receiver: Receiver
) -> None:
    post.fire()
    await post.wait(10)
    post.resolve()
    await post.wait(60)
    assert told(receiver) == [("resolved", "FirstNotification", 1)]


async def test_a_storm_is_one_message_that_counts_what_it_leaves_out(
    post: Post, receiver: Receiver
) -> None:
    now = post.clock.now_ns()
    post.put(*(alert("TaskCap", f"role-{n}", at_ns=now) for n in range(250)))
    await post.wait(60)
    assert told(receiver) == [("firing", "FirstNotification", 100)]
    assert receiver.received[0].plain["truncatedAlerts"] == 150


async def test_a_body_stays_small_however_wordy_its_alerts_are(
    post: Post, receiver: Receiver
) -> None:
    wordy = [alert("TaskCap", f"role-{n}", at_ns=post.clock.now_ns()) for n in range(90)]
    post.put(*(replace(one, annotations={"summary": "x" * 9_000}) for one in wordy))
    await post.wait(60)
    body = receiver.received[0].plain
    assert len(receiver.received[0].body) < 65_536
    assert len(body["alerts"]) + body["truncatedAlerts"] == 90
    assert len(body["alerts"]) == 9  # of 4 KiB and their labels each


async def test_a_sink_that_is_down_for_an_hour_gets_everything_once_it_is_up(
    post: Post, receiver: Receiver
) -> None:
    receiver.behave = answering(503)
    post.fire("QualityLow")
    await post.wait(600)
    post.fire("CostHigh")
    post.resolve("QualityLow")
    await post.wait(3_000)
    tries = len(receiver.received)
    assert 20 <= tries <= 60  # a try in 2.5 minutes on average, once the waits are at their longest
    receiver.behave = answering(200)
    await post.wait(400)
    delivered = receiver.received[tries:]
    states = [
        (one["labels"]["alertname"], one["status"])
        for message in delivered
        for one in message.plain["alerts"]
    ]
    assert sorted(states) == [
        ("CostHigh", "firing"), ("QualityLow", "firing"), ("QualityLow", "resolved"),
    ]  # fmt: skip
    assert len({one.headers["webhook-id"] for one in delivered}) == len(delivered) == 3
    assert post.count("due") == 0
    tried = [one for one in receiver.received if one.headers["webhook-id"] in receiver.ids[tries:]]
    for one in tried:  # the same id never says two different things
        same = next(d for d in delivered if d.headers["webhook-id"] == one.headers["webhook-id"])
        assert same.body == one.body


async def test_retry_after_is_waited_for(post: Post, receiver: Receiver) -> None:
    receiver.behave = answering(429, retry_after="900")
    post.fire()
    await post.wait(35)
    assert len(receiver.received) == 1
    receiver.behave = answering(200)
    await post.wait(890)
    assert len(receiver.received) == 1
    await post.wait(15)
    assert len(receiver.received) == 2


async def test_a_day_of_failures_is_given_up_and_counted(post: Post, receiver: Receiver) -> None:
    receiver.behave = answering(503)
    post.fire()
    post.resolve()
    await post.wait(86_000, every=200)
    assert post.count("due") == 1
    await post.wait(2_000, every=200)
    assert (post.count("due"), post.count("dead")) == (0, 1)
    assert (
        post.metric("tierwise_collector_notify_dead_total", sink="webhook", reason="expired") == 1
    )


async def test_a_refusal_is_not_repeated_and_does_not_hold_up_others(
    post: Post, receiver: Receiver
) -> None:
    receiver.behave = answering(400)
    post.fire("QualityLow")
    await post.wait(35)
    receiver.behave = answering(200)
    post.fire("CostHigh")
    await post.wait(40)
    names = [one.plain["groupLabels"]["alertname"] for one in receiver.received]
    assert names == ["QualityLow", "CostHigh"]
    assert (
        post.metric("tierwise_collector_notify_dead_total", sink="webhook", reason="refused") == 1
    )


async def test_gone_disables_until_a_test_is_acknowledged(post: Post, receiver: Receiver) -> None:
    receiver.behave = answering(410)
    post.fire("QualityLow")
    await post.wait(35)
    post.fire("CostHigh")
    await post.wait(600)
    assert len(receiver.received) == 1
    assert post.metric("tierwise_collector_notify_up", sink="webhook") == 0
    assert "410" in post.poster.standing()[0]["disabled"]
    assert sink_proofs(post.desk) == {"webhook": 0}
    receiver.behave = answering(200)
    (tested,) = await post.poster.test()
    assert tested.acknowledged
    await post.wait(10)
    assert receiver.received[-1].plain["groupLabels"] == {"alertname": "CostHigh"}
    assert sink_proofs(post.desk) == {"webhook": post.clock.now_ns() - 5 * 10**9}


async def test_what_is_muted_is_told_when_it_is_muted_no_more(
    post: Post, receiver: Receiver
) -> None:
    event = alert(at_ns=NOW_NS)
    post.muted.add(event.fingerprint)
    post.put(event)
    await post.wait(600)
    assert receiver.received == []
    post.muted.clear()
    await post.wait(310)
    assert told(receiver) == [("firing", "FirstNotification", 1)]


async def test_of_what_was_muted_from_beginning_to_end_nobody_hears(
    post: Post, receiver: Receiver
) -> None:
    post.muted.add(alert().fingerprint)
    post.fire()
    await post.wait(5)
    post.resolve()
    post.muted.clear()  # what does not fire is not muted any more
    await post.wait(600)
    assert receiver.received == []


async def test_of_what_was_told_before_it_was_muted_people_hear_the_end(
    post: Post, receiver: Receiver
) -> None:
    post.fire()
    await post.wait(60)
    post.muted.add(alert().fingerprint)
    await post.wait(5 * 3_600, every=30)
    assert len(receiver.received) == 1
    post.resolve()
    post.muted.clear()
    await post.wait(600)
    assert told(receiver)[1:] == [("resolved", "AllAlertsResolved", 1)]


async def test_the_same_event_twice_is_told_once(post: Post, receiver: Receiver) -> None:
    event = alert(at_ns=post.clock.now_ns())
    post.put(event)
    post.put(event)
    await post.wait(60)
    post.put(event)
    await post.wait(600)
    assert told(receiver) == [("firing", "FirstNotification", 1)]


async def test_a_clock_that_is_put_back_delays_nothing_for_long(
    post: Post, receiver: Receiver
) -> None:
    receiver.behave = answering(503)
    post.fire()
    await post.wait(300)
    receiver.behave = answering(200)
    post.clock.advance(-7 * 86_400)
    await post.wait(10)
    assert receiver.received[-1].plain["status"] == "firing"
    assert post.count("sent") == 1


async def test_a_clock_that_leaps_ahead_gives_nothing_up(post: Post, receiver: Receiver) -> None:
    receiver.behave = answering(503)
    post.fire()
    await post.wait(35)
    post.clock.advance(2 * 86_400)
    await post.poster.step()
    assert post.count("dead") == 0
    assert len(set(receiver.ids)) == 1


async def test_a_new_start_goes_on_where_the_last_one_stopped(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.behave = answering(503)
    async with posting(tmp_path, {"HOOK": receiver.url}, webhook()) as first:
        first.fire()
        await first.wait(60)
    first_id = receiver.ids[0]
    receiver.behave = answering(200)
    async with posting(
        tmp_path, {"HOOK": receiver.url}, webhook(), start_ns=NOW_NS + 400 * 10**9
    ) as second:
        await second.wait(30)
    assert set(receiver.ids) == {first_id}


async def test_a_sink_that_joins_hears_what_fires_but_no_history(
    post: Post, receiver: Receiver
) -> None:
    post.fire("QualityLow")
    post.fire("CostHigh")
    post.resolve("CostHigh")
    await post.wait(700)
    async with receiving() as other:
        post.poster._around.environment["NEW"] = other.url  # type: ignore[index]
        post.notify.append(webhook(name="late", url_env="NEW"))
        await post.wait(40)
        assert [one.plain["groupLabels"]["alertname"] for one in other.received] == ["QualityLow"]


async def test_a_sink_that_lacks_its_variable_says_so_and_stops_no_other(
    tmp_path: Path, receiver: Receiver
) -> None:
    broken = webhook(name="broken", url_env="UNSET")
    async with posting(tmp_path, {"HOOK": receiver.url}, broken, webhook()) as post:
        post.fire()
        await post.wait(35)
        assert len(receiver.received) == 1
        assert sink_proofs(post.desk) == {"broken": 0, "webhook": post.clock.now_ns()}
        found = {one["name"]: one for one in post.poster.standing()}
        assert "UNSET is not set" in found["broken"]["fault"]
        tested = {one.sink: one for one in await post.poster.test()}
        assert tested["webhook"].acknowledged
        assert not tested["broken"].acknowledged


async def test_pagerduty_gets_one_incident_for_one_alert_and_changes_that_page_nobody(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = NotifyConfig(
        kind="pagerduty", url_env="HOOK", secret_env="KEY", allow_private=True, prove_hours=0
    )
    async with posting(tmp_path, {"HOOK": receiver.url, "KEY": "r0uting"}, config) as post:
        await post.poster.step()
        post.fire()
        post.fire()
        await post.wait(5)
        post.resolve()
        with post.desk.transaction() as change:
            for _ in range(2):
                enqueue_change(
                    change, change_id="rev-2", summary="Revision rev-2 is active",
                    details={"author": "kim"}, at_ns=post.clock.now_ns(),
                )  # fmt: skip
        await post.wait(10)
    sent = [(one.path, one.plain) for one in receiver.received]
    events = [(path, plain.get("event_action")) for path, plain in sent]
    assert sorted(events, key=str) == [
        ("/v2/change/enqueue", None), ("/v2/enqueue", "resolve"), ("/v2/enqueue", "trigger"),
    ]  # fmt: skip
    keys = {plain["dedup_key"] for path, plain in sent if path == "/v2/enqueue"}
    assert keys == {alert().fingerprint}
    trigger = next(plain for _, plain in sent if plain.get("event_action") == "trigger")
    assert trigger["payload"]["severity"] == "critical"
    assert trigger["payload"]["summary"] == "QualityLow (worker): QualityLow of worker"
    assert trigger["routing_key"] == "r0uting"


async def test_an_alertmanager_is_told_again_while_it_fires_and_for_five_minutes_after(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = NotifyConfig(kind="alertmanager", url_env="HOOK", allow_private=True, prove_hours=0)
    async with posting(tmp_path, {"HOOK": receiver.url}, config) as post:
        await post.poster.step()
        post.fire()
        await post.wait(300)
        first = bodies(receiver)
        assert len(first) == 5
        assert all(len(alerts) == 1 for alerts in first)
        assert receiver.received[0].path == "/api/v2/alerts"
        ends = [alerts[0]["endsAt"] for alerts in first]
        assert ends[0] == "2027-01-15T08:04:05.000000Z"  # four resends after the first, at 08:00:05
        assert ends == sorted(set(ends))
        post.resolve()
        await post.wait(5)
        assert bodies(receiver)[-1][0]["endsAt"] == "2027-01-15T08:05:00.000000Z"
        after = len(receiver.received)
        await post.wait(900)
        assert len(receiver.received) - after == 5


async def test_an_alertmanager_keeps_what_it_knows_while_that_is_silenced_here(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = NotifyConfig(kind="alertmanager", url_env="HOOK", allow_private=True, prove_hours=0)
    async with posting(tmp_path, {"HOOK": receiver.url}, config) as post:
        await post.poster.step()
        post.fire("QualityLow")
        await post.wait(60)
        post.muted |= {alert(name).fingerprint for name in ("QualityLow", "CostHigh")}
        post.fire("CostHigh")  # begins under the silence: kept back
        before = len(receiver.received)
        await post.wait(600)
        assert [names(one) for one in bodies(receiver)[before:]] == [{"QualityLow"}] * 10
        post.resolve("QualityLow")
        await post.wait(5)
        assert bodies(receiver)[-1][0]["endsAt"] == "2027-01-15T08:11:00.000000Z"
        post.muted.clear()
        await post.wait(60)
        assert "CostHigh" in names(bodies(receiver)[-1])


def names(alerts: Any) -> set[str]:
    return {one["labels"]["alertname"] for one in alerts}


async def test_an_alertmanager_that_was_away_hears_of_what_ended_meanwhile(
    tmp_path: Path, receiver: Receiver
) -> None:
    config = NotifyConfig(kind="alertmanager", url_env="HOOK", allow_private=True, prove_hours=0)
    async with posting(tmp_path, {"HOOK": receiver.url}, config) as post:
        post.fire()
        await post.wait(60)
        receiver.behave = answering(503)
        post.resolve()
        await post.wait(3_600)
        tries = len(receiver.received)
        receiver.behave = answering(200)
        await post.wait(310)
    assert [one["labels"]["alertname"] for one in bodies(receiver)[tries]] == ["QualityLow"]


def bodies(receiver: Receiver) -> list[Any]:
    return [one.plain for one in receiver.received]


async def test_every_event_is_a_log_record_of_its_own(tmp_path: Path, receiver: Receiver) -> None:
    config = NotifyConfig(kind="otel", url_env="HOOK", prove_hours=0)
    async with posting(tmp_path, {"HOOK": receiver.url}, config) as post:
        await post.poster.step()
        post.fire()
        post.resolve()
        await post.wait(5)
    records = [
        ExportLogsServiceRequest.FromString(one.body).resource_logs[0].scope_logs[0].log_records[0]
        for one in receiver.received
    ]
    assert [one.path for one in receiver.received] == ["/v1/logs", "/v1/logs"]
    found = []
    for record in records:
        attributes = {one.key: one.value.string_value for one in record.attributes}
        found.append((record.event_name, record.severity_text, attributes["tierwise.alert.status"]))
        assert attributes["tierwise.role"] == "worker"
        assert attributes["tierwise.alert.label.severity"] == "page"
    assert found == [("tierwise.alert", "FATAL", "firing"), ("tierwise.alert", "INFO", "resolved")]


async def test_a_report_goes_only_where_it_is_wanted(tmp_path: Path, receiver: Receiver) -> None:
    async with receiving() as other:
        configs = (webhook(), webhook(name="weekly", url_env="OTHER", drift_report=True))
        environment = {"HOOK": receiver.url, "OTHER": other.url}
        async with posting(tmp_path, environment, *configs) as post:
            await post.poster.step()
            with post.desk.transaction() as change:
                enqueue_report(
                    change, report_id="week-1", summary="Drift: 1 change",
                    details={"worker": "moved"}, at_ns=NOW_NS,
                )  # fmt: skip
            await post.wait(10)
        assert receiver.received == []
        (body,) = bodies(other)
        assert body["alerts"][0]["annotations"] == {"summary": "Drift: 1 change", "worker": "moved"}


async def test_a_sink_is_proven_by_itself_when_nothing_was_acknowledged_for_long(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with posting(tmp_path, {"HOOK": receiver.url}, webhook(prove_hours=20)) as post:
        await post.poster.step()
        assert len(receiver.received) == 1
        assert receiver.received[0].plain["alerts"][0]["status"] == "resolved"
        assert sink_proofs(post.desk) == {"webhook": NOW_NS}
        await post.wait(19 * 3_600, every=600)
        assert len(receiver.received) == 1
        await post.wait(2 * 3_600, every=600)
        assert len(receiver.received) == 2
        assert sink_proofs(post.desk)["webhook"] > NOW_NS


async def test_info_and_the_watchdog_page_nobody_unless_they_are_asked_for(
    tmp_path: Path, receiver: Receiver
) -> None:
    names = ("QualityLow", "QualityWarn", "Watchdog")
    plain = webhook(group_wait_seconds=0)
    every = webhook(name="all", url_env="ALL", watchdog=True, group_wait_seconds=0)
    pages = webhook(name="pages", url_env="PAGES", severities=("page",), group_wait_seconds=0)
    duty = NotifyConfig(
        kind="pagerduty", url_env="DUTY", secret_env="KEY", allow_private=True, prove_hours=0
    )
    async with receiving() as all_, receiving() as paged, receiving() as duties:
        environment = {
            "HOOK": receiver.url, "ALL": all_.url, "PAGES": paged.url, "DUTY": duties.url,
            "KEY": "k",
        }  # fmt: skip
        async with posting(tmp_path, environment, plain, every, pages, duty) as post:
            await post.poster.step()
            post.put(
                alert("QualityLow", at_ns=NOW_NS, severity="page"),
                alert("QualityWarn", at_ns=NOW_NS, severity="info"),
                alert("Watchdog", None, at_ns=NOW_NS, severity="info"),
            )
            await post.wait(10)
        heard = [
            sorted(one.plain["groupLabels"]["alertname"] for one in each.received)
            for each in (receiver, all_, paged)
        ]
        assert heard == [list(names[:2]), list(names), ["QualityLow"]]
        assert [one.plain["payload"]["class"] for one in duties.received] == ["QualityLow"]


async def test_what_is_done_with_is_forgotten_after_a_week(post: Post, receiver: Receiver) -> None:
    post.fire()
    post.resolve()
    await post.wait(60)
    post.clock.advance(8 * 86_400)
    post.poster._steps = 0
    await post.poster.step()
    for table in ("outbox", "outbox_alerts", "deliveries", "notice_groups"):
        assert post.desk.rows(f"SELECT * FROM {table}") == [], table
    assert json.loads(receiver.received[0].body)["status"] == "resolved"

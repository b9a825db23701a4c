"""The alerts' routes over real HTTP: reading, silencing, acknowledging, and who may."""

from typing import Any

from collector.access import Access, Key, Level
from tests.collector.alerts.test_over_http import Sender, caught_up, policy
from tests.collector.conftest import Running, Start

HOUR = 3_600 * 10**9


async def ask(
    running: Running, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with running.session.request(
        method, running.console + path, json=body, headers=sent
    ) as answer:
        content = await answer.json() if answer.status != 304 else None
        return answer.status, content, answer.headers


async def dropped(start: Start) -> Running:
    """Return a collector in which QualityLow of `drop` fires."""
    running = await start(terms=policy("drop", "calm"))
    sender = Sender(running)
    await sender.send("drop", [1.0] * 40 + [0.0, 1.0] * 20, [100] * 80)
    await sender.send("calm", [1.0] * 20, [100] * 20)
    await caught_up(running, sender)
    return running


async def test_alerts_are_read_silenced_and_acknowledged(start: Start) -> None:
    running = await dropped(start)
    status, listed, headers = await ask(running, "GET", "/api/alerts?role=drop&state=firing")
    assert status == 200
    names = {each["name"]: each for each in listed["alerts"]}
    assert {"QualityLow", "QualityWarn"} <= set(names)
    mark = names["QualityLow"]["fingerprint"]
    path = "/api/alerts?role=drop&state=firing"
    assert (await ask(running, "GET", path, if_none_match=headers["etag"]))[0] == 304
    assert (await ask(running, "GET", path, if_none_match='"other"'))[0] == 200

    status, shown, _ = await ask(running, "GET", f"/api/alerts/{mark}")
    assert status == 200
    assert shown["transitions"][0]["state"] == "firing"
    assert (await ask(running, "GET", "/api/alerts/nothing"))[0] == 404
    await shown_as_metrics(running)

    _, grouped, _ = await ask(running, "GET", "/api/alerts?state=firing&group_by=alertname")
    groups = {each["labels"]["alertname"]: each for each in grouped["groups"]}
    assert groups["QualityLow"]["states"] == {"firing": 2}, "of the role and over all"
    assert groups["QualityLow"]["common"] == {"alertname": "QualityLow", "severity": "page"}

    body = {"matchers": {"role": "drop"}, "hours": 2, "author": "ann", "comment": "known"}
    status, silence, _ = await ask(running, "POST", "/api/alerts/silences", body)
    assert status == 201
    assert silence["ends_ns"] - silence["starts_ns"] == 2 * HOUR
    assert (await running.get("/api/alerts/silences"))["silences"] == [silence]
    sides = (await running.get("/api/alerts/armed?role=drop"))["sides"]
    muted = [c["holds"] for s in sides for c in s["conditions"] if c["name"] == "not silenced"]
    assert muted == [False, False]
    assert (await running.get("/api/alerts/armed"))["unsafe_roles"] == ["drop"]
    assert (await ask(running, "DELETE", f"/api/alerts/silences/{silence['id']}"))[0] == 200
    assert (await ask(running, "DELETE", f"/api/alerts/silences/{silence['id']}"))[0] == 404

    status, known, _ = await ask(
        running, "POST", f"/api/alerts/{mark}/ack", {"comment": "rolled back", "author": "ann"}
    )
    assert status == 200
    assert known["state"] == "resolved"
    assert known["acknowledged"]["author"] == "ann"
    assert (await running.get("/api/alerts/armed"))["unsafe_roles"] == []
    assert (await ask(running, "POST", f"/api/alerts/{mark}/ack", {"comment": "x"}))[0] == 404
    log = (await running.get("/api/audit-log"))["rows"]
    assert [row["action"] for row in log] == ["acknowledge", "unsilence", "silence"]


async def shown_as_metrics(running: Running) -> None:
    async with running.session.get(running.console + "/metrics") as answer:
        text = await answer.text()
    assert (
        'tierwise_collector_alert_state{alert="QualityLow",role="drop",severity="page"} 2.0' in text
    )
    assert 'tierwise_collector_alert_state{alert="Watchdog",role="",severity="info"} 2.0' in text
    name = 'tierwise_collector_alert_evidence{alert="QualityLow",role="drop"}'
    line = next(line for line in text.splitlines() if line.startswith(name))
    assert float(line.split()[-1]) > 2_600


BAD_SILENCES: list[tuple[dict[str, Any], str]] = [
    ({"matchers": {"role": "a"}, "author": "a", "comment": "c"}, "must end after it starts"),
    ({"matchers": {"role": "a"}, "hours": 1, "comment": "c"}, "author"),
    ({"matchers": {"role": "a"}, "hours": 1, "author": "a"}, "comment"),
    ({"matchers": {}, "hours": 1, "author": "a", "comment": "c"}, "1 to 16 matchers"),
    ({"matchers": {"role": "a"}, "hours": 169, "author": "a", "comment": "c"}, "hours"),
    ({"matchers": {"role": "a"}, "until": 1}, "until"),
    ({"matchers": {"role": 1}, "hours": 1, "author": "a", "comment": "c"}, "matchers"),
]


async def test_a_silence_that_lacks_something_gets_422(start: Start) -> None:
    running = await start(terms=policy("worker"))
    for body, said in BAD_SILENCES:
        status, answer, _ = await ask(running, "POST", "/api/alerts/silences", body)
        assert (status, said in answer["error"]["message"]) == (422, True), answer
    assert (await running.get("/api/alerts/silences"))["silences"] == []


async def test_an_alert_is_explained_over_http(start: Start) -> None:
    running = await start(terms=policy("worker"))
    found = await running.get("/api/alerts/explain/QualityLow?role=worker")
    assert found["arl"] == 2_600
    status, answer, _ = await ask(running, "GET", "/api/alerts/explain/Quality")
    assert status == 404
    assert "QualityLow" in answer["error"]["message"]


async def test_changes_want_an_approver_and_reading_a_viewer(start: Start) -> None:
    keys = [
        Key(name="vic", level=Level.VIEWER, secret="v" * 20),
        Key(name="ada", level=Level.APPROVER, secret="a" * 20),
    ]
    running = await start(terms=policy("worker"), access=Access(None, keys=keys))
    body = {"matchers": {"role": "worker"}, "hours": 1, "author": "mallory", "comment": "c"}
    path = "/api/alerts/silences"
    assert (await ask(running, "POST", path, body))[0] == 401
    viewer, approver = f"Bearer {'v' * 20}", f"Bearer {'a' * 20}"
    assert (await ask(running, "POST", path, body, authorization=viewer))[0] == 403
    assert (await ask(running, "DELETE", path + "/x", authorization=viewer))[0] == 403
    assert (await ask(running, "GET", path))[0] == 401
    status, made, _ = await ask(running, "POST", path, body, authorization=approver)
    assert status == 201
    assert made["author"] == "ada", "a key's name, whatever the body says"
    assert (await ask(running, "GET", path, authorization=viewer))[0] == 200


async def test_a_browser_led_here_under_another_name_may_change_nothing(start: Start) -> None:
    running = await start(terms=policy("worker"))
    body = {"matchers": {"role": "worker"}, "hours": 1, "author": "m", "comment": "c"}
    status, _, _ = await ask(
        running, "POST", "/api/alerts/silences", body, origin="https://evil.example"
    )
    assert status == 403


async def test_what_comes_again_under_its_key_takes_place_once(start: Start) -> None:
    running = await dropped(start)
    silence = {"matchers": {"role": "drop"}, "hours": 2, "author": "ann", "comment": "known"}
    path = "/api/alerts/silences"
    first, again = [
        await ask(running, "POST", path, silence, idempotency_key="k1") for _ in range(2)
    ]
    assert (first[0], again[0]) == (201, 201)
    assert first[1] == again[1]
    assert again[2]["idempotency-replayed"] == "true"
    assert len((await running.get(path))["silences"]) == 1
    other = await ask(running, "POST", path, silence | {"hours": 3}, idempotency_key="k1")
    assert (other[0], other[1]["error"]["code"]) == (422, "key_reused")

    ended = f"{path}/{first[1]['id']}"
    assert [(await ask(running, "DELETE", ended, idempotency_key="k2"))[0] for _ in range(2)] == [
        200, 200,
    ]  # fmt: skip
    assert (await ask(running, "DELETE", ended, idempotency_key="k3"))[0] == 404

    listed = (await running.get("/api/alerts?role=drop&state=firing"))["alerts"]
    mark = next(each["fingerprint"] for each in listed if each["name"] == "QualityLow")
    body = {"author": "ann", "comment": "rolled back"}
    known = [
        await ask(running, "POST", f"/api/alerts/{mark}/ack", body, idempotency_key="k4")
        for _ in range(2)
    ]
    assert [each[0] for each in known] == [200, 200]
    assert known[0][1] == known[1][1]
    rows = (await running.get("/api/audit-log"))["rows"]
    assert [row["action"] for row in rows] == ["acknowledge", "unsilence", "silence"]

"""The review of the policy over HTTP: each change once, on the base it was made for, and logged."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from collector.access import Access, Key, Level
from collector.alerts import ledger
from collector.alerts.ledger import Alert
from collector.alerts.states import Standing, State
from collector.refusals import Refusal
from learning.revision import Revision
from learning.standing import parse
from telemetry.records import Arm, OnFail
from tests.collector.conftest import Running, Start
from tests.collector.panel import Panel
from tests.collector.reviewing import evidence, revision, terms

OVERRIDE = {"override": "a pilot"}


def submit(running: Running, found: Revision, *, activate: bool = False) -> str:
    return running.revisions.submit(
        found, author="learner", trigger="tick", now_ns=running.clock.now_ns(), activate=activate,
        note={"run": 1},
    )  # fmt: skip


async def begin(start: Start, **settings: Any) -> Panel:
    return Panel(await start(terms=terms(), **settings))


async def status_of(panel: Panel, found: Revision) -> str:
    _, shown = await panel.get(f"/api/policy/revisions/{found.revision_id}")
    return str(shown["status"])


async def actions(panel: Panel) -> list[tuple[str, str, str]]:
    _, log = await panel.get("/api/audit-log")
    return [(row["actor"], row["action"], row["subject"]) for row in reversed(log["rows"])]


async def test_a_proposal_is_shown_approved_and_served(start: Start) -> None:
    panel = await begin(start)
    proposal = revision(0.2)
    assert submit(panel.running, proposal) == "proposed"
    _, listed = await panel.get("/api/policy/revisions", status="proposed")
    assert [one["id"] for one in listed["revisions"]] == [proposal.revision_id]
    assert (listed["revisions"][0]["author"], listed["active"]) == ("learner", "declared")
    _, shown = await panel.get(f"/api/policy/revisions/{proposal.revision_id}")
    assert shown["shares"] == {"worker||": {"small/step": 0.2, "mid/step": 0.8}}
    assert (shown["evidence"], shown["note"]) == ({"worker||": {"labels": 120.0}}, {"run": 1})
    status, answer = await panel.post(f"revisions/{proposal.revision_id}/approve", OVERRIDE)
    assert (status, answer["active"]) == (200, proposal.revision_id)
    _, standing = await panel.get("/api/policy/active")
    assert standing["revision"] == proposal.text
    assert await actions(panel) == [
        ("learner", "propose", proposal.revision_id),
        ("local", "approve", proposal.revision_id),
    ]
    _, log = await panel.get("/api/audit-log", limit="1")
    assert log["rows"][0]["reason"] == "a pilot"
    assert log["rows"][0]["after"]["overridden"] == [
        "worker: no recent step that it moves is in the log"
    ]


async def test_what_the_preview_cannot_prove_is_not_approved_without_a_word(start: Start) -> None:
    panel = await begin(start)
    proposal = revision(0.2)
    submit(panel.running, proposal)
    status, refusal = await panel.post(f"revisions/{proposal.revision_id}/approve")
    assert (status, refusal["error"]["code"]) == (409, "inconclusive")
    assert "no recent step that it moves" in refusal["error"]["message"]
    assert await status_of(panel, proposal) == "proposed"


async def test_a_preview_that_clears_the_floor_lets_it_pass(start: Start) -> None:
    panel = await begin(start)
    now_ns = panel.running.clock.now_ns()
    rows = evidence(at_ns=now_ns - 10**12, small=(400, 0.97), mid=(400, 0.97))
    await panel.running.writer.submit(rows)
    proposal = revision(0.5)
    submit(panel.running, proposal)
    _, preview = await panel.get("/api/policy/preview", revision=proposal.revision_id)
    worker = preview["roles"][0]
    assert (worker["verdict"], preview["inconclusive"], preview["blocked"]) == ("clears", False, [])
    assert worker["moves"] == pytest.approx(0.5)  # all steps start at mid, half go to small
    assert worker["usd_change"]["value"] == pytest.approx(-0.5 * 0.04, abs=0.001)
    assert (await panel.post(f"revisions/{proposal.revision_id}/approve"))[0] == 200


async def test_rejecting_needs_a_reason_and_is_for_good(start: Start) -> None:
    panel = await begin(start)
    proposal = revision(0.2)
    submit(panel.running, proposal)
    path = f"revisions/{proposal.revision_id}/reject"
    assert (await panel.post(path))[0] == 422
    assert (await panel.post(path, {"reason": "  "}))[0] == 422
    status, answer = await panel.post(path, {"reason": "too early"})
    assert (status, answer["status"]) == (200, "rejected")
    status, refusal = await panel.post(f"revisions/{proposal.revision_id}/approve", OVERRIDE)
    assert (status, refusal["error"]["code"]) == (409, "wrong_status")
    assert submit(panel.running, proposal) == "rejected"


async def test_a_shadow_is_compared_and_may_be_approved_later(start: Start) -> None:
    panel = await begin(start)
    proposal = revision(0.2)
    submit(panel.running, proposal)
    assert (await panel.post(f"revisions/{proposal.revision_id}/shadow"))[0] == 200
    submit(panel.running, revision(0.3))  # a later proposal leaves a shadow alone
    assert await status_of(panel, proposal) == "shadow"
    _, found = await panel.get("/api/policy/active")
    assert found["revision"] is None
    assert (await panel.post(f"revisions/{proposal.revision_id}/approve", OVERRIDE))[0] == 200


async def test_a_rollback_goes_to_the_parent_and_freezes_what_it_moved(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.2)
    second = Revision(
        policy_hash="p1", parent=first.revision_id, evidence={},
        shares={"worker||": {"small/step": 0.4, "mid/step": 0.6}},
    )  # fmt: skip
    submit(panel.running, first, activate=True)
    submit(panel.running, second, activate=True)
    assert (await panel.post("rollback"))[0] == 422  # why?
    status, answer = await panel.post("rollback", {"reason": "complaints"})
    assert (status, answer["active"], answer["frozen"]) == (200, first.revision_id, ["worker"])
    assert await status_of(panel, second) == "rolled back"
    third = revision(0.5, parent=first.revision_id)
    assert submit(panel.running, third, activate=True) == "proposed"  # it does not walk back
    assert submit(panel.running, second, activate=True) == "rolled back"
    _, held = await panel.get("/api/policy/holds")
    assert [(hold["kind"], hold["role"]) for hold in held["holds"]] == [("freeze", "worker")]
    assert "complaints" in held["holds"][0]["reason"]
    status, answer = await panel.post("rollback", {"reason": "all of it", "to": "declared"})
    assert (status, answer["active"]) == (200, "declared")
    status, refusal = await panel.post("rollback", {"reason": "more"})
    assert (status, refusal["error"]["code"]) == (409, "wrong_status")


async def test_one_rolls_back_only_to_what_was_in_force(start: Start) -> None:
    panel = await begin(start)
    never = revision(0.3)
    submit(panel.running, never)
    submit(panel.running, revision(0.2), activate=True)
    for name, code in ((never.revision_id, "wrong_status"), ("0" * 16, "unknown_revision")):
        _, refusal = await panel.post("rollback", {"reason": "r", "to": name})
        assert refusal["error"]["code"] == code


async def test_a_former_revision_is_activated_again_without_a_preview(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.2)
    submit(panel.running, first, activate=True)
    await panel.post("rollback", {"reason": "r"})
    status, answer = await panel.post("activate", {"revision": first.revision_id})
    assert (status, answer["active"]) == (200, first.revision_id)
    status, answer = await panel.post("activate", {"revision": first.revision_id})
    assert (status, answer["unchanged"]) == (200, True)


async def test_a_rollout_keeps_the_former_revision_for_the_other_sessions(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.2)
    second = revision(0.4, parent=first.revision_id)
    submit(panel.running, first, activate=True)
    submit(panel.running, second)
    body = OVERRIDE | {"rollout": 0.25}
    assert (await panel.post(f"revisions/{second.revision_id}/approve", body))[0] == 200
    standing = panel.running.revisions.active().standing
    assert (standing.revision, standing.previous, standing.rollout) == (second, first, 0.25)
    await panel.post("activate", {"revision": second.revision_id, "rollout": 1.0})
    standing = panel.running.revisions.active().standing
    assert (standing.revision, standing.previous, standing.rollout) == (second, None, 1.0)


async def test_the_base_must_be_named_and_must_be_the_present_one(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.2)
    before = await panel.etag()
    submit(panel.running, first, activate=True)
    path, body = "freeze", {"reason": "r"}
    assert (await panel.post(path, body, base=None))[0] == 428
    assert (await panel.post(path, body, base="*"))[0] == 428
    status, refusal = await panel.post(path, body, base=before)
    assert (status, refusal["error"]["code"]) == (409, "stale_base")
    assert (await panel.post(path, body, base=f"W/{await panel.etag()}"))[0] == 409
    assert (await panel.post(path, body, base='"declared"'))[0] == 409
    assert (await panel.post(path, body, base=f'"{first.revision_id}"'))[0] == 200
    assert (await panel.post(path, body, base=f'"x", {await panel.etag()}'))[0] == 200


async def test_a_warning_that_begins_meanwhile_makes_no_base_stale(start: Start) -> None:
    panel = await begin(start)
    before, revisions = await panel.etag(), panel.running.revisions
    with revisions.desk.transaction() as change:
        ledger.write(change, burning("QualityWarn", "worker"))
    revisions.wake()
    assert revisions.active().standing.graded == {"worker"}
    after = await panel.etag()
    assert after != before  # gateways hear of it
    assert (await panel.post("freeze", {"reason": "r"}, base=before))[0] == 200
    assert (await panel.post("thaw", {"reason": "r"}, base=after))[0] == 200


def burning(name: str, role: str) -> Alert:
    return Alert(
        fingerprint="f" * 64, name=name, role=role, severity="info", labels={},
        standing=Standing(state=State.FIRING),
    )  # fmt: skip


async def test_a_proposal_whose_parent_is_gone_is_stale(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.2)
    submit(panel.running, first)
    other = Revision(policy_hash="p1", parent=None, shares={}, evidence={})
    panel.running.revisions.submit(
        other, author="ada", trigger="person", now_ns=1, activate=True, note={}
    )
    status, refusal = await panel.post(f"revisions/{first.revision_id}/approve", OVERRIDE)
    assert (status, refusal["error"]["code"]) == (409, "stale_base")
    _, shown = await panel.get(f"/api/policy/revisions/{first.revision_id}")
    assert shown["stale"] == "another revision than its parent is in force"


async def test_what_was_made_under_another_policy_is_refused_with_the_reason(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = await begin(start)
    first = revision(0.2)
    second = revision(0.3, parent=first.revision_id)
    submit(panel.running, first, activate=True)
    submit(panel.running, second, activate=True)
    third = revision(0.4, parent=second.revision_id)
    submit(panel.running, third)
    monkeypatch.setattr(panel.running.revisions, "terms", lambda: terms(policy_hash="p2"))
    with pytest.raises(Refusal, match="made under policy p1, but the present one is p2"):
        submit(panel.running, revision(0.5, parent=second.revision_id))
    for path, body in (
        (f"revisions/{third.revision_id}/approve", OVERRIDE),
        (f"revisions/{third.revision_id}/shadow", {}),
        ("activate", {"revision": first.revision_id}),
        ("rollback", {"reason": "r"}),
    ):
        status, refusal = await panel.post(path, body)
        assert (status, refusal["error"]["code"]) == (409, "stale_policy"), path
    _, shown = await panel.get(f"/api/policy/revisions/{third.revision_id}")
    assert shown["stale"] == "made under another policy"
    assert (await panel.post("rollback", {"reason": "r", "to": "declared"}))[0] == 200


async def test_the_same_key_gets_the_same_answer_and_happens_once(start: Start) -> None:
    panel = await begin(start)
    submit(panel.running, revision(0.2), activate=True)
    etag = await panel.etag()
    body = {"reason": "complaints"}
    first = await panel.post("rollback", body, base=etag, idempotency_key="k1")
    again = await panel.post("rollback", body, base=etag, idempotency_key="k1")
    assert first[0] == again[0] == 200
    assert again[1] == first[1] | {"replayed": True}
    assert [row[1] for row in await actions(panel)].count("rollback") == 1
    other = {"reason": "something else"}
    status, refusal = await panel.post("rollback", other, base=etag, idempotency_key="k1")
    assert (status, refusal["error"]["code"]) == (422, "key_reused")
    status, _ = await panel.post("freeze", body, idempotency_key="k1")
    assert status == 422
    assert (await panel.post("freeze", body, idempotency_key="x" * 201))[0] == 422


async def test_a_refusal_is_not_remembered_under_its_key(start: Start) -> None:
    panel = await begin(start)
    body = {"role": "worker", "reason": "r"}
    assert (await panel.post("freeze", body, base='"gone"', idempotency_key="k"))[0] == 409
    assert (await panel.post("freeze", body, idempotency_key="k"))[0] == 200


async def test_pins_have_an_owner_a_reason_and_an_end(start: Start) -> None:
    panel = await begin(start)
    whole = {"role": "worker", "arm": "top", "reason": "audit week", "days": 7}
    for name in whole:
        assert (await panel.post("pin", {k: v for k, v in whole.items() if k != name}))[0] == 422
    for wrong in ({"days": 91}, {"days": 0}, {"role": "nobody"}, {"arm": "huge"},
                  {"arm": "mid/sideways"}):  # fmt: skip
        status, refusal = await panel.post("pin", whole | wrong)
        assert (status, refusal["error"]["code"]) == (422, "invalid_field"), wrong
    status, answer = await panel.post("pin", whole)
    assert (status, answer["hold"]["owner"], answer["hold"]["arm"]) == (200, "local", "top/accept")
    _, found = await panel.get("/api/policy/active")
    assert parse_pins(found) == {"worker": Arm(tier="top", on_fail=OnFail.ACCEPT)}
    panel.running.clock.advance(7 * 86_400)
    _, found = await panel.get("/api/policy/active")
    assert found["pins"] == {}


def parse_pins(found: Any) -> Any:
    return parse(json.dumps(found)).pins


async def test_a_pin_of_a_bare_tier_does_what_the_table_does_when_a_check_fails(
    start: Start,
) -> None:
    panel = await begin(start)
    body = {"role": "worker", "arm": "small", "reason": "r", "days": 1}
    assert (await panel.post("pin", body))[1]["hold"]["arm"] == "small/step"
    assert (await panel.post("pin", body | {"arm": "mid/top"}))[1]["hold"]["arm"] == "mid/step"
    assert (await panel.post("unpin", {"role": "worker"}))[1]["ended"] == ["worker"]
    assert (await panel.post("unpin", {"role": "worker"}))[0] == 409


async def test_thawing_without_a_role_ends_every_freeze(start: Start) -> None:
    panel = await begin(start)
    assert (await panel.post("thaw"))[0] == 409
    await panel.post("freeze", {"reason": "r"})
    await panel.post("freeze", {"reason": "r", "role": "planner"})
    assert panel.running.revisions.active().frozen == {"*", "planner"}
    assert (await panel.post("thaw", {"role": "worker"}))[0] == 409
    assert (await panel.post("thaw"))[1]["ended"] == ["*", "planner"]
    assert panel.running.revisions.active().frozen == frozenset()


async def test_people_hand_in_and_activate_files(start: Start) -> None:
    panel = await begin(start)
    first = revision(0.25)
    submit(panel.running, first, activate=True)
    file = (await panel.get("/api/policy/export"))[1]["file"]
    edited = file.replace('"small/step" = 0.25', '"small/step" = 0.5')
    edited = edited.replace('"mid/step" = 0.75', '"mid/step" = 0.5')
    status, answer = await panel.post("propose", {"file": edited, "reason": "r"}, base=None)
    assert (status, answer["status"]) == (200, "proposed")
    _, shown = await panel.get(f"/api/policy/revisions/{answer['revision']}")
    assert (shown["parent"], shown["author"]) == (first.revision_id, "local")
    assert shown["evidence"] == {}
    status, _ = await panel.post("activate", {"file": edited}, base=None)
    assert status == 409  # inconclusive
    body = {"file": edited} | OVERRIDE
    status, activated = await panel.post("activate", body, base=None)
    assert (status, activated["active"]) == (200, answer["revision"])
    status, again = await panel.post("activate", body, base=None)
    assert (status, again["unchanged"]) == (200, True)
    status, refusal = await panel.post("activate", {"file": file} | OVERRIDE, base=None)
    assert (status, refusal["error"]["code"]) == (409, "stale_base")


MISFITS = (
    ('"mid/step"', '"huge/step"', "no arm of the role's range"),
    ("worker||", "clerk||", "learn = 'off'"),
    ("worker||", "nobody||", "has no role"),
    ("worker||", "worker", "is not a cell"),
    ("0.75", "0.5", "no probabilities"),
    ("0.75", "nan", "not finite"),
    ("0.75", '"x"', "not a number"),
    ('"mid/step"', '"mid/sideways"', "not an arm"),
    ("format = 1", "format = 9", "format 9"),
    ("base =", "bass =", "unknown key 'bass'"),
    ('policy_hash = "p1"', 'policy_hash = "p0"', "made under policy p0"),
    ("format = 1", "format = ", "not TOML"),
)


async def test_a_file_that_does_not_fit_is_refused_with_the_place(start: Start) -> None:
    panel = await begin(start)
    submit(panel.running, revision(0.25), activate=True)
    file = (await panel.get("/api/policy/export"))[1]["file"]
    for old, new, complaint in MISFITS:
        body = {"file": file.replace(old, new)} | OVERRIDE
        status, refusal = await panel.post("activate", body, base=None)
        assert status in (409, 422), complaint
        assert complaint in refusal["error"]["message"]


async def test_of_two_decisions_on_one_base_exactly_one_takes_place(start: Start) -> None:
    panel = await begin(start)
    parent = revision(0.1)
    submit(panel.running, parent, activate=True)
    for round_ in range(5):
        child = revision(0.2 + round_ / 10, parent=panel.running.revisions.active().name)
        submit(panel.running, child, activate=False)
        base = await panel.etag()
        found = await asyncio.gather(
            panel.post(f"revisions/{child.revision_id}/approve", OVERRIDE, base=base),
            panel.post("rollback", {"reason": "r", "to": "declared"}, base=base),
        )
        assert sorted(status for status, _ in found) == [200, 409]
        loser = next(body for status, body in found if status == 409)
        assert loser["error"]["code"] == "stale_base"
        if panel.running.revisions.active().name == "declared":
            body = {"revision": parent.revision_id}
            assert (await panel.post("activate", body))[0] == 200
            await panel.post("thaw")
    _, verdict = await panel.get("/api/audit-log/verify")
    assert verdict["whole"] is True


async def test_the_list_is_read_in_pages_and_by_status(start: Start) -> None:
    panel = await begin(start)
    ids: list[str] = []
    for number in range(5):
        made = revision(number / 10, parent=ids[-1] if ids else None)
        ids.append(made.revision_id)
        submit(panel.running, made, activate=True)
    _, first = await panel.get("/api/policy/revisions", limit="3")
    assert [one["id"] for one in first["revisions"]] == ids[:1:-1]
    before = str(first["next_before"])
    _, rest = await panel.get("/api/policy/revisions", limit="3", before=before)
    assert [one["id"] for one in rest["revisions"]] == ids[1::-1]
    assert rest["next_before"] is None
    _, active = await panel.get("/api/policy/revisions", status="active")
    assert [one["id"] for one in active["revisions"]] == ids[-1:]
    assert (active["revisions"][0]["served_ns"], active["revisions"][0]["stale"]) == (
        panel.running.clock.now_ns(), None,
    )  # fmt: skip


async def test_questions_that_make_no_sense_are_answered_so(start: Start) -> None:
    panel = await begin(start)
    for path, query, wanted in (
        ("revisions", {"status": "lost"}, 422),
        ("revisions", {"limit": "0"}, 422),
        ("revisions/active", {}, 404),  # the declared policy is no revision
        ("revisions/%00", {}, 404),
        ("diff", {"after": "0" * 16}, 404),
        ("diff", {"after": "active", "before": "declared"}, 200),
        ("diff", {"steps": "100001"}, 422),
        ("preview", {}, 422),
        ("preview", {"revision": "declared"}, 200),
        ("export", {}, 404),
    ):
        assert (await panel.get(f"/api/policy/{path}", **query))[0] == wanted, (path, query)


async def test_viewers_read_and_approvers_change_under_their_names(start: Start) -> None:
    keys = (
        Key(name="vic", level=Level.VIEWER, secret="v"),
        Key(name="ada", level=Level.APPROVER, secret="a"),
        Key(name="bi", level=Level.ANALYTICS, secret="b"),
    )
    nobody = await begin(start, access=Access("s3nder", keys=keys))
    etag = nobody.running.revisions.active().standing.etag
    body = {"reason": "r"}
    for secret, status in ((None, 401), ("wrong", 401), ("s3nder", 401), ("b", 403), ("v", 403)):
        panel = Panel(nobody.running, secret)
        assert (await panel.post("freeze", body, base=etag))[0] == status, secret
    for secret, status in ((None, 401), ("b", 403), ("v", 200), ("a", 200)):
        for path in ("/api/policy/revisions", "/api/audit-log", "/api/policy/holds"):
            assert (await Panel(nobody.running, secret).get(path))[0] == status, (secret, path)
    ada = Panel(nobody.running, "a")
    assert (await ada.post("freeze", body))[1]["hold"]["owner"] == "ada"
    assert (await actions(ada)) == [("ada", "freeze", "*")]


async def test_without_keys_changes_come_from_this_machine_only(start: Start) -> None:
    panel = await begin(start, access=Access(None, loopback=False))
    status, refusal = await panel.post("freeze", {"reason": "r"})
    assert (status, refusal["error"]["code"]) == (403, "not_allowed")


async def test_a_browser_that_was_led_here_changes_nothing(start: Start) -> None:
    panel = await begin(start)
    led = [
        {"host": "evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ]
    for headers in led:
        status, _ = await panel.post("freeze", {"reason": "r"}, **headers)
        assert status == 403, headers


async def test_without_a_policy_nothing_is_pinned(start: Start) -> None:
    panel = Panel(await start())
    body = {"role": "worker", "arm": "top", "reason": "r", "days": 1}
    status, refusal = await panel.post("pin", body)
    assert (status, refusal["error"]["code"]) == (409, "no_policy")


async def test_the_etag_of_a_change_is_that_of_what_gateways_fetch(start: Start) -> None:
    panel = await begin(start)
    submit(panel.running, revision(0.2), activate=True)
    _, answer = await panel.post("rollback", {"reason": "r"})
    async with panel.running.session.get(panel.running.console + "/api/policy/active") as found:
        text = await found.text()
        assert found.headers["etag"] == answer["etag"]
    assert answer["etag"] == f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'

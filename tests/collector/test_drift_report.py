"""The drift report over a real store: what changed is found, what did not is left alone."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from collector.desk import Desk
from collector.drift_findings import Finding
from collector.drift_report import DAY_SECONDS, DriftReport, drift_report
from collector.drift_weekly import WEEK_NS, Weekly
from collector.duckdb_store import DuckDBStore
from collector.holds import Hold
from collector.rows import Batch
from telemetry.records import Arm
from telemetry.terms import PinTerms, RoleTerms, Terms
from tests.collector.chains import Try, chain, word
from tests.collector.otlp import NOW_NS

DAY_NS = 86_400_000_000_000


class Week:
    """Steps of one role, spread over a week."""

    def __init__(self, store: DuckDBStore) -> None:
        self.store = store
        self.number = 0

    def add(
        self, n: int, tier: str, *, days_ago: float, role: str = "worker", usd: float = 0.001,
        quality: float | None = None, tokens: int = 100, served: str | None = None,
        **fields: Any,
    ) -> None:  # fmt: skip
        batches: list[Batch] = []
        for place in range(n):
            self.number += 1
            at = NOW_NS - int(days_ago * DAY_NS) + place * 10**9
            made = Try(tier=tier, tokens=(tokens, 10, 0), served=served)
            batch = chain(self.number, [made], start_ns=at, role=role, **fields)
            batch.calls[0].cost_usd = usd * (1 + place % 2)
            batch.evaluations.clear()
            batches.append(batch)
            if quality is not None:
                score = 1.0 if place < quality * n else 0.0
                batches.append(word(self.number, score, at=at + 10**9))
        self.keep(batches, at_ns=NOW_NS - int((days_ago - 0.1) * DAY_NS))

    def keep(self, batches: list[Batch], *, at_ns: int) -> None:
        self.store.write(batches, now_ns=at_ns)
        while self.store.roll_up(at_ns):
            pass

    def report(self, terms: Terms | None = None) -> DriftReport:
        while self.store.roll_up(NOW_NS):
            pass
        return drift_report(self.store, terms=terms, now_ns=NOW_NS)


@pytest.fixture
def week(store: DuckDBStore) -> Week:
    return Week(store)


def one(report: DriftReport, check: str, *, role: str = "worker") -> Finding:
    found = [f for r in report.roles if r.role == role for f in r.findings if f.check == check]
    assert len(found) == 1, found
    return found[0]


def test_a_moved_tier_mix_is_tested_and_described(week: Week) -> None:
    for days_ago, small in ((10, 100), (3, 160)):
        week.add(small, "small", days_ago=days_ago, dialect="chat")
        week.add(200 - small, "mid", days_ago=days_ago, dialect="chat")
    report = week.report()
    found = one(report, "tier_mix")
    # Expected 130 and 70 on both sides.
    g = 2 * (
        100 * math.log(100 / 130) + 100 * math.log(100 / 70)
        + 160 * math.log(160 / 130) + 40 * math.log(40 / 70)
    )  # fmt: skip
    assert found.p_value == pytest.approx(math.erfc(math.sqrt(g / 2)))
    assert found.psi == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))
    assert (found.status, found.n_before, found.n_now) == ("changed", 200, 200)
    assert found.before == {"small": 0.5, "mid": 0.5}
    assert found.sentence == (
        "The tiers that steps started at changed (p = 2e-10): small 50.0% -> 80.0%, "
        "mid 50.0% -> 20.0% (n 200 and 200)."
    )
    assert one(report, "dialect_mix").status == "steady"
    assert one(report, "escalation").status == "steady"
    assert "1 changed" in report.summary
    assert report.words() == {"worker": found.sentence + " " + one(report, "evidence").sentence}


def test_the_same_traffic_again_is_steady(week: Week) -> None:
    for days_ago in (10, 3):
        week.add(100, "small", days_ago=days_ago, quality=0.9, dialect="chat")
    report = week.report()
    assert {f.status for f in report.roles[0].findings} == {"steady"}
    assert report.summary == "Drift over the last 7 days: 0 changed, 0 to note, in 1 role."


def test_too_few_are_said_aloud(week: Week) -> None:
    week.add(4, "small", days_ago=10)
    week.add(4, "mid", days_ago=3)
    report = week.report()
    for check in ("tier_mix", "pass_rate", "cost_per_task", "escalation"):
        found = one(report, check)
        assert found.status == "too_few"
        assert "n too small" in found.sentence
        assert found.p_value is None


def test_a_fall_of_quality_and_a_rise_of_cost_and_tokens(week: Week) -> None:
    week.add(100, "small", days_ago=10, quality=0.9)
    week.add(100, "small", days_ago=3, quality=0.6, usd=0.003, tokens=200)
    report = week.report()
    quality = one(report, "pass_rate")
    # Standard error sqrt(0.9 * 0.1 / 100 + 0.6 * 0.4 / 100) = 0.0574; 0.3 is 5.22 of them.
    wanted = math.erfc(0.3 / math.sqrt(0.09 / 100 + 0.24 / 100) / math.sqrt(2))
    assert quality.p_value == pytest.approx(wanted)
    assert (quality.before, quality.now) == ({"mean": 0.9}, {"mean": 0.6})
    cost = one(report, "cost_per_task")
    assert cost.status == "changed"
    assert cost.before == {"mean": pytest.approx(0.0015)}
    assert cost.now == {"mean": pytest.approx(0.0045)}
    tokens = [f for f in report.roles[0].findings if f.check == "tokens_per_call"]
    assert [(f.status, f.now["mean"]) for f in tokens] == [("noted", 200.0), ("steady", 10.0)]
    price = one(report, "price")
    # 0.15 $ for 11,000 tokens before, 0.45 $ for 21,000 now.
    assert price.before["mean"] == pytest.approx(0.15 / 11_000 * 1e6)
    assert price.now["mean"] == pytest.approx(0.45 / 21_000 * 1e6)
    assert price.status == "noted"


def test_a_rise_of_escalation_is_found(week: Week) -> None:
    week.add(95, "mid", days_ago=10)
    week.add(5, "mid", days_ago=9, escalated_from="small")
    week.add(70, "mid", days_ago=3)
    week.add(30, "mid", days_ago=2, escalated_from="small")
    found = one(week.report(), "escalation")
    assert found.status == "changed"
    assert (found.before, found.now) == ({"rate": 0.05}, {"rate": 0.3})


def test_new_and_vanished_model_versions_are_named(week: Week) -> None:
    week.add(10, "small", days_ago=10, served="small-2026-01")
    week.add(10, "small", days_ago=3, served="small-2026-06")
    found = one(week.report(), "model_versions")
    assert found.status == "noted"
    assert found.sentence == (
        "Models served at tier small: new small-2026-06 (n 10), no more small-2026-01 (n 10)."
    )


def test_a_judge_is_held_against_the_word_that_ranks_above_it(week: Week) -> None:
    week.add(40, "small", days_ago=3)
    judge = []
    for number in range(1, 41):
        gold, said = number <= 20, number <= 16 or number > 36  # 4 and 4 against the gold
        at = NOW_NS - 3 * DAY_NS + number * 10**9
        judge.append(word(number, float(gold), at=at))
        judge.append(word(number, float(said), at=at, name="judge", source="event", rank=2))
    week.keep(judge, at_ns=NOW_NS)
    report = week.report()
    found = [
        f for f in report.roles[0].findings
        if f.check == "judge_agreement"
    ]  # fmt: skip
    assert len(found) == 1
    # 16 and 16 of 40 agree: 0.8; chance 0.5; kappa 0.6.
    assert found[0].now == {"agreement": 0.8, "kappa": pytest.approx(0.6)}
    assert found[0].sentence == (
        "judge agrees with people's word on 80.0% of answers (kappa 0.60, n 40)."
    )


def test_stale_evidence_and_pins_near_their_end_are_noted(week: Week) -> None:
    week.add(10, "small", days_ago=10, quality=1.0)
    week.add(10, "small", days_ago=1)
    pin = PinTerms(model="p/small", reason="r", owner="kim@example.com", until=date(2027, 1, 20))
    role = RoleTerms(
        role="worker", mode=None, tiers=("small",), declared=Arm(tier="small"), floor=None,
        learn="off", checked=False, pin=pin,
    )  # fmt: skip
    terms = Terms(policy_hash="h", ladder=("small",), tiers={}, roles=(role,))
    report = week.report(terms)
    evidence = one(report, "evidence")
    assert evidence.status == "noted"
    assert evidence.sentence.startswith("Evidence is stale: the last graded step is 10.0 days old")
    # Now is 2027-01-15.
    assert one(report, "pin").sentence == (
        "The pin to p/small ends in 5 days, on 2027-01-20; ask kim@example.com."
    )


def test_a_run_time_pin_near_its_end_is_noted_and_one_far_from_it_is_not(week: Week) -> None:
    week.add(10, "small", days_ago=1)
    week.keep([], at_ns=NOW_NS)
    found = []
    for days in (2.5, 30, -1):
        hold = Hold(
            kind="pin", role="worker", arm="mid/step", owner="ada", reason="r", since_ns=NOW_NS,
            until_ns=NOW_NS + int(days * DAY_NS),
        )  # fmt: skip
        report = drift_report(week.store, terms=None, now_ns=NOW_NS, held=[hold])
        own = report.roles[0].findings
        found += [each.sentence for each in own if each.check == "pin"]
    assert found == ["The pin to mid/step, set at run time, ends by itself in 2.5 days; ask ada."]


def test_calls_of_others_are_compared_by_the_tier_that_was_called(
    store: DuckDBStore, week: Week
) -> None:
    assert week.report().roles == ()
    assert "no traffic" in week.report().summary
    batches = []
    for number in range(1, 41):
        at = NOW_NS - (10 if number <= 20 else 3) * DAY_NS + number * 10**9
        batch = chain(number, [Try(tier="small")], start_ns=at, role="foreign")
        batch.decisions.clear()
        batches.append(batch)
    store.write(batches, now_ns=NOW_NS)
    found = one(week.report(), "tier_mix", role="foreign")
    assert found.sentence.startswith("The tiers that were called did not change")


def test_a_report_goes_out_once_a_week_and_only_where_it_is_wanted(
    tmp_path: Path, week: Week
) -> None:
    desk, wanted = Desk(tmp_path / "a.desk"), [False]
    weekly = Weekly(desk, week.report, wanted=lambda: wanted[0])
    assert not weekly.look(NOW_NS)
    wanted[0] = True
    assert not weekly.look(NOW_NS)  # the first a week after it was first wanted
    assert not weekly.look(NOW_NS + WEEK_NS - 1)
    assert weekly.look(NOW_NS + WEEK_NS)
    assert not weekly.look(NOW_NS + WEEK_NS + 1)
    assert weekly.look(NOW_NS + 2 * WEEK_NS)
    rows = desk.rows("SELECT kind FROM outbox")
    assert rows == [{"kind": "report"}] * 2
    desk.close()


def test_a_shorter_span_is_compared_with_its_like(week: Week) -> None:
    week.add(40, "small", days_ago=1.5)
    week.add(40, "mid", days_ago=0.5)
    while week.store.roll_up(NOW_NS):
        pass
    report = drift_report(week.store, terms=None, now_ns=NOW_NS, since_seconds=DAY_SECONDS)
    found = one(report, "tier_mix")
    assert (found.status, found.n_before, found.n_now) == ("changed", 40, 40)

"""The preview: what moves, dollars, floors, and what the log cannot tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.preview import impact
from collector.recent_steps import Recent, Step, declared_among, given, recent_steps
from learning.revision import Revision, parse_arm
from tests.collector.otlp import NOW_NS
from tests.collector.reviewing import ARMS, batch, decision, revision, role, terms

OFFERED = tuple(parse_arm(arm) for arm in ARMS)
MID = parse_arm("mid/step")


def step(arm: str, *, quality: float | None, cost: float | None = 0.05, **named: Any) -> Step:
    fields: dict[str, Any] = {
        "at_ns": NOW_NS, "cell": "worker||", "role": "worker", "mode": None, "offered": OFFERED,
        "declared": MID, "arm": parse_arm(arm), "propensity": 0.5, "cost_usd": cost,
        "quality": quality, "free": True,
    }  # fmt: skip
    return Step(**(fields | named))


def half(count: int, *, small: float, mid: float = 0.95, **named: Any) -> list[Step]:
    """So many steps of small and as many of mid in turn; their shares of good answers are given."""
    found = []
    for index in range(count):
        for arm, cost, mean in (("small/step", 0.01, small), ("mid/step", 0.05, mid)):
            good = int((index + 1) * mean + 1e-9) > int(index * mean + 1e-9)
            found.append(step(arm, quality=float(good), cost=cost, **named))
    return found


def looked(steps: Sequence[Step], candidate: Revision | None, base: Revision | None = None) -> Any:
    found = impact(candidate, base, Recent(steps=tuple(steps), others=0), terms())
    return found, found.roles[0]


def test_a_cheaper_mix_that_keeps_the_floor_clears_it() -> None:
    found, worker = looked(half(500, small=0.97), revision(0.5))
    assert found.moves == worker.moves == pytest.approx(0.5)  # mid 1.0 -> mid 0.5, small 0.5
    assert worker.usd_change.value == pytest.approx(-0.02, abs=1e-3)  # 0.5 * (0.01 - 0.05)
    assert worker.usd_change.low <= -0.02 <= worker.usd_change.high
    assert found.usd_change.value == pytest.approx(1_000 * worker.usd_change.value)
    assert found.usd_now == pytest.approx(500 * 0.01 + 500 * 0.05)
    assert worker.quality.value == pytest.approx(0.96, abs=0.005)  # 0.5 * 0.97 + 0.5 * 0.95
    assert worker.margin.value == pytest.approx(worker.quality.value - 0.9)
    assert (worker.verdict, found.blocked, found.inconclusive) == ("clears", (), False)
    assert worker.graded == 1_000


def test_a_mix_that_would_miss_the_floor_is_blocked() -> None:
    found, worker = looked(half(500, small=0.3), revision(0.5))
    assert worker.quality.value == pytest.approx(0.625, abs=0.02)
    assert (worker.verdict, found.inconclusive) == ("misses", False)
    assert found.blocked == (f"worker: {worker.why}",)
    assert "would be missed" in worker.why


def test_too_few_steps_are_inconclusive_and_block() -> None:
    found, worker = looked(half(20, small=0.97), revision(0.9))
    assert (worker.verdict, found.inconclusive) == ("inconclusive", True)
    assert len(found.blocked) == 1


def test_an_arm_that_was_never_tried_is_named() -> None:
    steps = [step("mid/step", quality=1.0, propensity=1.0) for _ in range(500)]
    found, worker = looked(steps, revision(0.5))
    assert worker.verdict == "inconclusive"
    assert "small/step in worker||" in worker.why
    assert (worker.usd_change, found.usd_change) == (None, None)  # unknown, not zero


def test_what_may_lie_on_either_side_of_the_floor_is_inconclusive() -> None:
    _, worker = looked(half(100, small=0.85), revision(0.5))
    assert worker.quality.low < 0.88
    assert worker.quality.high > 0.9
    assert worker.verdict == "inconclusive"
    assert "may be missed" in worker.why


def test_steps_without_a_grade_prove_nothing() -> None:
    steps = [step(arm, quality=None) for arm in ("small/step", "mid/step") * 200]
    _, worker = looked(steps, revision(0.5))
    assert (worker.verdict, worker.graded) == ("inconclusive", 0)


def test_going_back_to_the_declared_table_needs_no_proof() -> None:
    found, worker = looked(half(5, small=0.2), None, revision(0.5))
    assert (worker.verdict, worker.moves, found.blocked) == ("falls back", 0.5, ())


def test_the_same_shares_move_nothing() -> None:
    found, worker = looked(half(5, small=0.2), revision(0.5), revision(0.5, parent="x"))
    assert (worker.verdict, found.moves, found.blocked) == ("unchanged", 0.0, ())
    assert found.usd_change.value == 0.0


def test_steps_that_nothing_can_move_count_among_all() -> None:
    steps = [*half(250, small=0.97), *half(250, small=0.97, free=False)]
    found, worker = looked(steps, revision(0.5))
    assert worker.moves == pytest.approx(0.25)
    assert worker.usd_change.value == pytest.approx(-0.01, abs=1e-3)
    assert found.moves == pytest.approx(0.25)


def test_a_role_that_nobody_asked_lately_is_inconclusive_unless_it_falls_back() -> None:
    planner = revision(0.5, cell="planner||")
    found = impact(planner, None, Recent(steps=(), others=7), terms())
    assert (found.steps, found.roles[0].role, found.roles[0].verdict) == (
        7, "planner", "inconclusive",
    )  # fmt: skip
    back = impact(None, planner, Recent(steps=(), others=0), terms())
    assert (back.roles[0].verdict, back.blocked) == ("falls back", ())


def test_a_moved_cell_without_steps_proves_nothing_in_a_role_with_few() -> None:
    tools = revision(0.5, cell="worker||tools")
    for count, verdict in ((20, "inconclusive"), (30, "unchanged")):
        found, worker = looked(half(count, small=0.97), tools)
        assert (worker.verdict, worker.moves, found.inconclusive) == (
            verdict, 0.0, verdict == "inconclusive",
        )  # fmt: skip
    pinned = half(100, small=0.97, free=False)
    assert looked(pinned, revision(0.5))[1].verdict == "inconclusive"
    assert looked(pinned, None, revision(0.5))[1].verdict == "falls back"


def test_a_role_without_a_floor_blocks_nothing() -> None:
    recent = Recent(steps=tuple(half(100, small=0.1)), others=0)
    found = impact(revision(0.5), None, recent, terms(role("worker", floor=None)))
    assert (found.roles[0].verdict, found.blocked) == ("no floor", ())


def test_an_exact_cell_is_looked_up_before_its_role() -> None:
    both = Revision(
        policy_hash="p1", parent=None, evidence={},
        shares={"worker||": {"mid/step": 1.0}, "worker||tools": {"top/accept": 1.0}},
    )  # fmt: skip
    for cell, wanted in (("worker||tools", "top/accept"), ("worker||code", "mid/step")):
        shares = given(both, step("mid/step", quality=None, cell=cell), terms())
        assert {str(arm): share for arm, share in shares.items() if share} == {wanted: 1.0}


def test_the_table_s_tier_is_sought_above_when_it_is_not_offered() -> None:
    offered = tuple(parse_arm(arm) for arm in ("small/accept", "small/step", "top/accept"))
    assert str(declared_among(offered, role("worker"))) == "top/accept"
    low = tuple(parse_arm(arm) for arm in ("small/accept",))
    assert str(declared_among(low, role("worker"))) == "small/accept"


def test_decisions_of_the_store_become_steps(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    whole: dict[str, Any] = {"arm": "small/step", "propensity": 0.5, "at_ns": NOW_NS}
    rows = [
        decision(1, **whole, cost_usd=0.01),
        decision(2, **whole | {"propensity": 1.0}, pinned=True),
        decision(3, **whole, reason="session"),
        decision(4, **whole, cell=None),
        decision(5, **whole, role="stranger", cell="stranger||"),
        decision(6, **whole, role="clerk", cell="clerk||"),
        decision(7, **whole, offered="mid/step,top/accept"),
    ]
    store.write([batch(rows)], now_ns=NOW_NS)
    found = recent_steps(store, terms(), limit=100)
    assert (found.count, found.others) == (7, 3)
    assert sorted((one.role, one.free) for one in found.steps) == [
        ("clerk", False), ("worker", False), ("worker", False), ("worker", True),
    ]  # fmt: skip
    free = next(one for one in found.steps if one.free)
    assert (str(free.arm), free.propensity, free.cost_usd, free.quality) == (
        "small/step", 0.5, 0.01, None,
    )  # fmt: skip
    assert recent_steps(store, terms(), limit=2).count == 2
    assert recent_steps(store, terms(), limit=9, since_ns=NOW_NS + 1).count == 0
    store.close()

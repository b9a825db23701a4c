"""Savings from a real store: what is summed, what stands aside, and what is said of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.intake import Signal
from collector.rows import Batch
from collector.savings_report import savings
from router.cli.app import run
from telemetry.records import Arm, OnFail
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.chains import SECOND, Try, chain
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS

TIERS = ("small", "mid", "frontier")
START = NOW_NS - 600 * SECOND


def role(name: str, tier: str = "mid", **more: Any) -> RoleTerms:
    return RoleTerms(
        role=name, mode=None, tiers=TIERS, declared=Arm(tier=tier, on_fail=OnFail.STEP),
        floor=None, learn="off", checked=True, pin=None, **more,
    )  # fmt: skip


TERMS = Terms(
    policy_hash="p1",
    ladder=TIERS,
    tiers={
        "small": TierTerms(models=("p/small",), usd_per_token=(1e-5, 1e-4, 1e-6)),
        "mid": TierTerms(models=("p/mid",), usd_per_token=(1e-4, 1e-3, 1e-5)),
        "frontier": TierTerms(models=("p/frontier",), usd_per_token=(1e-3, 1e-2, 1e-4)),
    },
    roles=(role("worker"), role("judge", overhead=True)),
)


def whole(*batches: Batch) -> Batch:
    """Return one batch; each decision's cost is that of its calls, its model the last one's."""
    made = Batch()
    for batch in batches:
        for decision in batch.decisions:
            costs = [call.cost_usd for call in batch.calls]
            decision.cost_usd = None if None in costs else sum(cost or 0.0 for cost in costs)
            decision.model = batch.calls[-1].model if batch.calls else None
        made.calls += batch.calls
        made.decisions += batch.decisions
        made.evaluations += batch.evaluations
    return made


def found(store: DuckDBStore, batch: Batch, terms: Terms | None = TERMS) -> dict[str, Any]:
    store.write([batch], now_ns=NOW_NS)
    while store.roll_up(NOW_NS):
        pass
    return savings(store, terms, now_ns=NOW_NS, window_seconds=3_600)


def test_all_attempts_are_spent_and_the_delivered_tokens_are_priced(store: DuckDBStore) -> None:
    answer = found(
        store,
        whole(
            chain(1, [Try(tier="small")], start_ns=START, on_fail="step"),
            chain(2, [Try(tier="small", failed=True), Try(tier="mid", tokens=(200, 20, 0))],
                  start_ns=START, on_fail="step"),
        ),
    )  # fmt: skip
    # Three attempts of 0.001; 300 tokens in and 30 out were delivered.
    frontier, declared = answer["against"]["frontier"], answer["against"]["declared"]
    assert frontier["actual_usd"] == pytest.approx(0.003)
    assert frontier["baseline_usd"] == pytest.approx(300e-3 + 30e-2)
    assert declared["baseline_usd"] == pytest.approx(300e-4 + 30e-3)
    assert declared["saved_usd"] == pytest.approx(0.057)
    assert frontier["tier"] == "frontier"
    assert declared["tier"] is None
    assert answer["tasks"]["tasks"] == 2
    assert answer["coverage"]["share"] == 1.0


def test_judges_and_shadow_runs_count_against_routing(store: DuckDBStore) -> None:
    shadow = chain(9, [Try(tier="frontier")], start_ns=START)
    (run_again,) = shadow.calls
    run_again.shadow_of, run_again.decision_id, run_again.counted = "d1", None, False
    answer = found(
        store,
        whole(
            chain(1, [Try(tier="small")], start_ns=START, on_fail="step"),
            chain(2, [Try(tier="small")], start_ns=START, role="judge", on_fail="step"),
            Batch(calls=shadow.calls),
        ),
    )
    assert answer["overhead"] == {"judging_usd": 0.001, "shadow_usd": 0.001, "roles": ["judge"]}
    assert answer["against"]["frontier"]["saved_usd"] == pytest.approx(0.2 - 0.003)
    assert answer["spent_usd"] == pytest.approx(0.003)
    assert (answer["coverage"]["steps"], answer["tasks"]["tasks"]) == (1, 1)
    board = store.query("SELECT sum(calls) FROM rollups", rows_max=1, seconds_max=5)
    assert board.rows == [(2,)]  # a shadow run is nobody's spend


def test_what_is_not_known_stands_on_neither_side(store: DuckDBStore) -> None:
    unpriced = chain(2, [Try(tier="small")], start_ns=START, on_fail="step")
    unpriced.calls[0].cost_usd = None
    gone = chain(4, [Try(tier="small")], start_ns=START, role="gone")
    answer = found(
        store,
        whole(
            chain(1, [Try(tier="small")], start_ns=START, on_fail="step"),
            unpriced,
            chain(3, [Try(tier="code")], start_ns=START, on_fail="step"),
            gone,
            chain(5, [Try(tier="small")], start_ns=START, dialect="embeddings"),
            chain(6, [Try(tier="small")], start_ns=START, reason="caller_pin"),
        ),
    )
    coverage = answer["coverage"]
    assert coverage == {
        "steps": 6, "counted": 1, "unknown": 1, "code": 1, "embeddings": 1, "caller_pinned": 1,
        "unpriced_baseline": 1, "share": 1 / 6,
    }  # fmt: skip
    assert answer["against"]["frontier"]["actual_usd"] == pytest.approx(0.001)


def test_a_change_of_model_within_a_conversation_loses_the_cache(store: DuckDBStore) -> None:
    first = chain(1, [Try(tier="small", tokens=(2_000, 0, 0))], start_ns=START, trace=7)
    second = chain(
        2, [Try(tier="frontier", tokens=(3_000, 0, 0))], start_ns=START + 60 * SECOND, trace=7
    )
    second.calls[0].cost_usd = 3.0
    late = chain(
        3, [Try(tier="small", tokens=(4_000, 0, 0))], start_ns=START + 500 * SECOND, trace=7
    )
    frontier = found(store, whole(first, second, late))["against"]["frontier"]
    # The second step would have found 2,000 tokens cached; the third came too late for any.
    assert frontier["lost_cache_usd"] == pytest.approx(2_000 * (1e-3 - 1e-4))
    assert frontier["baseline_usd"] == pytest.approx(
        2_000 * 1e-3 + (3.0 - 2_000 * 9e-4) + 4_000 * 1e-3
    )


def test_without_a_policy_nothing_is_compared(store: DuckDBStore) -> None:
    answer = found(store, whole(chain(1, [Try(tier="small")], start_ns=START)), terms=None)
    assert answer["against"] == {}
    assert answer["coverage"]["counted"] == 0


async def test_the_command_says_what_the_api_says(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=TERMS)
    batch = whole(*(chain(n, [Try(tier="small")], start_ns=START) for n in range(1, 5)))
    await running.intake._commit(Signal.TRACES, batch)
    told = await running.settled("/api/savings", lambda found: found["coverage"]["counted"] == 4)
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    assert await asyncio.to_thread(run, ["savings", *where, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["against"] == told["against"]
    assert await asyncio.to_thread(run, ["savings", *where]) == 0
    text = capsys.readouterr().out
    assert "against uniform frontier" in text
    assert "the same tokens" in text
    assert await asyncio.to_thread(run, ["savings", *where, "--since", "soon"]) == 2
    assert "--since" in capsys.readouterr().err

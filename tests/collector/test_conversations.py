"""How steps hang together, counted by hand, and what the learner makes of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector.conversations import conversations
from collector.duckdb_store import DuckDBStore
from collector.evidence import Archive, Evidence, Scope
from collector.evidence_queries import AGES
from collector.learner_state import Carried
from collector.rolling import BY_MINUTE_NS
from collector.rollup_queries import NS
from collector.rows import Batch
from telemetry.terms import TierTerms
from tests.collector.chains import SECOND, Try, chain
from tests.collector.teaching import World, role, role_terms, terms
from tests.collector.test_evidence import NOW, PREFIXES, TERMS, VERSIONS
from tests.collector.test_learning_queries import START, kept

MINUTE = 60 * SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=START)
    yield made
    made.close()


def step(number: int, tier: str, *, at: int, talk: str, cached: int = 0, **more: Any) -> Batch:
    tries = [Try(tier=tier, tokens=(1_000, 10, cached))]
    return chain(number, tries, start_ns=START + at, task=talk, **more)


def counted(store: DuckDBStore) -> dict[tuple[str, str], tuple[int, int]]:
    rows = store.read("SELECT * FROM learning_talks")
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        steps, tokens = found.get((row["before"], row["start"]), (0, 0))
        key = row["before"], row["start"]
        found[key] = steps + row["steps"], tokens + row["tokens_cached"]
    return found


def test_steps_are_counted_by_where_their_conversation_stood(store: DuckDBStore) -> None:
    kept(
        store,
        step(1, "small", at=0, talk="a", cached=50),
        step(2, "small", at=MINUTE, talk="a", cached=400),
        step(3, "frontier", at=2 * MINUTE, talk="a", cached=60),
        step(4, "frontier", at=2 * MINUTE, talk="a", role="critic"),  # another role's prefix
        step(5, "frontier", at=9 * MINUTE, talk="a"),  # nobody keeps a prefix so long
        step(6, "frontier", at=9 * MINUTE, talk="b"),
        step(7, "small", at=10 * MINUTE, talk="b", reason="budget"),  # teaches nothing
        step(8, "small", at=11 * MINUTE, talk="b"),  # but it did move the conversation
    )
    assert counted(store) == {
        ("", "small"): (1, 50),
        ("small", "small"): (2, 400),
        ("small", "frontier"): (1, 60),
        ("", "frontier"): (3, 0),
    }


def test_a_step_that_came_late_is_told_to_the_minutes_after_it(store: DuckDBStore) -> None:
    kept(store, step(2, "small", at=3 * MINUTE, talk="a"))
    assert counted(store) == {("", "small"): (1, 0)}
    kept(store, step(1, "frontier", at=0, talk="a"))
    assert counted(store) == {("", "frontier"): (1, 0), ("frontier", "small"): (1, 0)}


def test_counts_by_the_hour_are_those_by_the_minute(store: DuckDBStore) -> None:
    steps = [step(n, "small", at=n * 50 * SECOND, talk=f"{n // 9}", cached=n) for n in range(200)]
    kept(store, *steps[:-1])
    before = counted(store)
    later = START + BY_MINUTE_NS + 4 * 3_600 * SECOND
    store.prune(later)
    assert len(store.read("SELECT DISTINCT minute FROM learning_talks")) == 3
    assert counted(store) == before
    kept(store, steps[-1], at=later)  # into an hour that is kept as one
    assert counted(store)["small", "small"][0] == before["small", "small"][0] + 1


ROWS: list[dict[str, Any]] = [
    {"cell": "w||plain", "epoch": 0, "start": "small", "before": "", "steps": 20.0,
     "tokens_cached": 20 * 100.0},
    {"cell": "w||plain", "epoch": 0, "start": "small", "before": "small", "steps": 60.0,
     "tokens_cached": 60 * 900.0},
    {"cell": "w||plain", "epoch": 0, "start": "frontier", "before": "small", "steps": 20.0,
     "tokens_cached": 0.0},
    {"cell": "w||tools", "epoch": 0, "start": "small", "before": "", "steps": 20.0,
     "tokens_cached": 0.0},
]  # fmt: skip


def test_figures_by_hand() -> None:
    cells = ("w||plain", "w||")
    found = conversations(ROWS, cells=cells, fallback="w||")
    assert found is not None
    # Of 100 steps 80 go on and 20 begin; all of the 80 stood at small.
    assert found.continues.tolist() == pytest.approx([0.8, 80 / 120])  # thin: the whole scope's
    assert found.left.tolist() == pytest.approx([100 / 20, 120 / 40])
    assert found.stands["small"].tolist() == [1.0, 1.0]
    # Who stayed read 900 tokens from the cache, who began 100: 2,000 in 20 or, of both, 40 steps.
    assert found.warm["small"].tolist() == pytest.approx([800.0, 850.0])
    assert found.warm["frontier"].tolist() == pytest.approx([800.0, 850.0])  # nobody stayed there


def test_what_is_older_counts_less_and_few_steps_say_nothing() -> None:
    new = [{**row, "epoch": 60, "start": "frontier", "before": "frontier"} for row in ROWS[1:2]]
    found = conversations([*ROWS, *new], cells=("w||",), fallback="w||")
    assert found is not None
    aged = 80 * 2 ** (-60 / 2_000)
    assert found.stands["small"][0] == pytest.approx(aged / (aged + 60))
    thin = [{**row, "steps": row["steps"] / 2} for row in ROWS]
    assert conversations(thin, cells=("w||",), fallback="w||") is None
    assert conversations([], cells=("w||",), fallback="w||") is None


def test_evidence_brings_the_figures_of_its_own_scope(store: DuckDBStore) -> None:
    steps = [step(n, "small", at=n * SECOND, talk=f"{n // 5}", cached=40) for n in range(100)]
    others = [step(n, "small", at=n * SECOND, talk=f"{n}", role="critic") for n in range(100, 200)]
    kept(store, *steps, *others)
    worker = _of(store, "worker").conversations
    assert worker is not None
    assert worker.continues.tolist() == pytest.approx([0.8, 0.8])  # worker||plain and worker||
    assert worker.left.tolist() == pytest.approx([2.5, 2.5])  # (4 + 3 + 2 + 1) / 4 of all fives
    assert worker.warm["small"].tolist() == pytest.approx([0.0, 0.0])  # the first read it as well
    assert _of(store, "critic").conversations is None


def test_what_is_left_is_what_came_before_by_hand() -> None:
    cells = ("w||plain", "w||")
    ages: list[dict[str, Any]] = [
        {"cell": "w||plain", "steps": 80.0, "ages": 160.0},
        {"cell": "w||tools", "steps": 40.0, "ages": 200.0},
    ]
    found = conversations(ROWS, cells=cells, fallback="w||", ages=ages)
    assert found is not None
    assert found.left.tolist() == pytest.approx([2.0, 360 / 120])  # thin: the whole scope's
    few = [{**row, "steps": row["steps"] / 4} for row in ages]
    plain = conversations(ROWS, cells=cells, fallback="w||", ages=few)
    assert plain is not None
    assert plain.left.tolist() == pytest.approx([5.0, 3.0])  # steps / first steps


def test_steps_before_are_counted_within_conversations_in_any_order(store: DuckDBStore) -> None:
    """Three steps, a pause of ten minutes, two steps; and a critic's two of the same talk."""
    made = [step(n, "small", at=n * MINUTE, talk="a") for n in (0, 1, 2, 12, 13)]
    made += [step(n, "small", at=n * MINUTE, talk="a", role="critic") for n in (20, 21)]
    made += [step(30, "small", at=13 * MINUTE + SECOND, talk="a", reason="budget")]
    kept(store, *reversed(made))
    rows = _ages(store)
    assert rows == {"worker||plain": (3.0, 1.0 + 2.0 + 1.0), "critic||plain": (1.0, 1.0)}


def test_conversations_that_began_before_the_last_steps_are_left_out(store: DuckDBStore) -> None:
    made = [step(n, "small", at=n * MINUTE, talk="a") for n in range(1, 5)]
    made += [step(n, "small", at=(n - 5) * MINUTE, talk="b") for n in range(9, 12)]
    kept(store, *made)
    # Minute 4 has the end of a and the first step of b: the last three steps begin with it.
    assert _ages(store, steps=3) == {"worker||plain": (2.0, 1.0 + 2.0)}
    assert _ages(store) == {"worker||plain": (5.0, 1.0 + 2.0 + 3.0 + 1.0 + 2.0)}
    assert _ages(store, steps=0) == {}


def _ages(store: DuckDBStore, *, steps: int = 10_000) -> dict[str, tuple[float, float]]:
    rows = store.read(AGES, {"recent": START // NS, "until": NOW // NS, "steps": steps})
    return {row["cell"]: (row["steps"], row["ages"]) for row in rows}


def _of(store: DuckDBStore, name: str) -> Evidence:
    archive = Archive(store, terms=TERMS, now_ns=NOW)
    return archive.of(
        Scope(role=name, mode=None), prefixes=PREFIXES, carried=Carried(versions=VERSIONS)
    )


CACHING = {  # frontier costs 0.0065 a step of 20,000 cached tokens, small 0.0057
    "small": TierTerms(models=("p/small",), usd_per_token=(2.6e-6, 4e-6, 2.7e-7)),
    "frontier": TierTerms(models=("p/frontier",), usd_per_token=(3e-6, 15e-6, 3e-7)),
}


@pytest.mark.parametrize(("talk", "moves"), [(1, True), (5, False)])
def test_a_gain_below_the_cache_that_a_move_loses_moves_nothing(
    tmp_path: Path, talk: int, moves: bool
) -> None:
    """Small saves a tenth of a step that reads its prefix from the cache.

    A change reads 20,000 tokens at 2.6e-6 in place of 2.7e-7: 0.0466 USD, in 0.8 of the steps, over
    2.5 steps: 0.015 USD a step, more than all that small can save.
    """
    policy = terms(role_terms("good"), step_max=1.0, dwell_seconds=0.0)
    world = World(
        tmp_path, replace(policy, tiers=CACHING),
        {("good", "small"): 0.97, ("good", "frontier"): 0.97}, talk=talk, cached=20_000,
    )  # fmt: skip
    try:
        reports = world.run(["good"], ticks=4, count=400)
    finally:
        world.close()
    found = role(reports[-1], "good")
    small = next(arm for arm in found["arms"] if arm["arm"] == "small/accept")
    frontier = next(arm for arm in found["arms"] if arm["arm"] == "frontier/accept")
    assert small["cost_usd"] < frontier["cost_usd"]  # what it costs once it is there
    if moves:
        assert found["conversations"] is None
        assert world_small(found) > 0.5
    else:
        assert found["conversations"]["continues"] == pytest.approx(0.8)
        assert found["conversations"]["steps_left"] == pytest.approx(2.5, abs=0.01)
        assert small["switching_usd"] == pytest.approx(0.8 * 0.0466 / 2.5, rel=0.02)
        assert small["switching_usd"] > frontier["cost_usd"] - small["cost_usd"]
        assert world_small(found) < 0.02


def world_small(found: dict[str, Any]) -> float:
    """The share of a role's steps that start at small now."""
    return sum(float(arm["share_now"]) for arm in found["arms"] if arm["arm"].startswith("small"))


def test_minutes_of_the_hour_edge_are_found_again(store: DuckDBStore) -> None:
    """A step just before the hour that is kept whole goes on in the first minute after it."""
    later = (START + BY_MINUTE_NS) // (60 * NS) * 60 * NS
    kept(store, step(1, "small", at=0, talk="a"), at=later)
    store.prune(START + BY_MINUTE_NS)
    kept(store, step(2, "small", at=2 * MINUTE, talk="a"), at=later)
    kept(store, step(3, "small", at=-2 * MINUTE, talk="a"), at=later)
    assert counted(store) == {("", "small"): (1, 0), ("small", "small"): (2, 0)}

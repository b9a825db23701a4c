"""Evidence as the learner reads it: by role, by version, by hour; two stores add up to one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collector.duckdb_store import DuckDBStore
from collector.evidence import Archive, Evidence, Scope, next_block, outcomes, scope_of
from collector.learner_state import Carried
from collector.role_cases import case_of
from collector.rollup_queries import NS
from collector.rows import Batch
from learning.measure import attempt_costs
from learning.rolewise import role_arms
from learning.tally import Stat
from telemetry.terms import Terms
from tests.collector.chains import SECOND, Try, chain, word
from tests.collector.teaching import TIERS, role_terms, terms
from tests.collector.test_learning_queries import START, kept, many

ROLE = role_terms("worker")
TERMS = terms(ROLE, role_terms("critic"), role_terms("worker", mode="debate", floor=0.9))
PREFIXES = role_arms(TIERS, declared=ROLE.declared, checked=True).prefixes
NOW = START + 3 * 3_600 * SECOND
VERSIONS = {tier: f"p/{tier}@{tier}-1" for tier in TIERS}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=START)
    yield made
    made.close()


def of(
    store: DuckDBStore, *, role: str = "worker", splits: tuple[int, ...] = (), policy: Terms = TERMS
) -> Evidence:
    archive = Archive(store, terms=policy, now_ns=NOW, splits=splits)
    return archive.of(
        Scope(role=role, mode=None), prefixes=PREFIXES, carried=Carried(versions=VERSIONS)
    )


def test_a_tally_holds_what_was_done_by_hand(store: DuckDBStore) -> None:
    flagged = Try(tier="small", failed=True, tokens=(100, 10, 60))
    top = Try(tier="frontier", tokens=(200, 40, 50), seconds=2.0)
    rows = [chain(n, [flagged, top], start_ns=START + n * SECOND) for n in range(1, 51)]
    rows += [chain(99, [Try(tier="small")], start_ns=START, cell="worker||tools")]
    kept(store, *rows, word(1, 0.5, at=START), word(99, 1.0, at=START))
    found = of(store)
    assert found.all.cells == ("worker||plain", "worker||")  # 50 steps are a cell, one is not
    [sums] = found.all.epochs.values()
    small, both = PREFIXES.index(("small",)), PREFIXES.index(("small", "frontier"))
    wanted = np.zeros((2, len(PREFIXES), len(Stat)))
    wanted[0, small, [Stat.ATTEMPTS, Stat.FLAGGED]] = 50
    wanted[0, small, Stat.TOKENS_IN :] = (50 * 100, 50 * 10, 50 * 60, 50.0, 0)
    wanted[0, both, Stat.ATTEMPTS] = 50
    wanted[0, both, Stat.TOKENS_IN :] = (50 * 200, 50 * 40, 50 * 50, 100.0, 0)
    wanted[0, both, Stat.PASSED_W : Stat.PASSED_WQQ + 1] = (1, 1, 0.5, 0.25)
    wanted[1, small, Stat.ATTEMPTS] = 1
    wanted[1, small, Stat.TOKENS_IN :] = (100, 10, 0, 1.0, 0)
    wanted[1, small, Stat.PASSED_W : Stat.PASSED_WQQ + 1] = 1
    assert sums == pytest.approx(wanted)
    assert found.usage["frontier"] == pytest.approx([200, 40, 50])


def test_a_cached_prefix_is_priced_once_from_the_store_to_the_cost_of_an_attempt(
    store: DuckDBStore,
) -> None:
    tries = [Try(tier="frontier", tokens=(10_000, 500, 8_000))]
    kept(store, *(chain(n, tries, start_ns=START + n * SECOND) for n in range(1, 101)))
    found = of(store)
    case = case_of(ROLE, TERMS, carried=Carried(versions=VERSIONS), usage=found.usage)
    recent = found.all.total(half_life=1e12, since={})
    costs = attempt_costs(case.arms, recent=recent, price=case.price, typical=case.typical)
    # 2,000 x 3e-6 + 8,000 x 3e-7 + 500 x 15e-6
    assert costs[0, PREFIXES.index(("frontier",))] == pytest.approx(0.0159)


def test_two_stores_evidence_adds_up_to_that_of_one(tmp_path: Path) -> None:
    # Without tasks' words: whose steps lie in two stores, neither knows all of.
    rows = [batch for batch in many(5, count=300) if _number(batch) >= 0]
    stores = []
    for name, mine in (
        ("whole", rows),
        ("even", [batch for batch in rows if _number(batch) % 2 == 0]),
        ("odd", [batch for batch in rows if _number(batch) % 2 == 1]),
    ):
        made = DuckDBStore(tmp_path / f"{name}.duckdb", now_ns=START)
        stores.append(kept(made, *mine, at=NOW))
    known, even, odd = (of(store, role="critic").all for store in stores)
    both = even + odd
    assert both.cells == known.cells == ("critic||plain", "critic||")
    assert sorted(both.epochs) == sorted(known.epochs)
    for epoch, sums in known.epochs.items():
        assert both.epochs[epoch] == pytest.approx(sums, abs=1e-9)
    for each in stores:
        each.close()


def _number(batch: Batch) -> int:
    """The decision that a batch is of or speaks of; -1 for a task's word."""
    if batch.decisions:
        return int(batch.decisions[0].decision_id[1:])
    named = batch.evaluations[0].decision_id
    return -1 if named is None else int(named[1:])


def test_an_alarm_splits_the_hour_in_which_it_rose(store: DuckDBStore) -> None:
    small = [Try(tier="small")]
    rows = [chain(n, small, start_ns=START + n * 60 * SECOND) for n in range(10)]
    kept(store, *rows)
    minute = START // NS + 4
    epochs = of(store, splits=(minute,)).all.epochs
    assert {number: sums[:, :, Stat.ATTEMPTS].sum() for number, sums in epochs.items()} == {
        START // NS: 4.0,
        minute: 6.0,
    }


def test_another_version_takes_over_once_it_answers_most(store: DuckDBStore) -> None:
    old = [chain(n, [Try(tier="small")], start_ns=START + n * SECOND) for n in range(60)]
    kept(store, *old)

    def versions() -> dict[str, str]:
        archive = Archive(store, terms=TERMS, now_ns=NOW)
        return archive.versions("worker", {"small": "p/small@small-1"})

    def newer(first: int, count: int, minute: int) -> None:
        made = [Try(tier="small", served="small-2")]
        at = START + minute * 60 * SECOND
        kept(store, *(chain(n, made, start_ns=at) for n in range(first, first + count)))

    newer(100, 35, 5)
    assert versions() == {"small": "p/small@small-1"}  # 35 of the last 95, the minute whole
    newer(200, 16, 6)
    assert versions() == {"small": "p/small@small-2"}


def test_outcomes_come_once_whatever_arrives_first(store: DuckDBStore) -> None:
    first = kept(store, chain(1, [Try(tier="small")], start_ns=START), at=NOW)
    seen = outcomes(first, after_ns=0, until_ns=NOW, terms=TERMS)
    assert [(each.sighting.fresh, each.sighting.label) for each in seen] == [(True, None)]
    kept(store, word(1, 0.25, at=START), at=NOW + 60 * SECOND)
    late = outcomes(store, after_ns=NOW, until_ns=NOW + 60 * SECOND, terms=TERMS)
    assert [(each.sighting.fresh, each.sighting.label) for each in late] == [(False, 0.25)]
    assert late[0].version == "p/small@small-1"
    kept(store, word(1, 0.75, at=START, source="feedback:again"), at=NOW + 120 * SECOND)
    again = outcomes(store, after_ns=NOW + 60 * SECOND, until_ns=NOW + 120 * SECOND, terms=TERMS)
    assert again == []  # the same answer's second word is no second outcome
    assert next_block(store, after_ns=NOW + 120 * SECOND, until_ns=NOW + 999 * SECOND) is None


@pytest.mark.parametrize(
    ("cell", "scope"),
    [
        ("worker||plain", "worker||"),
        ("worker|solo|plain", "worker||"),
        ("worker|debate|plain", "worker|debate|"),
        ("worker|de|bate|plain", "worker||"),  # callers may write what they like
        ("gone||", "gone||"),
    ],
)
def test_a_cell_is_learned_where_its_terms_hold(cell: str, scope: str) -> None:
    assert str(scope_of(cell, TERMS)) == scope

"""What judges that steps wait for cost: from decisions to the cost of an arm, by hand."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector.duckdb_store import DuckDBStore
from collector.evidence import Archive, Evidence, Scope
from collector.learner_state import Carried
from collector.role_cases import case_of
from collector.rolling import BY_MINUTE_NS, DAY_NS
from collector.rollup_queries import NS
from collector.rows import Batch
from collector.store import Rows
from learning.measure import attempt_costs
from learning.rolewise import Standing, aim
from learning.tally import Floats, Stat
from learning.watch import Change
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.chains import SECOND, Try, chain, task_word, word
from tests.collector.teaching import role_terms, terms
from tests.collector.test_evidence import NOW, PREFIXES, TERMS, VERSIONS, store
from tests.collector.test_learning_queries import START, kept, labels, torn

__all__ = ["store"]  # the fixture

SMALL, FLAGGED = Try(tier="small"), Try(tier="small", failed=True)
TOP = Try(tier="frontier", tokens=(200, 40, 50), seconds=2.0)
VERDICT = Try(tier="frontier", tokens=(1_000, 20, 400), seconds=0.25)
# 600 x 3e-6 + 20 x 15e-6 + 400 x 3e-7
VERDICT_USD = 0.0018 + 0.0003 + 0.00012
JUDGES = 100_000  # their decisions' numbers lie above


def verdict(
    judged: int, *, at: int, tries: list[Try] | None = None, place: int = 0, **fields: Any
) -> Batch:
    """Return a judge's decision within decision ``judged``, or within its attempt ``place``."""
    values: dict[str, Any] = {
        "role": "judge",
        "trace": judged,
        "parent_id": f"{judged * 16 + place:016x}",
    }
    number = JUDGES + judged * 4 + at // SECOND % 4
    return chain(number, tries or [VERDICT], start_ns=at, **values | fields)


def within(judged: int) -> dict[str, Any]:
    """The parent of a judge's decision within decision ``judged``."""
    return {"parent_id": f"{judged * 16:016x}"}


def sums(store: DuckDBStore) -> Rows:
    return store.read("SELECT * FROM learning_verdicts ORDER BY ALL")


def of(
    store: DuckDBStore, *, policy: Terms = TERMS, now_ns: int = NOW, carried: Carried | None = None
) -> Evidence:
    found = carried or Carried(versions=VERSIONS)
    archive = Archive(store, terms=policy, now_ns=now_ns, splits=found.since.values())
    return archive.of(Scope(role="worker", mode=None), prefixes=PREFIXES, carried=found)


def costs(store: DuckDBStore, *, policy: Terms = TERMS) -> dict[tuple[str, ...], float]:
    """The expected USD of an attempt of `worker` after each prefix."""
    found = of(store, policy=policy)
    declared = policy.of("worker")
    assert declared is not None
    case = case_of(declared, policy, carried=Carried(versions=VERSIONS), usage=found.usage)
    recent = found.all.total(half_life=1e12, since={})
    every = attempt_costs(case.arms, recent=recent, price=case.price, typical=case.typical)
    return dict(zip(PREFIXES, every[0].tolist(), strict=True))


def test_a_verdict_is_booked_with_the_attempt_that_waited_for_it(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [FLAGGED, TOP], start_ns=START),
        verdict(1, at=START + SECOND // 2),
        verdict(1, at=START + 2 * SECOND, tries=[FLAGGED, VERDICT]),
    )
    found = sums(store)
    first = {"minute": START // NS, "cell": "worker||plain"}
    alone = first | {"path": "small", "served": "p/small@small-1"}
    after = first | {"path": "small>frontier", "served": "p/small@small-1>p/frontier@frontier-1"}
    used = {"tokens_in": 1_000, "tokens_out": 20, "tokens_cached": 400, "cost_usd": 0.001}
    cheap = {"tokens_in": 100, "tokens_out": 10, "tokens_cached": 0, "cost_usd": 0.001}
    assert found == [
        alone | {"tier": "frontier"} | used,
        after | {"tier": "frontier"} | used,
        after | {"tier": "small"} | cheap,
    ]


@pytest.mark.parametrize(
    ("at", "fields"),
    [
        (SECOND // 2, {"parent_id": None, "trace": 9}),  # a grader: nobody waited
        (3 * SECOND, {}),  # a step that came afterwards
        (SECOND // 2, {"role": "worker"}),  # no judge judges its own role
        (SECOND // 2, {"place": 1}),  # another gateway, which the attempt asked
        (SECOND // 2, {"trace": 9}),
    ],
)
def test_what_no_step_waited_for_is_nobodys_cost(
    store: DuckDBStore, at: int, fields: dict[str, Any]
) -> None:
    kept(store, chain(1, [SMALL], start_ns=START), verdict(1, at=START + at, **fields))
    assert sums(store) == []


def test_a_verdict_finds_its_attempt_whatever_arrives_first(tmp_path: Path) -> None:
    edge = START + 60 * SECOND - SECOND // 2  # the verdict falls into the next minute
    batches = [
        chain(1, [Try(tier="small", seconds=3.0)], start_ns=edge),
        verdict(1, at=edge + SECOND),
        chain(2, [FLAGGED, TOP], start_ns=START),
        verdict(2, at=START + SECOND // 4),
        verdict(2, at=START + 2 * SECOND),
    ]
    whole = DuckDBStore(tmp_path / "whole.duckdb", now_ns=START)
    known = sums(kept(whole, *batches))
    assert sum(row["tokens_in"] for row in known) == 3_000
    for seed in range(2):
        made = DuckDBStore(tmp_path / f"{seed}.duckdb", now_ns=START)
        rows = [piece for batch in batches for piece in torn(batch)]
        random.Random(seed).shuffle(rows)
        rows += rows[:4]  # some come twice
        for place in range(0, len(rows), 3):
            kept(made, *rows[place : place + 3], at=START + (3_600 + place) * SECOND)
        assert sums(made) == known
        made.close()
    whole.close()


def test_a_verdict_is_no_step_of_the_task(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START, trace=7),
        chain(2, [SMALL], start_ns=START + 9 * SECOND, trace=7),
        verdict(1, at=START + SECOND // 2, trace=7),
        task_word(7, 1.0, at=START + 20 * SECOND),
    )
    [row] = labels(store)
    assert (row["labels"], row["shared"], row["w"]) == (2, 2, 1.0)  # one half each


def test_the_dollars_of_verdicts_are_part_of_an_attempts_cost_by_hand(store: DuckDBStore) -> None:
    steps = [chain(n, [FLAGGED, TOP], start_ns=START + 4 * n * SECOND) for n in range(1, 101)]
    asked = [START + 4 * n * SECOND for n in range(1, 101)]
    first = [verdict(n, at=at + SECOND // 2) for n, at in enumerate(asked, start=1)]
    second = [verdict(n, at=at + 2 * SECOND) for n, at in enumerate(asked[:50], start=1)]
    kept(store, *steps, *first, *second)
    found = costs(store)
    small, top = 100 * 1e-7 + 10 * 4e-7, 150 * 3e-6 + 40 * 15e-6 + 50 * 3e-7
    # Each of 100 first answers was judged and 50 of 100 second ones: 150 verdicts, 200 attempts.
    # A cell's mean leans on the role's with 4 attempts, and that on the usual 0.75 with 4 more.
    once, half = (100 + 4 * (100 + 3) / 104) / 104, (50 + 4 * (50 + 3) / 104) / 104
    assert found["small",] == pytest.approx(small + once * VERDICT_USD, rel=1e-9)
    assert found["small", "frontier"] == pytest.approx(top + half * VERDICT_USD, rel=1e-9)
    # Of a start that was never tried the same is expected.
    assert found["frontier",] == pytest.approx(top + 0.75 * VERDICT_USD, rel=1e-9)


def test_a_price_change_counts_without_learning_and_a_tier_without_price_as_recorded(
    store: DuckDBStore,
) -> None:
    kept(store, chain(1, [SMALL], start_ns=START), verdict(1, at=START + SECOND // 2))

    def usd(policy: Terms) -> float:
        [epoch] = of(store, policy=policy).all.epochs.values()
        return float(epoch[:, :, Stat.VERDICTS_USD].sum())

    assert usd(TERMS) == pytest.approx(VERDICT_USD)
    for price, wanted in (((6e-6, 30e-6, 6e-7), 2 * VERDICT_USD), (None, 0.001)):
        assert usd(priced(role_terms("worker"), frontier=price)) == pytest.approx(wanted)


def test_two_stores_verdicts_add_up_to_those_of_one(tmp_path: Path) -> None:
    parts: dict[str, list[Batch]] = {"even": [], "odd": []}
    for number in range(1, 21):
        at = START + number * 200 * SECOND
        mine = parts["odd" if number % 2 else "even"]
        mine.append(chain(number, [FLAGGED, TOP] if number % 3 else [SMALL], start_ns=at))
        mine.append(verdict(number, at=at + SECOND // 4))
    found = {}
    for name, rows in (parts | {"whole": parts["even"] + parts["odd"]}).items():
        made = DuckDBStore(tmp_path / f"{name}.duckdb", now_ns=START)
        found[name] = of(kept(made, *rows, at=NOW)).all
        made.close()
    both = found["even"] + found["odd"]
    assert sum(float(e[..., Stat.VERDICTS_USD].sum()) for e in both.epochs.values()) == (
        pytest.approx(20 * VERDICT_USD)
    )
    for epoch, known in found["whole"].epochs.items():
        assert both.epochs[epoch] == pytest.approx(known, abs=1e-9)


def test_hours_hold_what_their_minutes_held(store: DuckDBStore) -> None:
    for number in range(1, 8):
        at = START + number * 600 * SECOND
        kept(store, chain(number, [SMALL], start_ns=at), verdict(number, at=at + SECOND // 4))
    added = "SELECT path, tier, sum(tokens_in) AS i, sum(cost_usd) AS usd FROM learning_verdicts"
    before = store.read(f"{added} GROUP BY ALL")
    store.prune(START + BY_MINUTE_NS + DAY_NS)
    assert store.read(f"{added} GROUP BY ALL") == before
    assert [row["minute"] % 60 for row in sums(store)] == [0, 0]
    # What comes late has its hour summed again.
    late = START + BY_MINUTE_NS + DAY_NS + SECOND
    kept(store, verdict(8, at=START + 600 * SECOND + SECOND // 2, trace=1, **within(1)), at=late)
    assert sum(row["tokens_in"] for row in sums(store)) == 8_000


def test_verdicts_after_an_alarm_count_with_their_attempts(store: DuckDBStore) -> None:
    steps = [chain(n + 1, [SMALL], start_ns=START + n * SECOND) for n in range(60)]
    asked = [verdict(n + 1, at=START + n * SECOND + SECOND // 4) for n in range(60)]
    kept(store, *steps, *asked)
    alarm = Carried(versions=VERSIONS).alarmed("small", Change.WORSE, at_ns=START + 29 * SECOND)
    found = of(store, carried=alarm, now_ns=START + 60 * SECOND).trusted

    def counted(since: dict[str, int]) -> Floats:
        return np.asarray(found.total(half_life=1e12, since=since).sum(axis=(0, 1)))

    after, all_of_it = counted(dict(alarm.since)), counted({})
    assert after[Stat.ATTEMPTS] == 30
    assert after[Stat.VERDICTS_USD] == pytest.approx(30 * VERDICT_USD)
    assert all_of_it[Stat.ATTEMPTS] == pytest.approx(60)
    assert all_of_it[Stat.VERDICTS_USD] == pytest.approx(60 * VERDICT_USD)


def judged_steps(*, judged: bool) -> list[Batch]:
    """600 steps: a third each at small, at small and then the frontier, and at the frontier.

    Small fails two of five that it is asked, and all it delivers otherwise is right.
    """
    found = []
    for number in range(1, 601):
        at = START + number * 5 * SECOND
        tries = [TOP] if number % 3 == 0 else [FLAGGED, TOP] if number % 5 < 2 else [SMALL]
        found += [chain(number, tries, start_ns=at), word(number, 1.0, at=at)]
        if judged:
            starts = [at + SECOND // 4, at + SECOND + SECOND // 2][: len(tries)]
            found += [verdict(number, at=each) for each in starts]
    return found


@pytest.mark.parametrize(
    ("judged", "arm", "other"),
    [(False, "small/step", "frontier/accept"), (True, "frontier/accept", "small/step")],
)
def test_a_cheap_tier_behind_a_dear_judge_is_not_cheap(
    store: DuckDBStore, judged: bool, arm: str, other: str
) -> None:
    """Where two answers in five have to be judged twice, the dearer tier at once is cheaper.

    An attempt costs 0.000400 at small, 0.001065 at the frontier, and a verdict 0.002220. From small
    a step costs 0.0004 + 0.4 x 0.001065 = 0.000826 and 1.4 verdicts, at the frontier one verdict.
    """
    role = role_terms("worker", floor=0.95)
    policy = priced(role, small=(4e-6, 0.0, 4e-6))
    found = of(kept(store, *judged_steps(judged=judged)), policy=policy)
    case = case_of(role, policy, carried=Carried(versions=VERSIONS), usage=found.usage)
    aimed = aim(found.trusted, case)
    assert aimed.standing is Standing.PROVEN
    shares = dict(zip(map(str, case.arms.arms), aimed.shares[0].tolist(), strict=True))
    assert shares[arm] > 0.75
    assert shares[other] < 0.05
    step = list(shares).index("small/step")
    top = list(shares).index("frontier/accept")
    small, over = aimed.running_usd[0, [step, top]].tolist()
    extra = VERDICT_USD if judged else 0.0
    assert small == pytest.approx(0.0004 + extra + 0.4 * (0.001065 + extra), rel=0.03)
    assert over == pytest.approx(0.001065 + extra, rel=0.01)


def priced(role: RoleTerms, **tiers: tuple[float, float, float] | None) -> Terms:
    """The policy of one role with other prices, USD per input, output and cached token."""
    made = terms(role)
    changed = {
        tier: TierTerms(models=(f"p/{tier}",), usd_per_token=price) for tier, price in tiers.items()
    }
    return Terms(
        policy_hash="p2", ladder=made.ladder, roles=made.roles, tiers={**made.tiers, **changed}
    )

"""The minute in which an alarm rose: what was decided after the alarm counts at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collector.duckdb_store import DuckDBStore
from collector.evidence import REST_MINUTES, Archive, Evidence, Scope
from collector.learner_state import Carried
from collector.learning_queries import OPEN_WORDS_PER_MINUTE
from collector.rollup_queries import NS
from learning.tally import Floats, Stat
from learning.watch import Change
from tests.collector.chains import SECOND, Try, chain, word
from tests.collector.teaching import World, role, role_terms, terms
from tests.collector.test_evidence import PREFIXES, TERMS, VERSIONS
from tests.collector.test_learning_queries import START, kept

SMALL, FLAGGED, TOP = Try(tier="small"), Try(tier="small", failed=True), Try(tier="frontier")
MINUTE = START // NS
LABELS = [Stat.PASSED_W, Stat.FAILED_W]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    """Sixty steps in one minute, one a second: twenty of each chain, in turn, all labelled."""
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=START)
    chains = ([SMALL], [FLAGGED, TOP], [TOP])
    steps = [chain(n, chains[n % 3], start_ns=START + n * SECOND) for n in range(60)]
    words = [word(n, n / 60, at=START + n * SECOND) for n in range(60)]
    yield kept(made, *steps, *words)
    made.close()


def of(
    store: DuckDBStore, carried: Carried, *, minutes: int = 1, until_minute: int | None = None
) -> Evidence:
    archive = Archive(
        store, terms=TERMS, now_ns=START + minutes * 60 * SECOND,
        splits=carried.since.values(), until_minute=until_minute,
    )  # fmt: skip
    return archive.of(Scope(role="worker", mode=None), prefixes=PREFIXES, carried=carried)


def alarmed(**seconds: int) -> Carried:
    """What is carried after alarms of tiers so many seconds into the minute."""
    found = Carried(versions=VERSIONS)
    for tier, at in seconds.items():
        found = found.alarmed(tier, Change.WORSE, at_ns=START + at * SECOND)
    return found


def counted(found: Evidence, carried: Carried) -> Floats:
    """What counts of each prefix."""
    total = found.trusted.total(half_life=1e12, since=carried.since).sum(axis=0)
    return np.asarray(total)


def test_what_was_decided_after_an_alarm_counts_by_hand(store: DuckDBStore) -> None:
    carried = alarmed(small=29)
    found = of(store, carried)
    total = counted(found, carried)
    # After second 29: 30 ... 59, ten of each chain. Small begins two of the three.
    small, both, top = (PREFIXES.index(p) for p in (("small",), ("small", "frontier"),
                                                    ("frontier",)))  # fmt: skip
    assert total[small, [Stat.ATTEMPTS, Stat.FLAGGED]].tolist() == [20, 10]
    assert total[small, [Stat.PASSED_W, Stat.PASSED_WQ]] == pytest.approx(
        [10, sum(range(30, 60, 3)) / 60]
    )
    assert total[both, [Stat.ATTEMPTS, Stat.PASSED_W]].tolist() == [10, 10]
    assert total[small, Stat.TOKENS_IN] == 20 * 100
    # The other tier had no alarm: all of the minute counts.
    assert total[top, [Stat.ATTEMPTS, Stat.PASSED_W]].tolist() == [20, 20]


def test_nothing_is_counted_twice(store: DuckDBStore) -> None:
    without, split = of(store, Carried(versions=VERSIONS)), of(store, alarmed(small=29))
    both = [sum(found.trusted.epochs.values()) for found in (without, split)]
    assert both[0] == pytest.approx(both[1], abs=1e-9)
    assert (without.labels, without.usage.keys()) == (split.labels, split.usage.keys())
    assert split.trusted.mix(half_life=1e12).sum() == pytest.approx(60)


def test_a_chain_counts_after_the_last_alarm_of_its_tiers(store: DuckDBStore) -> None:
    carried = alarmed(small=29, frontier=44)
    total = counted(of(store, carried), carried)
    assert total[PREFIXES.index(("small",)), Stat.ATTEMPTS] == 20
    assert total[PREFIXES.index(("frontier",)), Stat.ATTEMPTS] == 5  # 47, 50 ... 59
    assert total[PREFIXES.index(("small", "frontier")), Stat.ATTEMPTS] == 5  # 46, 49 ... 58


def test_a_minute_that_is_not_read_yet_has_no_rest_and_an_old_one_is_let_go(
    store: DuckDBStore,
) -> None:
    carried = alarmed(small=29)
    before = counted(of(store, carried, until_minute=MINUTE), carried)
    assert before[:, [Stat.ATTEMPTS, *LABELS]].sum() == 0
    old = counted(of(store, carried, minutes=REST_MINUTES + 1), carried)
    assert old[PREFIXES.index(("small",)), Stat.ATTEMPTS] == 0


def test_words_without_proof_are_kept_apart_and_capped_here_too(tmp_path: Path) -> None:
    made = DuckDBStore(tmp_path / "open.duckdb", now_ns=START)
    at = [START + n * SECOND // 10 for n in range(300)]
    steps = [chain(n, [SMALL], start_ns=at[n]) for n in range(300)]
    praise = [
        word(n, 1.0, at=at[n], source="feedback:liar", authenticated=False) for n in range(300)
    ]
    kept(made, *steps, *praise)
    carried = alarmed(small=9)
    found = of(made, carried)
    assert found.differs
    assert counted(found, carried)[:, LABELS].sum() == 0.0
    believed = found.all.total(half_life=1e12, since=carried.since).sum(axis=0)
    assert believed[:, LABELS].sum() == OPEN_WORDS_PER_MINUTE  # of 209 in the rest of the minute
    made.close()


def test_an_alarm_teaches_again_before_its_minute_is_over(tmp_path: Path) -> None:
    world = World(
        tmp_path, terms(role_terms("good"), step_max=1.0, dwell_seconds=0.0),
        {("good", "small"): 0.95, ("good", "frontier"): 0.95},
    )  # fmt: skip
    try:
        world.run(["good"], ticks=3, count=150)
        into = world.clock.now_ns() % NS
        world.clock.advance((NS - into) / SECOND)  # to the beginning of a minute
        world.truth["good", "small"] = 0.2
        for _ in range(2):
            world.steps(["good"], count=100, seconds=2.0)
            report = world.tick()
        assert role(report, "good")["demoted"] == ["small"]
        [alarm] = report["alarms"]
        assert world.clock.now_ns() // NS == alarm["at_ns"] // NS
        # The detectors left it at a tenth of the outcomes or so; the others say what is now.
        small = next(arm for arm in role(report, "good")["arms"] if arm["arm"] == "small/accept")
        assert small["labels"] > 20
        assert small["quality"] < 0.5
    finally:
        world.close()

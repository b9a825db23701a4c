"""Sums of evidence, against sums done by hand."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.learning_queries import OPEN_WORDS_PER_MINUTE
from collector.migrations import MIGRATIONS
from collector.rolling import BY_MINUTE_NS, DAY_NS
from collector.rollup_queries import NS
from collector.rows import Batch
from collector.store import Rows
from tests.collector.chains import SECOND, Try, chain, task_word, word
from tests.collector.otlp import NOW_NS

SMALL, TOP = Try(tier="small"), Try(tier="frontier", tokens=(200, 40, 50), seconds=2.0)
FLAGGED = Try(tier="small", failed=True)
START = NOW_NS // (60 * NS) * 60 * NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    made = DuckDBStore(tmp_path / "t.duckdb", now_ns=START)
    yield made
    made.close()


def kept(store: DuckDBStore, *batches: Batch, at: int = START + 3_600 * SECOND) -> DuckDBStore:
    store.write(batches, now_ns=at)
    rolled(store, at)
    return store


def rolled(store: DuckDBStore, at: int) -> None:
    while store.roll_up(at):
        pass


def attempts(store: DuckDBStore) -> dict[tuple[str, str], dict[str, Any]]:
    rows = store.read("SELECT * FROM learning_attempts")
    found = {(row.pop("cell"), row.pop("path")): row for row in rows}
    assert len(found) == len(rows)
    return found


def labels(store: DuckDBStore) -> Rows:
    return store.read("SELECT * FROM learning_labels ORDER BY path, flagged, authenticated")


def everything(store: DuckDBStore) -> list[Rows]:
    tables = ("attempts", "labels", "excess", "talks", "verdicts")
    return [store.read(f"SELECT * FROM learning_{table} ORDER BY ALL") for table in tables]


def near(one: list[Rows], other: list[Rows]) -> bool:
    values = [[value for table in side for row in table for value in row.values()] for side in
              (one, other)]  # fmt: skip
    return (
        values[0] == pytest.approx(values[1], abs=1e-9)
        if len(values[0]) == len(values[1])
        else False
    )


def test_a_chain_is_booked_under_each_of_its_beginnings(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START),
        chain(2, [FLAGGED, TOP], start_ns=START + SECOND),
        chain(3, [FLAGGED], start_ns=START + 2 * SECOND),
        word(1, 0.8, at=START),
        word(2, 1.0, at=START),
    )
    found = attempts(store)
    assert found["worker||plain", "small"] == {
        "minute": START // NS, "served": "p/small@small-1", "attempts": 3, "flagged": 2,
        "delivered": 2, "delivered_flagged": 1, "tokens_in": 300, "tokens_out": 30,
        "tokens_cached": 0, "seconds": 3.0,
    }  # fmt: skip
    assert found["worker||plain", "small>frontier"] == {
        "minute": START // NS, "served": "p/small@small-1>p/frontier@frontier-1", "attempts": 1,
        "flagged": 0, "delivered": 1, "delivered_flagged": 0, "tokens_in": 200, "tokens_out": 40,
        "tokens_cached": 50, "seconds": 2.0,
    }  # fmt: skip
    assert [
        (row["path"], row["labels"], row["w"], row["wq"], row["wqq"]) for row in labels(store)
    ] == [
        ("small", 1, 1.0, 0.8, pytest.approx(0.64)),
        ("small>frontier", 1, 1.0, 1.0, 1.0),
    ]


def test_retries_of_a_tier_are_one_step_and_a_tier_that_was_down_ends_the_evidence(
    store: DuckDBStore,
) -> None:
    down = Try(tier="mid", error="upstream_timeout")
    kept(
        store,
        chain(1, [Try(tier="small", error="http_503"), SMALL], start_ns=START),
        chain(2, [FLAGGED, down, TOP], start_ns=START),
        chain(3, [down, TOP], start_ns=START),
        word(2, 1.0, at=START),
    )
    found = attempts(store)
    assert set(found) == {("worker||plain", "small")}
    row = found["worker||plain", "small"]
    assert (row["attempts"], row["flagged"], row["tokens_in"]) == (2, 1, 300)
    assert labels(store) == []  # what mid and frontier made of it, small cannot answer for


def test_an_operators_function_that_abstains_is_a_flag(store: DuckDBStore) -> None:
    kept(store, chain(1, [Try(tier="code", error="abstained"), SMALL], start_ns=START))
    assert attempts(store)["worker||plain", "code"]["flagged"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "session"},
        {"reason": "budget"},
        {"reason": "fallback"},
        {"reason": "dialect"},
        {"role_unknown": "wrker"},
        {"dialect": "embeddings"},
    ],
)
def test_steps_that_no_share_is_about_teach_nothing(
    store: DuckDBStore, fields: dict[str, Any]
) -> None:
    kept(store, chain(1, [SMALL], start_ns=START, **fields), word(1, 1.0, at=START))
    assert everything(store) == [[], [], [], [], []]


def test_pins_inform_and_count_for_the_whole_role(store: DuckDBStore) -> None:
    batch = chain(1, [SMALL], start_ns=START, reason="pinned", pinned=True, mode="debate")
    batch.decisions[0].cell = None
    kept(store, batch)
    assert set(attempts(store)) == {("worker|debate|", "small")}


def test_checks_are_flags_and_never_labels(store: DuckDBStore) -> None:
    kept(store, chain(1, [SMALL], start_ns=START), chain(2, [FLAGGED], start_ns=START))
    assert labels(store) == []


def test_a_label_weighs_one_over_its_chance_up_to_a_hundred(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START),
        chain(2, [SMALL], start_ns=START),
        word(1, 0.5, at=START, chance=0.25),
        word(2, 0.0, at=START, chance=1e-6),
    )
    [row] = labels(store)
    assert (row["labels"], row["w"], row["ww"], row["wq"]) == (2, 104.0, 16.0 + 10_000.0, 2.0)


def test_words_with_proof_decide_and_others_are_kept_apart(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START),
        chain(2, [SMALL], start_ns=START),
        word(1, 0.2, at=START, source="event", rank=2),
        word(1, 1.0, at=START, authenticated=False),  # ranks higher, and is nobody's word
        word(2, 0.9, at=START, authenticated=False),
    )
    assert [(row["authenticated"], row["labels"], row["wq"]) for row in labels(store)] == [
        (False, 1, 0.9),
        (True, 1, 0.2),
    ]


def test_of_words_with_proof_the_highest_rank_decides_by_its_mean(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START),
        word(1, 0.0, at=START, source="event", rank=2),
        word(1, 1.0, at=START, name="ann"),
        word(1, 0.5, at=START, name="ben"),
    )
    assert [row["wq"] for row in labels(store)] == [0.75]


def test_a_tasks_word_is_shared_by_its_steps_as_one_label(store: DuckDBStore) -> None:
    kept(
        store,
        chain(1, [SMALL], start_ns=START, trace=77),
        chain(2, [SMALL], start_ns=START + 180 * SECOND, trace=77),
        chain(3, [SMALL], start_ns=START + 181 * SECOND, trace=77),
        chain(4, [SMALL], start_ns=START, trace=78),
        word(3, 0.0, at=START),
        task_word(77, 0.6, at=START + 200 * SECOND),
    )
    found = store.read(
        "SELECT sum(labels) AS labels, sum(shared) AS shared, sum(w) AS w, sum(ww) AS ww, "
        "sum(wq) AS wq FROM learning_labels"
    )
    [row] = found
    assert (row["labels"], row["shared"]) == (3, 2)
    # Two thirds of a label from the task, one from the step's own word.
    assert [row["w"], row["ww"], row["wq"]] == pytest.approx([5 / 3, 5 / 3, 0.4])


def test_a_later_step_of_a_task_shrinks_the_share_of_those_before(store: DuckDBStore) -> None:
    first = chain(1, [SMALL], start_ns=START, trace=77)
    kept(store, first, task_word(77, 1.0, at=START + 9 * SECOND), at=START + 600 * SECOND)
    assert [row["w"] for row in labels(store)] == [1.0]
    second = chain(2, [SMALL], start_ns=START + 900 * SECOND, trace=77)
    kept(store, second, at=START + 1_000 * SECOND)
    assert [row["w"] for row in labels(store)] == [0.5, 0.5]


def graded(store: DuckDBStore, count: int, *, authenticated: bool) -> None:
    """Write so many steps of one minute, each with a word of one source."""
    numbers = range(1, count + 1)
    batches = [chain(number, [SMALL], start_ns=START + number) for number in numbers]
    batches += [
        word(number, 1.0, at=START, source="feedback:bot", authenticated=authenticated)
        for number in numbers
    ]
    kept(store, *batches)


def test_of_one_source_without_proof_only_so_many_words_count_in_a_minute_of_a_cell(
    store: DuckDBStore,
) -> None:
    graded(store, OPEN_WORDS_PER_MINUTE + 30, authenticated=False)
    assert store.read("SELECT source, words FROM learning_excess") == [
        {"source": "feedback:bot", "words": 30}
    ]
    found = store.read("SELECT sum(labels) AS labels FROM learning_labels")[0]["labels"]
    assert found == OPEN_WORDS_PER_MINUTE


def test_a_source_that_proved_who_it_is_may_grade_every_step(store: DuckDBStore) -> None:
    graded(store, OPEN_WORDS_PER_MINUTE + 30, authenticated=True)
    assert store.read("SELECT * FROM learning_excess") == []
    found = store.read("SELECT sum(labels) AS labels FROM learning_labels")[0]["labels"]
    assert found == OPEN_WORDS_PER_MINUTE + 30


def many(seed: int, *, first: int = 1, count: int = 120) -> list[Batch]:
    """Two hours of all kinds of chains and words, some on tasks, some without proof."""
    rng = random.Random(seed)
    batches = []
    for number in range(first, first + count):
        at = START + rng.randrange(7_200) * SECOND
        tries = rng.choice([[SMALL], [FLAGGED, TOP], [TOP], [FLAGGED], [SMALL, TOP]])
        role = rng.choice(["worker", "critic"])
        trace = 10_000 + number // 3 if rng.random() < 0.3 else number
        batches.append(chain(number, tries, start_ns=at, role=role, trace=trace))
        if rng.random() < 0.5:
            batches.append(
                word(number, rng.random(), at=at, authenticated=rng.random() < 0.7,
                     chance=rng.choice([None, 0.5]))
            )  # fmt: skip
        if trace >= 10_000 and rng.random() < 0.4:
            batches.append(task_word(trace, trace % 10 / 10, at=START + trace % 7_200 * SECOND))
    return batches


def test_any_order_and_any_doubling_gives_the_same_sums(tmp_path: Path) -> None:
    seed = 1
    end = START + 3 * 3_600 * SECOND
    whole = DuckDBStore(tmp_path / "whole.duckdb", now_ns=START)
    kept(whole, *many(seed), at=end)
    pieces = DuckDBStore(tmp_path / "pieces.duckdb", now_ns=START)
    rng = random.Random(seed)
    batches = [part for batch in many(seed) for part in torn(batch)]
    batches += rng.sample([part for batch in many(seed) for part in torn(batch)], 60)
    rng.shuffle(batches)
    for number in range(0, len(batches), 40):
        kept(pieces, *batches[number : number + 40], at=end + number)
    assert near(everything(whole), everything(pieces))
    assert sum(len(table) for table in everything(whole)) > 100
    whole.close()
    pieces.close()


def torn(batch: Batch) -> list[Batch]:
    """Rows of a batch that arrive one by one."""
    return [
        *(Batch(calls=[row]) for row in batch.calls),
        *(Batch(decisions=[row]) for row in batch.decisions),
        *(Batch(spans=[row]) for row in batch.spans),
        *(Batch(evaluations=[row]) for row in batch.evaluations),
    ]


def test_hours_hold_what_their_minutes_held_and_late_words_still_find_them(
    store: DuckDBStore,
) -> None:
    kept(store, *many(3))
    sums = "SELECT cell, path, sum({}) AS n FROM learning_{} GROUP BY ALL ORDER BY ALL"
    before = store.read(sums.format("attempts", "attempts"))
    labelled = store.read(sums.format("w", "labels"))
    late = START + BY_MINUTE_NS + DAY_NS
    store.prune(late)
    minutes = store.read("SELECT DISTINCT minute % 60 AS m FROM learning_attempts")
    assert minutes == [{"m": 0}]
    assert store.read(sums.format("attempts", "attempts")) == before
    unlabelled = store.read(
        "SELECT min(decision_id) AS id FROM decisions WHERE quality_rank IS DISTINCT FROM 3 "
        "AND attempts = 1 AND trace_id NOT IN (SELECT trace_id FROM spans)"
    )[0]["id"]
    kept(store, word(int(unlabelled[1:]), 0.5, at=late), at=late + SECOND)
    total = sum(row["n"] for row in store.read(sums.format("w", "labels")))
    assert total == pytest.approx(sum(row["n"] for row in labelled) + 1)


def test_evidence_of_an_older_store_is_summed_after_it_is_opened(store: DuckDBStore) -> None:
    kept(store, *many(4))
    before = everything(store)
    for table in ("attempts", "labels", "excess"):
        store._connection.execute(f"DROP TABLE learning_{table}")
    store._connection.execute("ALTER TABLE evaluations DROP COLUMN chance")
    store._connection.execute("DELETE FROM state WHERE name = 'rolled_up_ns'")
    store._connection.execute(dict(MIGRATIONS)[3])
    rolled(store, START + 3_601 * SECOND)
    assert [len(table) for table in everything(store)] == [len(table) for table in before]

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from collector import queries, rolling
from collector.decode import Reception, decode_traces
from collector.duckdb_file import exports_folder
from collector.duckdb_store import DuckDBStore
from collector.events import decode_logs
from collector.migrations import MIGRATIONS
from collector.normalising import Normaliser
from collector.rolling import BY_MINUTE_NS, DAY_NS
from collector.rows import Batch, CallRow, DecisionRow, EvaluationRow, LogRow, SpanRow
from collector.store import StoreRefused, StoreUnavailable
from telemetry.errors import ConfigError
from tests.collector.conftest import pricing
from tests.collector.otlp import NOW_NS, Trace, evaluation

RECEPTION = Reception(received_ns=NOW_NS + 10**9, pricing=pricing())
MINUTE = queries.MINUTE_NS


def decoded(trace: Trace) -> Batch:
    return decode_traces(trace.body(), RECEPTION)


def judged(name: str, **more: Any) -> Batch:
    batch = decode_logs(evaluation(name, **more), RECEPTION)
    Normaliser().fill(batch.evaluations)
    return batch


def count(store: DuckDBStore, table: str) -> int:
    return int(store.query(f"SELECT count(*) FROM {table}", rows_max=1, seconds_max=5).rows[0][0])


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("spans", SpanRow),
        ("calls", CallRow),
        ("decisions", DecisionRow),
        ("logs", LogRow),
        ("evaluations", EvaluationRow),
    ],
)
def test_the_tables_have_the_columns_of_their_rows_in_order(
    store: DuckDBStore, table: str, row: Any
) -> None:
    found = store.query(f"SELECT * FROM {table} LIMIT 0", rows_max=1, seconds_max=5)
    fields = row.__struct_fields__
    assert tuple(column for column in found.columns if column in fields) == fields
    if row is CallRow:  # calls are read back by position
        read_back = tuple(column for column in found.columns if column != "quality_rank")
        assert read_back[: len(fields)] == fields


def test_a_span_twice_in_one_commit_and_again_later_is_stored_once(store: DuckDBStore) -> None:
    trace = Trace()
    trace.call(span_id=b"\1" * 8)
    trace.call(span_id=b"\1" * 8)
    trace.span("tool", span_id=b"\2" * 8)
    written = store.write([decoded(trace), decoded(trace)], now_ns=NOW_NS)
    assert (written.records, written.duplicates) == (2, 4)
    again = store.write([decoded(trace)], now_ns=NOW_NS)
    assert (again.records, again.duplicates) == (0, 3)
    assert count(store, "v_spans") == 2


def test_arrival_always_rises_even_when_the_clock_does_not(store: DuckDBStore) -> None:
    for seed in (1, 2, 3):
        trace = Trace(seed=seed)
        trace.call()
        store.write([decoded(trace)], now_ns=NOW_NS - seed)
    found = store.read("SELECT received_ns FROM calls ORDER BY received_ns")
    assert [row["received_ns"] for row in found] == [NOW_NS - 1, NOW_NS, NOW_NS + 1]


def test_a_late_parent_mends_calls_that_are_stored_even_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    store = DuckDBStore(path, now_ns=NOW_NS)
    early, late = Trace(), Trace()
    early.call(span_id=b"\3" * 8, parent=b"\2" * 8)
    late.span(
        "invoke_agent",
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "worker"},
        span_id=b"\2" * 8,
    )
    store.write([decoded(early)], now_ns=NOW_NS)
    store.roll_up(NOW_NS)
    assert store.read("SELECT role, calls FROM rollups") == [{"role": None, "calls": 1}]
    store.close()
    store = DuckDBStore(path, now_ns=NOW_NS)
    written = store.write([decoded(late)], now_ns=NOW_NS)
    assert written.corrections == 1
    store.roll_up(NOW_NS)
    assert store.read("SELECT role, calls FROM rollups") == [{"role": "worker", "calls": 1}]
    store.close()


def test_a_call_that_our_gateway_tells_of_later_leaves_the_count_even_after_a_restart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.duckdb"
    store = DuckDBStore(path, now_ns=NOW_NS)
    told, made = Trace(), Trace(seed=2)
    told.call({"gen_ai.response.id": "r"})
    made.call({"gen_ai.response.id": "r", "tierwise.decision.id": "d", "tierwise.role": "coder"})
    store.write([decoded(told)], now_ns=NOW_NS)
    store.roll_up(NOW_NS)
    store.close()
    store = DuckDBStore(path, now_ns=NOW_NS)
    assert store.write([decoded(made)], now_ns=NOW_NS).corrections == 1
    store.roll_up(NOW_NS)
    assert store.read("SELECT role, calls FROM rollups") == [{"role": "coder", "calls": 1}]
    found = store.read("SELECT uncounted_reason AS why FROM calls WHERE NOT counted")
    assert found == [{"why": "duplicate"}]
    store.close()


def test_roll_ups_equal_sums_done_by_hand(store: DuckDBStore) -> None:
    trace = Trace()
    role = {"gen_ai.agent.name": "worker", "tierwise.tier": "mid"}
    trace.call(role, tokens=(1_000, 100), seconds=1.0)  # 0.002 + 0.0008
    trace.call({**role, "error.type": "timeout"}, tokens=(2_000, 0), seconds=3.0)  # 0.004
    trace.call(role, tokens=(1_000, 100), start_ns=NOW_NS + MINUTE)
    store.write([decoded(trace)], now_ns=NOW_NS)
    assert store.roll_up(NOW_NS) == 2
    first = store.read(
        "SELECT * FROM rollups WHERE minute = $minute", {"minute": NOW_NS // MINUTE}
    )[0]
    assert (first["calls"], first["errors"]) == (2, 1)
    assert (first["input_tokens"], first["output_tokens"]) == (3_000, 100)
    assert first["cost_usd"] == pytest.approx(0.0068)
    tasks = store.read("SELECT sum(tasks) AS n, sum(cost_usd) AS cost FROM rollups_tasks")[0]
    assert (tasks["n"], tasks["cost"]) == (1, pytest.approx(0.0096))
    assert store.roll_up(NOW_NS) == 0


def test_a_long_backlog_is_rolled_up_in_steps_newest_first(store: DuckDBStore) -> None:
    trace = Trace()
    for minute in range(300):
        trace.call({"gen_ai.conversation.id": "one task"}, start_ns=NOW_NS - minute * MINUTE)
    store.write([decoded(trace)], now_ns=NOW_NS)
    assert store.roll_up(NOW_NS) == 240
    newest = store.read("SELECT min(minute) AS low FROM rollups")[0]["low"]
    assert newest == NOW_NS // MINUTE - 239
    assert store.roll_up(NOW_NS) == 60
    assert store.roll_up(NOW_NS) == 0
    assert store.read("SELECT sum(calls) AS n FROM rollups") == [{"n": 300}]
    tasks = store.read("SELECT minute, tasks, costed FROM rollups_tasks")
    assert tasks == [{"minute": NOW_NS // MINUTE - 299, "tasks": 1, "costed": 1}]


def test_a_step_of_a_backlog_holds_about_so_many_calls(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "CALLS_PER_ROLL_UP", 40)
    trace = Trace()
    for minute in range(30):
        for _ in range(4):
            trace.call(start_ns=NOW_NS - minute * MINUTE)
    store.write([decoded(trace)], now_ns=NOW_NS)
    assert [store.roll_up(NOW_NS) for _ in range(5)] == [10, 6, 4, 4, 4]
    assert [store.roll_up(NOW_NS), store.roll_up(NOW_NS)] == [2, 0]
    assert store.read("SELECT sum(calls) AS n FROM rollups") == [{"n": 120}]


def test_sampled_spans_weigh_what_they_stand_for(store: DuckDBStore) -> None:
    trace = Trace()
    trace.call(tokens=(1_000, 0))
    trace.scope.spans[0].trace_state = "ot=th:c"  # one in four
    store.write([decoded(trace)], now_ns=NOW_NS)
    store.roll_up(NOW_NS)
    row = store.read("SELECT calls, weighted, input_tokens, cost_usd FROM rollups")[0]
    assert (row["calls"], row["weighted"], row["input_tokens"]) == (1, 4.0, 4_000)
    assert row["cost_usd"] == pytest.approx(0.008)


@pytest.mark.parametrize("order", ["span first", "word first"])
@pytest.mark.parametrize("target", ["span", "response"])
def test_a_word_on_quality_finds_its_call_whichever_comes_first(
    store: DuckDBStore, order: str, target: str
) -> None:
    trace = Trace()
    trace.call({"gen_ai.response.id": "r1"}, span_id=b"\1" * 8)
    more: dict[str, Any] = {"gen_ai.evaluation.score.value": 0.25}
    where: dict[str, Any] = {}
    if target == "span":
        where = {"trace_id": trace.trace_id, "span_id": b"\1" * 8}
    else:
        more["gen_ai.response.id"] = "r1"
    batches = [decoded(trace), judged("judge", with_=more, **where)]
    if order == "word first":
        batches.reverse()
    for batch in batches:
        store.write([batch], now_ns=NOW_NS)
        store.roll_up(NOW_NS)
    assert store.read("SELECT quality, quality_source FROM calls") == [
        {"quality": 0.25, "quality_source": "judge"}
    ]
    assert store.read("SELECT graded, quality_sum FROM rollups") == [
        {"graded": 1, "quality_sum": 0.25}
    ]


def test_the_same_word_twice_counts_once(store: DuckDBStore) -> None:
    for score in (1.0, 0.0):
        store.write(
            [judged("judge", with_={"gen_ai.evaluation.score.value": score,
                                    "gen_ai.response.id": "r"})],
            now_ns=NOW_NS,
        )  # fmt: skip
    assert store.read("SELECT score FROM evaluations") == [{"score": 1.0}]


def routed() -> Trace:
    trace = Trace()
    route = {
        "tierwise.decision.id": "d1", "tierwise.decision.reason": "declared",
        "tierwise.role": "worker", "tierwise.tier": "mid", "tierwise.tier.start": "small",
        "tierwise.attempts": 2, "tierwise.escalated_from": "small", "tierwise.cost.usd": 0.003,
    }  # fmt: skip
    trace.span("route worker", route, span_id=b"\1" * 8)
    for number, tier in ((1, "small"), (2, "mid")):
        trace.call(
            {
                "tierwise.decision.id": "d1", "tierwise.role": "worker", "tierwise.tier": tier,
                "tierwise.attempt": number, "tierwise.cost.usd": number / 1_000,
            },
            span_id=bytes([9, *[number] * 7]), parent=b"\1" * 8,
        )  # fmt: skip
    return trace


def test_a_word_on_a_decision_grades_the_answer_that_was_delivered(store: DuckDBStore) -> None:
    store.write([decoded(routed())], now_ns=NOW_NS)
    store.write(
        [judged("judge", with_={"gen_ai.evaluation.score.label": "pass",
                                "tierwise.decision.id": "d1"})],
        now_ns=NOW_NS,
    )  # fmt: skip
    store.roll_up(NOW_NS)
    assert store.read("SELECT attempt, quality FROM calls ORDER BY attempt") == [
        {"attempt": 1, "quality": None},
        {"attempt": 2, "quality": 1.0},
    ]
    assert store.read("SELECT quality FROM decisions") == [{"quality": 1.0}]
    row = store.read("SELECT decisions, escalated, graded FROM rollups_decisions")[0]
    assert row == {"decisions": 1, "escalated": 1, "graded": 1}
    tasks = store.read("SELECT tasks, passed, graded_cost_usd FROM rollups_tasks")[0]
    assert tasks == {"tasks": 1, "passed": 1, "graded_cost_usd": pytest.approx(0.003)}


def test_old_roll_ups_become_hours_and_a_late_call_still_lands_right(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    hour = NOW_NS // (60 * MINUTE) * 60 * MINUTE
    early = Trace(seed=1)
    for minute in (1, 2, 59, 61):
        early.call(start_ns=hour + minute * MINUTE)
    store.write([decoded(early)], now_ns=NOW_NS)
    store.roll_up(NOW_NS)
    assert count(store, "rollups") == 4
    later = NOW_NS + BY_MINUTE_NS + 3 * 60 * MINUTE
    store.prune(later)
    found = store.read("SELECT minute * 60000000000 AS at, calls FROM rollups ORDER BY minute")
    assert [(row["at"] - hour, row["calls"]) for row in found] == [(0, 3), (60 * MINUTE, 1)]
    late = Trace(seed=2)
    late.call(start_ns=hour + 5 * MINUTE)
    store.write([decoded(late)], now_ns=later)
    store.roll_up(later)
    found = store.read("SELECT minute * 60000000000 AS at, calls FROM rollups ORDER BY minute")
    assert [(row["at"] - hour, row["calls"]) for row in found] == [(0, 4), (60 * MINUTE, 1)]
    store.close()


def test_what_is_too_old_is_removed(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS, keep_days=(1, 10))
    trace = Trace()
    trace.call()
    trace.span("tool")
    store.write([decoded(trace)], now_ns=NOW_NS)
    assert store.prune(NOW_NS) == 0
    assert store.prune(NOW_NS + 2 * DAY_NS) == 1
    assert (count(store, "spans"), count(store, "calls")) == (0, 1)
    assert store.prune(NOW_NS + 11 * DAY_NS) == 1
    assert count(store, "calls") == 0
    store.close()


def test_pages_of_an_export_hold_each_row_once(store: DuckDBStore, tmp_path: Path) -> None:
    folder = exports_folder(tmp_path / "t.duckdb")
    for seed in range(3):
        trace = Trace(seed=seed)
        for _ in range(4):
            trace.call()
        store.write([decoded(trace)], now_ns=NOW_NS)
    cursor, seen = None, []
    while True:
        page = folder / "p.ndjson"
        cursor_next = store.export("calls", page, form="ndjson", cursor=cursor, rows_max=5)
        if cursor_next is None:
            break
        lines = page.read_text().splitlines()
        assert len(lines) <= 5
        seen += [json.loads(line)["span_id"] for line in lines]
        cursor = cursor_next
    assert len(seen) == len(set(seen)) == 12
    parquet = folder / "p.parquet"
    store.export("calls", parquet, form="parquet", cursor=None, rows_max=100)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT count(*) FROM read_parquet($1)", [str(parquet)])
        assert found.fetchall() == [(12,)]


@pytest.mark.parametrize("cursor", ["x", "1;DROP TABLE calls", "9" * 30])
def test_a_foreign_cursor_is_refused(store: DuckDBStore, tmp_path: Path, cursor: str) -> None:
    with pytest.raises(StoreRefused, match="cursor"):
        store.export("calls", tmp_path / "x", form="ndjson", cursor=cursor, rows_max=1)
    with pytest.raises(StoreRefused, match="no table"):
        store.export("duckdb_settings()", tmp_path / "x", form="ndjson", cursor=None, rows_max=1)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM calls",
        "SELECT 1; DELETE FROM calls",
        "ATTACH '/tmp/x.db'",
        "COPY calls TO '/tmp/x.csv'",
        "PRAGMA database_list",
        "SET lock_configuration = false",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "INSTALL httpfs",
        "CREATE TABLE t (a INT)",
        "EXPLAIN ANALYZE DELETE FROM calls",
        "WITH gone AS (DELETE FROM calls RETURNING *) SELECT * FROM gone",
        "SELECT * FROM query('DELETE FROM calls')",
        "CALL pragma_version()",
        "CHECKPOINT",
        "EXPORT DATABASE '/tmp/x'",
        "SELECT getenv('PATH')",
        "not sql",
        "",
        "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range % 7 = b.range % 3",
    ],
)
def test_people_s_sql_can_only_read_this_store(store: DuckDBStore, sql: str) -> None:
    trace = Trace()
    trace.call()
    store.write([decoded(trace)], now_ns=NOW_NS)
    with pytest.raises(StoreRefused):
        store.query(sql, rows_max=10, seconds_max=0.5)
    assert count(store, "calls") == 1


def test_text_from_outside_is_data_and_never_sql(store: DuckDBStore) -> None:
    evil = "x'); DROP TABLE calls; --"
    trace = Trace()
    trace.call({"gen_ai.agent.name": evil, "gen_ai.conversation.id": "\0\u202e" + evil})
    store.write([decoded(trace)], now_ns=NOW_NS)
    store.roll_up(NOW_NS)
    assert store.read("SELECT role FROM rollups") == [{"role": evil}]


def test_a_second_process_is_refused_and_told_who_holds_the_file(
    store: DuckDBStore, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from collector.duckdb_store import DuckDBStore\n"
        "from collector.store import StoreLocked\n"
        "try:\n DuckDBStore(Path(sys.argv[1]), now_ns=1)\n"
        "except StoreLocked as error:\n print(error); raise SystemExit(3)\n"
    )
    run = [sys.executable, "-c", script, str(tmp_path / "t.duckdb")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert f"process {os.getpid()}" in done.stdout


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    DuckDBStore(path, now_ns=1).close()
    connection = duckdb.connect(path)
    connection.execute("INSERT INTO migrations VALUES (999, 1)")
    connection.close()
    with pytest.raises(ConfigError, match="format 999"):
        DuckDBStore(path, now_ns=1)


def test_a_store_of_the_first_format_gets_the_cell_of_decisions(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    connection = duckdb.connect(path)
    connection.execute("CREATE TABLE migrations (version INTEGER NOT NULL, at_ns BIGINT NOT NULL)")
    connection.execute(MIGRATIONS[0][1])
    connection.execute("INSERT INTO migrations VALUES (1, 1)")
    connection.close()
    store = DuckDBStore(path, now_ns=NOW_NS)
    trace = Trace(scope="tierwise")
    for cell in ("worker|debate|plain", None):
        more = {} if cell is None else {"tierwise.cell": cell}
        trace.span(
            "route worker",
            {"tierwise.decision.id": f"d-{cell}", "tierwise.decision.reason": "declared", **more},
        )
    store.write([decoded(trace)], now_ns=NOW_NS)
    found = store.read("SELECT cell FROM v_decisions ORDER BY cell NULLS LAST")
    assert found == [{"cell": "worker|debate|plain"}, {"cell": None}]
    store.close()


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    path.write_bytes(b"this is no database" * 1_000)
    with pytest.raises(StoreUnavailable, match=r"t\.duckdb"):
        DuckDBStore(path, now_ns=1)
    assert path.read_bytes().startswith(b"this is no database")


def test_a_failed_commit_leaves_nothing_behind_and_the_next_one_works(
    store: DuckDBStore,
) -> None:
    bad, good = Trace(seed=1), Trace(seed=2)
    bad.call()
    good.call()
    broken = decoded(bad)
    broken.calls[0].input_tokens = 2**70
    with pytest.raises(StoreRefused):
        store.write([decoded(good), broken], now_ns=NOW_NS)
    assert count(store, "calls") == 0
    assert store.write([decoded(good)], now_ns=NOW_NS).records == 1


def confused(*_: object, **__: object) -> None:
    raise KeyError("no")


def test_a_fault_of_our_own_refuses_its_batch_and_the_next_one_works(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace()
    trace.call()
    with monkeypatch.context() as patch:
        patch.setattr(store._lineage, "apply", confused)
        with pytest.raises(StoreRefused, match=r"a fault of the collector's own: KeyError\('no'\)"):
            store.write([decoded(trace)], now_ns=NOW_NS)
    with monkeypatch.context() as patch:
        patch.setattr(rolling, "roll_up", confused)
        trace.call()
        store.write([decoded(trace)], now_ns=NOW_NS)
        with pytest.raises(KeyError):
            store.roll_up(NOW_NS)
    assert store.roll_up(NOW_NS) == 1
    assert count(store, "calls") == 2


def test_a_commit_without_enough_memory_may_be_tried_again(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    trace = Trace()
    trace.call()
    batch = decoded(trace)
    with monkeypatch.context() as patch:
        patch.setattr(store._lineage, "apply", full)
        with pytest.raises(StoreUnavailable, match="not enough memory"):
            store.write([batch], now_ns=NOW_NS)
    assert store.write([batch], now_ns=NOW_NS).records == 1


def test_a_batch_that_shared_a_span_with_a_refused_one_keeps_it(store: DuckDBStore) -> None:
    trace = Trace()
    trace.call()
    bad, good = decoded(trace), decoded(trace)
    other = Trace(seed=2)
    other.call()
    bad.calls += decoded(other).calls
    bad.calls[1].input_tokens = 2**70
    with pytest.raises(StoreRefused):
        store.write([bad, good], now_ns=NOW_NS)
    assert store.write([good], now_ns=NOW_NS).records == 1


def test_a_repeated_span_is_known_beside_much_older_and_newer_ones(store: DuckDBStore) -> None:
    trace = Trace()
    for days in (0, 1, 5, 9, 20, 40, 80, 160, 320, 640):
        trace.call(start_ns=NOW_NS - days * DAY_NS)
    assert store.write([decoded(trace)], now_ns=NOW_NS).records == 10
    trace.call(start_ns=NOW_NS - DAY_NS)
    again = store.write([decoded(trace)], now_ns=NOW_NS)
    assert (again.records, again.duplicates) == (1, 10)


def test_released_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_no_statement_is_put_together_where_it_is_run() -> None:
    for path in Path(str(queries.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("execute", "sql", "query", "read") and node.args:
                asked = node.args[0]
                built = isinstance(asked, ast.JoinedStr | ast.BinOp | ast.Call)
                # SQLite binds nothing in a PRAGMA; this one is given a number of ours.
                built = built and not ast.unparse(asked).startswith("f'PRAGMA user_version = ")
                assert not built, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
def test_route_attempt_and_word_may_come_in_any_order(
    store: DuckDBStore, order: tuple[int, int, int]
) -> None:
    whole = decoded(routed())
    word = judged(
        "judge", with_={"gen_ai.evaluation.score.value": 0.5},
        trace_id=bytes.fromhex(whole.calls[1].trace_id),
        span_id=bytes.fromhex(whole.calls[1].span_id),
    )  # fmt: skip
    parts = [Batch(decisions=whole.decisions), Batch(calls=whole.calls), word]
    for number in order:
        store.write([parts[number]], now_ns=NOW_NS)
        store.roll_up(NOW_NS)
    assert store.read("SELECT quality FROM decisions") == [{"quality": 0.5}]
    assert store.read("SELECT quality FROM calls WHERE attempt = 2") == [{"quality": 0.5}]
    assert store.read("SELECT joined FROM evaluations") == [{"joined": True}]
    assert store.read("SELECT graded FROM rollups_decisions") == [{"graded": 1}]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_the_highest_rank_decides_and_equals_are_averaged(
    store: DuckDBStore, order: tuple[int, ...]
) -> None:
    trace = Trace()
    trace.call({"tierwise.quality.score": 0.9}, span_id=b"\1" * 8)
    where = {"trace_id": trace.trace_id, "span_id": b"\1" * 8}
    words = [
        judged("a", with_={"gen_ai.evaluation.score.value": 0.2}, **where),
        judged("b", with_={"gen_ai.evaluation.score.value": 0.4}, **where),
    ]
    check = judged("json", with_={"gen_ai.evaluation.score.value": 0.0}, **where)
    check.evaluations[0].rank = 1
    batches = [decoded(trace), *words, check]
    for number in order:
        store.write([batches[number]], now_ns=NOW_NS)
        store.roll_up(NOW_NS)
    found = store.read("SELECT quality, quality_source FROM calls")[0]
    assert found == {"quality": pytest.approx(0.3), "quality_source": "a, b"}

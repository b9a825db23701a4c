"""Dumps of every format: the same totals as the collector's store, and nothing ends in a fault."""

import asyncio
import base64
import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.dumps import load as loading
from collector.dumps import sources
from collector.dumps.load import Means, load
from collector.normalising import Normaliser
from collector.store import StoreUnavailable
from evals.audit.facts import Facts
from evals.audit.kinds import Kind
from telemetry.errors import ConfigError
from telemetry.prices import PriceBook
from tests.collector.conftest import PRICES, Start
from tests.collector.otlp import NOW_NS
from tests.golden.test_dialects import FIXTURES, protobuf, request

SECOND_NS = 10**9
Audit = Callable[..., Facts]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Load places into a store of their own."""
    made = 0

    def run(*places: Path | str) -> Facts:
        nonlocal made
        made += 1
        folder = tmp_path / f"work{made}"
        folder.mkdir()
        means = Means(
            book=PriceBook(PRICES, at=datetime(2026, 6, 1, tzinfo=UTC)),
            normaliser=Normaliser(),
            now_ns=NOW_NS + 10**10,
        )
        return load([str(place) for place in places], folder, means=means)

    return run


def totals(facts: Facts) -> dict[tuple[str | None, str | None], tuple[Any, ...]]:
    """Calls, tokens and spend by role and model; what no text can change."""
    found: dict[tuple[str | None, str | None], list[float]] = {}
    for group in facts.groups:
        row = found.setdefault((group.step.role, group.model), [0.0] * 7)
        for place, amount in enumerate(
            (group.calls, group.errors, group.tokens.input, group.tokens.output,
             group.tokens.cache_read, group.cost_usd, group.costed)
        ):  # fmt: skip
            row[place] += amount or 0
    return {key: tuple(round(amount, 9) for amount in row) for key, row in found.items()}


def bodies() -> list[tuple[str, dict[str, Any]]]:
    """Every dialect's fixture as an OTLP/JSON request, each in a trace of its own."""
    found = []
    for number, path in enumerate(FIXTURES):
        fixture = json.loads(path.read_text())
        text = json.dumps(request(fixture)).replace("ab" * 16, f"{number + 1:032x}")
        found.append(("logs" if "logs" in fixture else "traces", json.loads(text)))
    return found


def lines(path: Path, values: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def call(number: int, *, start_ns: int = NOW_NS, **attributes: Any) -> dict[str, Any]:
    """One call as an OTLP/JSON request; a second apart, each in its own trace."""
    known = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100, "gen_ai.agent.name": "worker",
    }  # fmt: skip
    trace, parent = attributes.pop("trace", number), attributes.pop("parent", None)
    wanted = {**known, **{key.replace("__", "."): value for key, value in attributes.items()}}
    span = {
        "traceId": f"{trace:032x}", "spanId": f"{number:016x}", "name": "chat",
        "startTimeUnixNano": str(start_ns + number * SECOND_NS),
        "endTimeUnixNano": str(start_ns + (number + 1) * SECOND_NS),
        "attributes": [
            {"key": key, "value": _value(value)} for key, value in wanted.items()
            if value is not None
        ],
    }  # fmt: skip
    if parent is not None:
        span["parentSpanId"] = f"{parent:016x}"
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "x"}, "spans": [span]}]}]}


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


async def test_a_dump_and_the_store_that_received_the_same_spans_give_the_same_totals(
    tmp_path: Path, start: Start, audit: Audit
) -> None:
    sent = bodies()
    running = await start()
    for signal, body in sent:
        async with running.session.post(f"{running.http}/v1/{signal}", json=body) as answer:
            assert answer.status == 200
    live = await asyncio.to_thread(audit, running.console)
    store = tmp_path / "c.duckdb"
    program = f"from router.cli.app import run; raise SystemExit(run(['audit', {str(store)!r}]))"
    refused = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert b"held by a running collector" in refused.stderr
    exports = store.with_name("c.duckdb.exports")
    for form in ("parquet", "ndjson"):
        page = exports / f"calls.{form}"
        assert running.store.export("calls", page, form=form, cursor=None, rows_max=1_000)
    dump = audit(lines(tmp_path / "dump.jsonl", (body for _, body in sent)))
    wanted = totals(dump)
    assert sum(row[0] for row in wanted.values()) == sum(
        len(json.loads(path.read_text())["calls"]) for path in FIXTURES
    )
    assert totals(live) == wanted
    assert totals(audit(exports / "calls.parquet")) == wanted
    assert totals(audit(exports / "calls.ndjson")) == wanted
    assert live.reading.aside == dump.reading.aside
    assert live.tasks == dump.tasks


def test_protobuf_framed_or_single_gives_what_json_gives(tmp_path: Path, audit: Audit) -> None:
    sent = bodies()
    encoded = [protobuf(body) for _, body in sent]
    framed = tmp_path / "dump.pb"
    framed.write_bytes(b"".join(len(body).to_bytes(4, "big") + body for body in encoded))
    wanted = totals(audit(lines(tmp_path / "dump.jsonl", (body for _, body in sent))))
    assert totals(audit(framed)) == wanted
    assert totals(audit(framed, tmp_path / "dump.jsonl")) == wanted  # both are one
    singles = tmp_path / "singles"
    singles.mkdir()
    for number, body in enumerate(encoded):
        (singles / f"{number:02}.pb").write_bytes(body)
    assert totals(audit(singles)) == wanted


def test_other_processes_decode_the_same(
    tmp_path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = lines(tmp_path / "dump.jsonl", (body for _, body in bodies()))
    alone = audit(dump)
    monkeypatch.setattr(loading, "PARALLEL_BYTES", 0)
    assert totals(audit(dump)) == totals(alone)


def test_a_store_s_file_is_read_and_left_as_it_was(tmp_path: Path, audit: Audit) -> None:
    dump = lines(tmp_path / "dump.jsonl", (call(n) for n in range(1, 4)))
    audit(dump)
    store = tmp_path / "work1" / "audit.duckdb"
    before = store.read_bytes()
    facts = audit(store)
    assert totals(facts) == {("worker", "gpt-4o"): (3, 0, 3_000, 300, 0, 0.0084, 3)}
    assert store.read_bytes() == before


def test_dumps_that_are_unsorted_doubled_zipped_or_pretty_give_one_total(
    tmp_path: Path, audit: Audit
) -> None:
    agent = call(90, trace=1, gen_ai__operation__name="invoke_agent", gen_ai__request__model=None,
                 gen_ai__usage__input_tokens=None, gen_ai__usage__output_tokens=None)  # fmt: skip
    sent = [call(n, trace=1, parent=90, gen_ai__agent__name=None) for n in range(1, 6)]
    wanted = totals(audit(lines(tmp_path / "sorted.jsonl", [agent, *sent])))
    assert wanted == {("worker", "gpt-4o"): (5, 0, 5_000, 500, 0, 0.014, 5)}
    backwards = lines(tmp_path / "backwards.jsonl", [*reversed(sent), agent])
    assert totals(audit(backwards)) == wanted
    zipped = tmp_path / "zipped.gz"
    zipped.write_bytes(gzip.compress(backwards.read_bytes()))
    pretty = tmp_path / "pretty.json"
    pretty.write_text(json.dumps([agent, *sent], indent=2))
    both = audit(zipped, pretty, backwards)
    assert totals(both) == wanted
    assert both.reading.duplicates == 12  # five calls and their agent, twice more


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.json", b"", "an empty file"),
        ("blank.json", b" \n\n", "an empty file"),
        ("cut.json", json.dumps(call(1)).encode()[:200], "not JSON"),
        ("other.json", b'{"hello": 1}', "no format known"),
        ("metrics.json", b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":'
                         b'{"dataPoints":[{}]}}]}]}]}', "metrics hold no calls"),
        ("shape.json", b'{"resourceSpans": [[]]}', "not an object"),
        ("noise.bin", bytes(range(7, 250)) * 9, "no known format"),
        ("more.bin", bytes(range(200, 256)) * 9, "nor any other format"),
        ("prose.csv", b"dear diary, it is\nwarm, today\n", "no format known"),
        ("header.csv", b"request_id,spend,model\n", "a table without a row"),
        ("commas.csv", b"request_id,spend,model\nr1,0.5,gpt-4o,1\n", "more or fewer values"),
        ("page.json", b'{"data": []}', "an empty list"),
        ("half.gz", gzip.compress(os.urandom(9_000))[:4_000], "damaged"),
        ("half.parquet", b"PAR1 and no more", "not a page of calls"),
        ("spans.ndjson", b'{"trace_id":"a","span_id":"b","received_ns":1}', "another table"),
        ("calls.ndjson", b'{"trace_id":"a","counted":true}', "not a row of calls"),
        ("deep.json", b"[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_counted_and_named(
    tmp_path: Path, audit: Audit, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    good = lines(tmp_path / "good.jsonl", [call(1)])
    reading = audit(tmp_path / name, good)
    assert sum(group.calls for group in reading.groups) == 1
    assert any(reason in found for found in reading.reading.refused), reading.reading.refused
    if reason != "metrics hold no calls":
        assert name in reading.reading.examples[0]


def test_a_truncated_dump_gives_what_is_whole(tmp_path: Path, audit: Audit) -> None:
    whole = lines(tmp_path / "whole.jsonl", (call(n) for n in range(1, 11))).read_bytes()
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(whole[:-20])
    facts = audit(cut)
    assert [group.calls for group in facts.groups] == [9]
    assert facts.reading.examples == [f"{cut}:10: not JSON: Input data was truncated"]
    framed = tmp_path / "cut.pb"
    parts = [protobuf(call(n)) for n in range(1, 4)]
    data = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    framed.write_bytes(data[:-5])
    facts = audit(framed)
    assert [group.calls for group in facts.groups] == [2]
    assert facts.reading.refused == {"the last request is cut off": 1}


def test_impossible_counts_are_unknown_and_absurd_ones_set_aside(
    tmp_path: Path, audit: Audit
) -> None:
    dump = [
        call(1, gen_ai__usage__input_tokens=-5),
        call(2, gen_ai__usage__input_tokens="many"),
        call(3, gen_ai__usage__input_tokens=2 * 10**9),
        call(4),
        call(5, gen_ai__request__model="hal-9000"),
    ]
    facts = audit(lines(tmp_path / "odd.jsonl", dump))
    assert sum(group.calls for group in facts.groups) == 4
    assert sum(group.costed for group in facts.groups) == 1
    assert sum(group.cost_usd for group in facts.groups) == pytest.approx(0.0028)
    assert facts.reading.aside == {"absurd token counts": 1}
    assert facts.reading.uncoerced == 2


def test_missing_places_and_silent_consoles_are_faults_of_the_command(audit: Audit) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        audit("/nowhere/at/all")
    with pytest.raises(StoreUnavailable, match="no collector answers"):
        audit("http://127.0.0.1:1")
    for wrong in ("https://127.0.0.1:8081", "http://", "http://127.0.0.1:99999999"):
        with pytest.raises(ConfigError):
            audit(wrong)


SPEND_LOGS: list[dict[str, Any]] = [
    {
        "request_id": f"chatcmpl-{n}", "call_type": "acompletion", "spend": 0.5, "model": "gpt-4o",
        "prompt_tokens": 1_000, "completion_tokens": 100, "custom_llm_provider": "openai",
        "startTime": f"2026-06-01T00:00:0{n}Z", "endTime": f"2026-06-01T00:00:0{n + 1}Z",
        "session_id": "s1", "cache_hit": "True" if n == 3 else "False", "cache_key": "k",
        "metadata": {"role": "writer",
                     "usage_object": {"prompt_tokens_details": {"cached_tokens": 400}}},
        "messages": [{"role": "user", "content": "again"}], "response": {}, "status": "success",
    }
    for n in range(4)
]  # fmt: skip


FORMS = ["ndjson", "json", "csv"]


def exported(path: Path, rows: list[dict[str, Any]], form: str) -> Path:
    """Write rows as a product's export does."""
    if form == "csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, dict.fromkeys(key for row in rows for key in row))
            table.writeheader()
            for row in rows:
                table.writerow({
                    k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()
                })  # fmt: skip
    elif form == "json":
        path.write_text(json.dumps({"data": rows}))
    else:
        lines(path, rows)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_litellm_s_spend_logs_are_calls(tmp_path: Path, audit: Audit, form: str) -> None:
    facts = audit(exported(tmp_path / f"spend.{form}", SPEND_LOGS, form))
    # Three paid calls: 600 x 2 + 400 x 1 + 100 x 8 dollars a million; the fourth came from a cache.
    assert totals(facts) == {("writer", "gpt-4o"): (4, 0, 4_000, 400, 1_600, 0.0072, 4)}
    assert facts.tasks == 1
    assert {group.kind for group in facts.groups} == {Kind.WRITING}  # "{}" is no filled form
    (step,) = facts.steps.values()
    assert step.repeats is not None
    assert step.repeats.duplicates == 3
    assert step.repeats.duplicates_usd == pytest.approx(0.0048)


def test_langfuse_s_generations_are_calls_of_the_agent_above_them(
    tmp_path: Path, audit: Audit
) -> None:
    agent = {"id": "a", "traceId": "t", "type": "AGENT", "name": "researcher",
             "startTime": "2026-06-01T00:00:00.000Z"}  # fmt: skip
    made = [
        {"id": f"g{n}", "traceId": "t", "parentObservationId": "a", "type": "GENERATION",
         "name": "x", "model": "gpt-4o", "startTime": f"2026-06-01T00:00:0{n}Z",
         "usageDetails": {"input": 100, "input_cached_tokens": 50, "output": 10},
         "costDetails": {"total": 0.25}}
        for n in range(2)
    ]  # fmt: skip
    facts = audit(lines(tmp_path / "lf.ndjson", [agent, *made]))
    assert totals(facts) == {("researcher", "gpt-4o"): (2, 0, 300, 20, 100, 0.5, 2)}
    older = [
        {
            "id": "o",
            "traceId": "t",
            "model": "gpt-4o",
            "startTime": "2026-06-01 00:00:00",
            "usage": {"promptTokens": 7, "completionTokens": 3},
            "calculatedTotalCost": 0.125,
        }
    ]
    assert totals(audit(lines(tmp_path / "old.json", older))) == {
        (None, "gpt-4o"): (1, 0, 7, 3, 0, 0.125, 1)
    }


OBSERVATIONS: list[dict[str, Any]] = [
    {
        "id": f"g{n}", "traceId": f"t{n}", "type": "GENERATION", "name": "x", "model": "gpt-4o",
        "startTime": f"2026-06-01T00:00:0{n}Z", "endTime": f"2026-06-01T00:00:0{n + 1}Z",
        "usageDetails": {"input": 100, "output": 10}, "costDetails": {"total": 0.25},
        "metadata": {"role": "reader"},
    }
    for n in range(6)
]  # fmt: skip


def with_mistakes(product: str) -> list[dict[str, Any]]:
    """Backwards: one sound row twice, and rows with a negative, an unreadable, an absurd count,
    no time and no id.
    """
    if product == "litellm":
        rows = [{**SPEND_LOGS[0], "request_id": f"r{n}"} for n in range(6)]
        rows[1]["prompt_tokens"], rows[2]["prompt_tokens"] = -5, "many"
        rows[3]["prompt_tokens"] = 2 * 10**9
        rows[5]["request_id"] = ""
    else:
        rows = [dict(row) for row in OBSERVATIONS]
        rows[1]["usageDetails"] = {"input": -5, "output": 10}
        rows[2]["usageDetails"] = {"input": "many", "output": 10}
        rows[3]["usageDetails"] = {"input": 2 * 10**9, "output": 10}
        rows[5]["id"] = ""
    rows[4]["startTime"] = "yesterday"
    return [*reversed(rows), rows[0]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("product", ["litellm", "langfuse"])
def test_mistakes_in_an_export_are_counted_and_the_rest_is_read(
    tmp_path: Path, audit: Audit, product: str, form: str
) -> None:
    facts = audit(exported(tmp_path / f"rows.{form}", with_mistakes(product), form))
    assert sum(group.calls for group in facts.groups) == 3  # sound, negative, unreadable
    known = 1_000 if product == "litellm" else 100
    assert sum(group.tokens.input or 0 for group in facts.groups) == known
    assert facts.reading.duplicates == 1
    assert facts.reading.uncoerced == 2
    assert facts.reading.aside == {"absurd token counts": 1}
    assert facts.reading.refused == {
        "a span id that is none": 1,
        "a time that is unset, before 2000 or in the future": 1,
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [SPEND_LOGS, OBSERVATIONS], ids=["litellm", "langfuse"])
def test_an_export_that_breaks_off_gives_what_is_whole_and_says_so(
    tmp_path: Path, audit: Audit, rows: list[dict[str, Any]], form: str
) -> None:
    whole = exported(tmp_path / "whole", rows, form).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-40])
    facts = audit(tmp_path / "cut")
    calls = sum(group.calls for group in facts.groups)
    assert calls == (0 if form == "json" else len(rows) - 1)  # one document is whole or nothing
    assert sum(facts.reading.refused.values()) == 1
    assert "cut" in facts.reading.examples[0]


@pytest.mark.parametrize("name", ["claude_code", "codex", "gemini_cli"])
def test_a_coding_agent_s_telemetry_counts_once_however_it_comes(
    tmp_path: Path, audit: Audit, name: str
) -> None:
    (path,) = (path for path in FIXTURES if path.stem == name)
    body = request(json.loads(path.read_text()))
    wanted = totals(audit(lines(tmp_path / "once.jsonl", [body])))
    assert sum(row[0] for row in wanted.values()) == len(json.loads(path.read_text())["calls"])
    text = json.dumps(body)
    (tmp_path / "cut.jsonl").write_text(f"{text}\n{text}\n{text[:-30]}")
    facts = audit(tmp_path / "cut.jsonl")
    assert totals(facts) == wanted
    assert facts.reading.duplicates > 0
    assert facts.reading.refused == {"not JSON: Input data was truncated": 1}
    framed = protobuf(body)
    (tmp_path / "dump.pb").write_bytes(2 * (len(framed).to_bytes(4, "big") + framed))
    assert totals(audit(tmp_path / "dump.pb")) == wanted


def test_one_file_may_hold_every_format_line_by_line(tmp_path: Path, audit: Audit) -> None:
    rows = [*SPEND_LOGS[:1], *OBSERVATIONS[:1], call(1)]
    facts = audit(lines(tmp_path / "mixed.jsonl", rows))
    found = {role: row[0] for (role, _), row in totals(facts).items()}
    assert found == {"writer": 1, "reader": 1, "worker": 1}


def test_context_growth_is_counted_per_task_and_turn(tmp_path: Path, audit: Audit) -> None:
    """Task 1: 100, 300, 800 in three turns; task 2: 50, 150; (700 + 100) / 3 a turn."""
    sizes = {1: (100, 300, 800), 2: (50, 150), 3: (999,)}
    dump, number = [], 0
    for trace, turns in sizes.items():
        for size in turns:
            number += 1
            dump.append(call(number, trace=trace, gen_ai__usage__input_tokens=size))
    facts = audit(lines(tmp_path / "grow.jsonl", reversed(dump)))
    (step,) = facts.steps.values()
    assert step.growth is not None
    assert (step.growth.tasks, step.growth.turns) == (2, 5)
    assert step.growth.first_tokens == 75
    assert step.growth.last_tokens == 475
    assert step.growth.per_turn_tokens == pytest.approx(800 / 3)


def said(text: str, answer: str) -> dict[str, Any]:
    """Prompt and answer as attributes of the current conventions."""
    return {
        "gen_ai__input__messages": [
            {"role": "user", "parts": [{"type": "text", "content": text}]}
        ],
        "gen_ai__output__messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": answer}]}
        ],
    }  # fmt: skip


def test_texts_show_repeats_rephrasings_and_answers_that_need_no_model(
    tmp_path: Path, audit: Audit
) -> None:
    dump = [
        call(1, trace=1, **said("What is the total of invoice 12?", "none")),
        call(2, trace=1, **said("Please tell me the invoice 12 total!", "none")),  # rephrased
        call(3, trace=2, **said("What is the total of invoice 12?", "none")),  # the same, elsewhere
        call(4, trace=3, **said("Invoice of 3 March: EUR 1,240.50", "1,240.50")),  # copied
        call(5, trace=4, gen_ai__agent__name="mute"),
    ]
    facts = audit(lines(tmp_path / "said.jsonl", dump))
    steps = {str(step): found for step, found in facts.steps.items()}
    assert set(steps) == {"worker"}
    worker = steps["worker"]
    assert worker.texts == 4
    assert worker.repeats is not None
    assert (worker.repeats.duplicates, worker.repeats.rephrasings) == (1, 1)
    found = {needless.way: needless for needless in worker.needless}
    assert {way: (n.calls, n.answers) for way, n in found.items()} == {
        "substring": (1, 1),
        "lookup": (2, 1),
    }
    assert found["substring"].example == f"{3:032x}:{4:016x}"


def test_no_text_of_a_dump_reaches_the_working_store(tmp_path: Path, audit: Audit) -> None:
    audit(lines(tmp_path / "said.jsonl", [call(1, **said("a canary sang", "a canary sang"))]))
    store = DuckDBStore(tmp_path / "work1" / "audit.duckdb", now_ns=NOW_NS + 10**10)
    try:
        assert "canary" not in repr(store.read("SELECT * FROM calls"))
    finally:
        store.close()


def test_late_evaluations_find_their_calls(tmp_path: Path, audit: Audit) -> None:
    word = {
        "timeUnixNano": str(NOW_NS), "eventName": "gen_ai.evaluation.result",
        "traceId": f"{1:032x}", "spanId": f"{1:016x}",
        "attributes": [
            {"key": "gen_ai.evaluation.name", "value": {"stringValue": "judge"}},
            {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.75}},
        ],
    }  # fmt: skip
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [word]}]}]}
    facts = audit(lines(tmp_path / "words.jsonl", [logs, call(1), call(2)]))
    assert [(g.graded, g.quality_sum) for g in facts.groups] == [(1, 0.75)]


def test_a_long_line_is_skipped_and_the_rest_is_read(
    tmp_path: Path, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "DOCUMENT_BYTES_MAX", 2_000)
    path = lines(tmp_path / "long.jsonl", [call(1), {"padding": "x" * 5_000}, call(2)])
    facts = audit(path)
    assert sum(group.calls for group in facts.groups) == 2
    assert [reason for reason in facts.reading.refused if "a line over" in reason]


def test_base64_ids_and_hex_ids_are_one_span(tmp_path: Path, audit: Audit) -> None:
    one = call(1)
    two = json.loads(json.dumps(one))
    span = two["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for key in ("traceId", "spanId"):
        span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    assert audit(lines(tmp_path / "ids.jsonl", [one, two])).reading.duplicates == 1


def test_roles_without_end_are_summed_under_one_name(tmp_path: Path, audit: Audit) -> None:
    dump = (call(n, gen_ai__agent__name=f"role {n}") for n in range(1, 251))
    found = totals(audit(lines(tmp_path / "many.jsonl", dump)))
    assert len(found) == 201
    assert found["other roles", "gpt-4o"][0] == 50

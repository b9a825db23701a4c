"""`tierwise eval collect`: failures become cases, where their text was recorded."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from evals.suite import load_suite
from router.cli.app import run
from telemetry.spans import describe
from tests.collector.conftest import Running, Start
from tests.collector.otlp import Trace
from tests.inprocess import make_bench
from tests.router.test_shadowing import CHAT, answer, policy


def question(text: str, **more: Any) -> bytes:
    body = {"model": "tierwise/worker", "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(body).encode()


async def spans(*, content: bool) -> bytes:
    """Return what a gateway would send of five steps, three of which failed their check."""
    bench = make_bench(policy(share=0.0), content_bytes_max=1_000 if content else None)
    asked = [("one", ""), ("two", "yes"), ("three", ""), ("one", ""), ("x" * 2_000, "")]
    trace = Trace(service="tierwise", scope="tierwise")
    for text, said in asked:
        bench.upstream.scripts = [answer(said)]
        await bench.post(CHAT, question(text, temperature=0))
    for place, (decision, outcome) in enumerate(bench.kept.pairs):
        for span in describe(decision, outcome, content=bench.kept.contents[place]):
            trace.span(
                span.name,
                {k: [str(i) for i in v] if isinstance(v, tuple) else _plain(v)
                 for k, v in span.attributes.items()},
                parent=bytes.fromhex(span.parent_span_id or ""), start_ns=time.time_ns(),
                span_id=bytes.fromhex(span.span_id), trace_id=bytes.fromhex(span.trace_id),
            )  # fmt: skip
    return trace.body()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


async def collected(running: Running, tmp_path: Path, *flags: str) -> int:
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    out = ["--out", str(tmp_path / "cases.ndjson")]
    return await asyncio.to_thread(run, ["eval", "collect", *out, *where, *flags])


async def started(start: Start, *, sent: bool, kept: bool) -> Running:
    running = await start(content=kept)
    running.clock.advance((time.time_ns() - running.clock.now_ns()) / 1e9)
    assert (await running.post("/v1/traces", await spans(content=sent)))[0] == 200
    await running.settled("/api/decisions", lambda found: len(found["decisions"]) == 5)
    return running


async def test_failures_become_cases_of_a_suite(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await started(start, sent=True, kept=True)
    assert await collected(running, tmp_path, "--json", "--role", "worker") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], told["recorded"], told["written"]) == (4, 4, 2)
    assert (told["cut"], told["repeated"]) == (1, 1)
    (tmp_path / "s.toml").write_text(
        'schema = 1\nname = "s"\nchecks = ["not_empty"]\ncases_file = "cases.ndjson"\n'
    )
    suite = load_suite(tmp_path / "s.toml")
    asked = sorted(case.step.last_user_text for case in suite.cases)
    assert asked == ["one", "three"]
    assert json.loads(suite.cases[0].body)["temperature"] == 0
    assert "quality 0 by not_empty" in (tmp_path / "cases.ndjson").read_text()


@pytest.mark.parametrize(("sent", "kept"), [(False, True), (True, False)])
async def test_without_recorded_text_it_says_how_to_record_it(
    sent: bool, kept: bool, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await started(start, sent=sent, kept=kept)
    assert await collected(running, tmp_path) == 1
    said = capsys.readouterr().out
    assert "4 steps failed or scored under 0.5; 0 have their text" in said
    assert "content = true under [telemetry] and under [collector]" in said
    assert not (tmp_path / "cases.ndjson").exists()
    table = running.store.query("SELECT count(*) FROM texts", rows_max=1, seconds_max=5)
    assert table.rows == [(0,)]


async def test_a_time_without_failures_is_no_error(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    assert await collected(running, tmp_path) == 0
    assert "0 steps failed" in capsys.readouterr().out
    assert await collected(running, tmp_path, "--role", "x' OR 1=1") == 2


async def test_a_role_without_steps_is_refused_with_the_nearest_that_has_some(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await started(start, sent=True, kept=True)
    assert await collected(running, tmp_path, "--role", "wroker") == 2
    said = capsys.readouterr().err
    assert "no step of role 'wroker' is stored" in said
    assert "next: roles with steps: worker; did you mean 'worker'?" in said


async def test_the_text_of_other_senders_is_not_kept(start: Start) -> None:
    running = await start(content=True)
    trace = Trace(scope="some.instrumentation")
    trace.call({"gen_ai.input.messages": "[secret]"})
    assert (await running.post("/v1/traces", trace.body()))[0] == 200
    table = running.store.query("SELECT count(*) FROM texts", rows_max=1, seconds_max=5)
    assert table.rows == [(0,)]

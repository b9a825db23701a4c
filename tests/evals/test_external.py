import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from evals import slow
from evals.answers import ToolCall
from evals.catalogue import build_checks
from evals.checks import AnyCheck, Checked, close_checks, run_checks
from telemetry.clock import ManualClock
from telemetry.records import Result
from tests.evals.answering import says, with_schema

READS = "import json, sys; answer = json.load(sys.stdin); "


def program(source: str, **more: Any) -> dict[str, Any]:
    return {"check": "command", "argv": [sys.executable, "-I", "-S", "-c", source], **more}


def saying(verdict: str) -> str:
    return f"{READS}print(json.dumps({verdict}))"


async def asked(spec: dict[str, Any], text: str = "the answer", **more: Any) -> Checked:
    checks = build_checks([spec])
    try:
        return await run_checks(checks, says(text, **more))
    finally:
        await close_checks(checks)


async def test_a_command_reads_the_answer_and_says_the_verdict() -> None:
    source = saying('{"verdict": "fail", "score": 0.25, "reason": answer["text"][:3], "more": 1}')
    checked = await asked(program(source, version="7", name="mine"))
    (verdict,) = checked.verdicts
    assert (verdict.check, verdict.version, verdict.result) == ("mine", "7", Result.FAIL)
    assert (verdict.score, verdict.reason) == (0.25, "the")


async def test_the_payload_is_as_documented(tmp_path: Path) -> None:
    schema = {"type": "object"}
    seen = tmp_path / "seen"
    spec = program(f"import sys; open({str(seen)!r}, 'w').write(sys.stdin.read())")
    await asked(spec, "t", step=with_schema(schema), tool_calls=(ToolCall("f", "{}", "c"),))
    assert json.loads(seen.read_text()) == {
        "check": "command",
        "role": "worker",
        "dialect": "chat",
        "text": "t",
        "tool_calls": [{"name": "f", "arguments": "{}", "id": "c", "custom": False}],
        "finish": "complete",
        "finish_raw": None,
        "refusal": None,
        "malformed": None,
        "schema": schema,
        "tools": [],
        "last_user_text": "",
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys; sys.exit(3)", "ended with exit code 3"),
        ("print('no json')", "did not say"),
        ('print(\'{"verdict": "maybe"}\')', "did not say"),
        ('print(\'{"verdict": "pass", "score": 7}\')', "did not say"),
        ('print(\'{"verdict": "pass", "score": NaN}\')', "did not say"),
        ("pass", "did not say"),
        ("print('x' * 100_000)", "said more than 65536 bytes"),
        ("import time; time.sleep(60)", "no verdict within 0.5 s"),
        ("while True: print('x' * 1_000, flush=True)", "said more than 65536 bytes"),
    ],
)
async def test_a_command_that_misbehaves_is_an_error_and_no_verdict(
    source: str, words: str
) -> None:
    checked = await asked(program(source, seconds=0.5 if "sleep" in source else 20))
    assert checked.verdicts == ()
    assert words in str(checked.errors[0])


async def test_a_program_that_is_not_there_is_an_error() -> None:
    checked = await asked({"check": "command", "argv": ["/nonexistent/check"]})
    assert "cannot start: FileNotFoundError" in str(checked.errors[0])


async def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    spec = program("import json; print(json.dumps({'verdict': 'pass'}))")
    spec["argv"] += [f"; touch {trap}", f"$(touch {trap})"]
    assert (await asked(spec)).overall.result is Result.PASS
    assert not trap.exists()


async def test_a_large_answer_that_the_command_does_not_read_is_no_obstacle() -> None:
    spec = program('print(\'{"verdict": "pass"}\')', seconds=20)
    assert (await asked(spec, "x" * 1_000_000)).overall.result is Result.PASS


async def test_an_answer_too_large_to_hand_over_is_not_judged() -> None:
    checked = await asked(program("pass"), "\x00" * 1_500_000)
    assert checked.verdicts[0].result is Result.ABSTAIN


async def test_a_command_sees_only_the_variables_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("CHECK_LEVEL", "3")
    source = "import os; " + saying("dict(verdict='pass', reason=' '.join(os.environ))")
    reason = (await asked(program(source, env=["CHECK_LEVEL", "UNSET_ONE"]))).verdicts[0].reason
    names = set(reason.split()) - {"LC_CTYPE"}
    assert "CHECK_LEVEL" in names
    assert names <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "CHECK_LEVEL"}


async def test_the_deadline_ends_what_the_command_has_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    source = (
        "import os, subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(60)"
    )
    checked = await asked(program(source, seconds=2))
    assert "no verdict within 2 s" in str(checked.errors[0])
    for pid in pids.read_text().split():
        assert await gone(int(pid))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("while True: print('x' * 1_000)", "check 'command': said more than 65536 bytes"),
        ("import time; time.sleep(60)", "check 'command': no verdict within 0.3 s"),
        ("import sys; sys.exit(3)", "check 'command': ended with exit code 3"),
        ('print(\'{"verdict": "pass"}\')', "pass"),
        (saying("dict(verdict='fail', score=len(answer['text']) / 400_000)"), "fail 0.5"),
    ],
)
def test_either_loop_gets_the_verdict_and_leaves_no_descriptor_open(
    run: Callable[[Any], Any], source: str, said: str
) -> None:
    async def calls() -> int:
        spec = program(source, seconds=0.3 if "sleep" in source else 20)
        before = 0
        for number in range(4):
            checked = await asked(spec, "x" * 200_000)
            assert said in [
                *(str(error) for error in checked.errors),
                *(f"{v.result} {v.score or ''}".strip() for v in checked.verdicts),
            ]
            if number == 0:
                before = len(os.listdir("/proc/self/fd"))
        await asyncio.sleep(0.05)
        return len(os.listdir("/proc/self/fd")) - before

    assert run(calls()) == 0


async def gone(pid: int) -> bool:
    """Say whether a process has ended, within five seconds."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                await asyncio.sleep(0.05)
                continue
        return True
    return False


async def test_a_call_that_is_called_off_ends_the_command(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    source = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    checks = build_checks([program(source, seconds=20)])
    task = asyncio.create_task(run_checks(checks, says("x")))
    while not (note.exists() and note.read_text()):
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int(note.read_text()))


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=16_777_216)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/check"
    finally:
        await runner.cleanup()


async def test_a_server_gets_the_answer_and_gives_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHECK_KEY", "k-1")
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("authorization"), await request.json()))
        return web.json_response({"verdict": "pass", "score": 0.5, "reason": "fine"})

    async with serving(handler) as url:
        checked = await asked({"check": "http", "url": url, "key_env": "CHECK_KEY"})
    ((method, key, body),) = seen
    assert (method, key, body["text"]) == ("POST", "Bearer k-1", "the answer")
    assert (checked.overall.result, checked.overall.score) == (Result.PASS, 0.5)


async def test_a_key_that_is_not_set_is_said() -> None:
    spec = {"check": "http", "url": "http://127.0.0.1:9/", "key_env": "TIERWISE_NOT_SET"}
    assert "the environment variable TIERWISE_NOT_SET is not set" in str((await asked(spec)).errors)


async def stalls(request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def redirects(request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def breaks(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def floods(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    await reply.prepare(request)
    for _ in range(1_000):
        await reply.write(b"x" * 1_000)
    return reply


async def fails(request: web.Request) -> web.Response:
    return web.Response(status=500)


async def babbles(request: web.Request) -> web.Response:
    return web.Response(text="<html>")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (stalls, "no verdict within 0.5 s"),
        (redirects, "replied with status 302"),
        (breaks, "cannot be asked: ServerDisconnectedError"),
        (floods, "said more than 65536 bytes"),
        (fails, "replied with status 500"),
        (babbles, "did not say"),
    ],
)
async def test_a_server_that_misbehaves_is_an_error_and_no_verdict(
    handler: Handler, words: str
) -> None:
    async with serving(handler) as url:
        spec = {"check": "http", "url": url, "seconds": 0.5 if handler is stalls else 20}
        checked = await asked(spec)
    assert checked.verdicts == ()
    assert words in str(checked.errors[0])


async def test_a_server_that_is_away_is_an_error() -> None:
    checked = await asked({"check": "http", "url": "http://127.0.0.1:9/"})
    assert "cannot be asked" in str(checked.errors[0])


async def test_a_check_that_breaks_too_often_is_disabled_and_probed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, calls, status = ManualClock(), 0, 500

    async def handler(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.json_response({"verdict": "pass"}, status=status)

    async with serving(handler) as url:
        checks = build_checks([{"check": "http", "url": url}], clock=clock)
        for _ in range(20):
            checked = await run_checks(checks, says("x"))
        assert calls == 13  # the 13th error is more than a quarter of 50 calls
        assert checked.overall.result is Result.ABSTAIN
        assert checked.verdicts[0].reason == "the check is disabled, it failed too often"
        assert "check http is disabled for 60 s: 13 of its last 13 calls failed" in caplog.text
        clock.advance(61)
        assert (await run_checks(checks, says("x"))).errors  # the probe fails
        assert not (await run_checks(checks, says("x"))).errors
        clock.advance(61)
        status = 200
        assert (await run_checks(checks, says("x"))).overall.result is Result.PASS
        assert "check http is enabled again" in caplog.text
        assert (await run_checks(checks, says("x"))).overall.result is Result.PASS
        assert calls == 16
        await close_checks(checks)


def test_errors_that_are_few_do_not_disable() -> None:
    budget = slow.ErrorBudget("mine", ManualClock())
    for number in range(400):
        ticket = budget.enter()
        assert ticket is not None
        budget.leave(ticket, failed=number % 4 == 0)  # 12 or 13 of any 50: see below
        if budget.disabled:
            break
    assert number == 48  # the 13th error among the first 49 calls


def test_a_quarter_exactly_is_allowed() -> None:
    budget = slow.ErrorBudget("mine", ManualClock())
    for number in range(400):
        ticket = budget.enter()
        assert ticket is not None
        budget.leave(ticket, failed=number % 50 < 12)
    assert not budget.disabled


def test_only_one_call_probes_and_a_probe_that_is_called_off_decides_nothing() -> None:
    clock = ManualClock()
    budget = slow.ErrorBudget("mine", clock)
    tickets = [budget.enter() for _ in range(14)]
    for ticket in tickets[:13]:
        assert ticket is not None
        budget.leave(ticket, failed=True)
    assert budget.disabled
    assert budget.enter() is None
    clock.advance(60)
    probe = budget.enter()
    assert probe is not None
    assert budget.enter() is None
    assert tickets[13] is not None
    budget.leave(tickets[13], failed=False)  # from before; decides nothing
    assert budget.disabled
    budget.leave(probe, failed=None)
    again = budget.enter()
    assert again is not None
    budget.leave(again, failed=False)
    assert not budget.disabled


async def test_calls_over_the_limit_wait_within_the_same_deadline() -> None:
    at_once = most = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1
        return web.json_response({"verdict": "pass"})

    async with serving(handler) as url:
        spec = {"check": "http", "url": url, "running_max": 2, "seconds": 20}
        checks: tuple[AnyCheck, ...] = build_checks([spec])
        said = await asyncio.gather(*(run_checks(checks, says("x")) for _ in range(8)))
        await close_checks(checks)
    assert most == 2
    assert all(checked.overall.result is Result.PASS for checked in said)

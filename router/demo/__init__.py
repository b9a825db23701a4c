"""`tierwise demo`: two agents at work through a gateway over stand-in providers."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from evals.standin.running import StandinProcess
from evals.workloads import batch, support
from evals.workloads.clients import AnthropicAsker, Asker, OpenAIAsker
from evals.workloads.documents import documents
from evals.workloads.steps import StepResult
from evals.workloads.tickets import tickets
from router.cli import exits
from router.cli.output import Screen
from router.demo import files, ledgers, report
from router.demo.child import gateway
from router.demo.sink import Sink, receiving
from telemetry.clock import Clock, SystemClock

SEED = 7
PACE = 0.05  # of the waits that the table states, so that the demo takes seconds
TICKETS = 12
DOCUMENTS = 5
SPANS_SECONDS_MAX = 5.0  # for the last spans to arrive, once the gateway has ended


def run(*, json: bool = False) -> int:
    """Run the demo; return 0 only when every one of its checks holds, 130 when interrupted.

    Raises:
        TierwiseError: when a client library is missing or the gateway does not start.
    """
    screen = Screen(json=json)
    code = asyncio.run(_interruptible(_demo(screen, SystemClock())))
    if code == exits.INTERRUPTED:
        screen.note("interrupted; every process of the demo has ended")
    return code


async def _interruptible(demo: Awaitable[int]) -> int:
    """Await ``demo``; Ctrl-C and SIGTERM unwind it, so that no child is left."""
    task = asyncio.ensure_future(demo)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return exits.INTERRUPTED


async def _demo(screen: Screen, clock: Clock) -> int:
    started = clock.monotonic()
    screen.say(report.STATED, style="bold yellow")
    screen.show(report.skills_table())
    screen.result(report.stated_json())
    results: list[StepResult] = []
    sent: list[ledgers.Sent] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tierwise-demo-")))
        local, cloud = await _standins(stack)
        config, policy = files.write(folder, local=local.base_url, cloud=cloud.base_url)
        sink = await stack.enter_async_context(receiving())
        serving = await stack.enter_async_context(gateway(config, policy, otlp_port=sink.port))
        screen.say(f"\ngateway {serving.url}, stand-ins {local.origin} and {cloud.origin}\n")
        async for result in _work(serving.url, sent):
            results.append(result)
            screen.say(report.step_line(len(results), result), style=_style(result))
            screen.result(report.step_json(len(results), result))
        await serving.stop()  # it exports what it still holds before it ends
        await _arrived(sink, len(results), clock)
        entries = [
            entry
            for standin in (local, cloud)
            for entry in (await asyncio.to_thread(standin.ledger))["entries"]
        ]
        frontier = await ledgers.replay(sent, seed=SEED)
    findings = report.Findings(
        spend=report.spend_of(sink.attempts, results),
        checks=ledgers.checks(sink, entries, [r.said.headers.get("decision") for r in results]),
        routed=ledgers.bill_of(entries),
        frontier=frontier,
        seconds=clock.monotonic() - started,
    )
    _show(screen, findings)
    return exits.OK if findings.holds else exits.WRONG


async def _standins(stack: contextlib.AsyncExitStack) -> list[StandinProcess]:
    """Start both stand-ins; whatever happens afterwards, the stack ends them."""
    started = []
    for _ in range(2):
        standin = await asyncio.to_thread(StandinProcess.start, seed=SEED, pace=PACE)
        stack.callback(standin.close)
        started.append(standin)
    return started


async def _work(url: str, sent: list[ledgers.Sent]) -> AsyncIterator[StepResult]:
    """Run both agents side by side and yield their steps as they finish; keep what they sent."""

    def record(path: str, body: dict[str, Any]) -> None:
        sent.append((path, body))

    openai = OpenAIAsker(f"{url}/v1", recorder=record)
    anthropic = AnthropicAsker(f"{url}/v1", recorder=record)
    steps: asyncio.Queue[StepResult | None] = asyncio.Queue(maxsize=64)

    async def all_tickets(asker: Asker) -> None:
        for ticket in tickets(TICKETS, seed=SEED):
            async for result in support.handle(ticket, asker):
                await steps.put(result)

    async def all_documents(asker: Asker) -> None:
        work = batch.process(documents(DOCUMENTS, seed=SEED), asker, plan_id=f"batch-{SEED}")
        async for result in work:
            await steps.put(result)

    async def both() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(all_tickets(openai))
                group.create_task(all_documents(anthropic))
        finally:
            await steps.put(None)

    working = asyncio.create_task(both())
    try:
        while (result := await steps.get()) is not None:
            yield result
        await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await openai.close()
        await anthropic.close()


async def _arrived(sink: Sink, steps_count: int, clock: Clock) -> None:
    """Wait until each step's route span is here, or for ``SPANS_SECONDS_MAX``."""
    deadline = clock.monotonic() + SPANS_SECONDS_MAX
    while len(sink.routes) < steps_count and clock.monotonic() < deadline:
        await clock.sleep(0.05)


def _show(screen: Screen, findings: report.Findings) -> None:
    screen.say()
    screen.show(report.spend_table(findings.spend))
    for line in report.comparison(findings):
        screen.say(line)
    screen.say()
    for check in findings.checks:
        mark, style = ("holds", "green") if check.holds else ("BROKEN", "bold red")
        screen.say(f"{mark:<7} {check.name}: {check.found}", style=style)
    screen.say(f"{findings.seconds:.1f} s in all")
    screen.result(findings.as_json())


def _style(result: StepResult) -> str | None:
    return "red" if result.right is False else None

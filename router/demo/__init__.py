"""`tierwise demo`: two agents at work through a gateway over stand-in providers."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Coroutine
from pathlib import Path
from typing import Any

from evals.standin.running import StandinProcess
from evals.workloads import clients
from router.cli import exits
from router.cli.output import Screen
from router.demo import agents, files, grounded, ledgers, loop, report, spend, telling
from router.demo.agents import SEED, Event, Note
from router.demo.child import Service, serving
from router.demo.store import Store, attempts_of
from router.demo.telling import Told
from telemetry.clock import Clock, SystemClock

PACE = 0.05  # of the waits that the table states, so that the demo takes seconds
BOARD_SECONDS_MAX = 10.0


def run(*, json: bool = False, quick: bool = False) -> int:
    """Run the demo; return 0 only when every one of its checks holds, 130 when interrupted.

    ``quick`` leaves out the loop, which has to wait for what it shows.

    Raises:
        TierwiseError: when a client library is missing or the gateway does not start.
    """
    screen = Screen(json=json)
    code = asyncio.run(_interruptible(_demo(screen, SystemClock(), quick=quick)))
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


async def _demo(screen: Screen, clock: Clock, *, quick: bool) -> int:
    looped: bool | None = None
    told: loop.Told = asyncio.Queue()
    async with contextlib.AsyncExitStack() as stack:
        if not quick:
            await stack.enter_async_context(_meanwhile(loop.play(told, clock, seed=SEED)))
        findings = await _agents_at_work(screen, clock)
        _show(screen, findings)
        if not quick:
            looped = await loop.tell(screen, told)
    screen.result(findings.as_json() | {"loop": looped})
    return exits.OK if findings.holds and looped is not False else exits.WRONG


@contextlib.asynccontextmanager
async def _meanwhile(play: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``play`` beside the block; what it raised is raised at the block's end."""
    playing = asyncio.create_task(play)
    try:
        yield
        await playing
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


async def _agents_at_work(screen: Screen, clock: Clock) -> report.Findings:
    started = clock.monotonic()
    screen.say(report.STATED, style="bold yellow")
    screen.show(report.skills_table())
    screen.result(report.stated_json())
    screen.say("Starting two stand-ins, a gateway and a collector ...", style="dim")
    steps: list[Told] = []
    sent: list[ledgers.Sent] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tierwise-demo-")))
        loading = asyncio.create_task(asyncio.to_thread(clients.load))
        local, cloud = await _standins(stack)
        check_url = await stack.enter_async_context(grounded.serving())
        config, policy = files.write(
            folder, local=local.base_url, cloud=cloud.base_url, grounded_url=check_url
        )
        service = await stack.enter_async_context(serving(config, policy))
        store = await stack.enter_async_context(Store(service.console))
        await loading
        _say_addresses(screen, service, (local, cloud))
        async for step in _work(service.gateway, sent, store, local=local, clock=clock):
            if isinstance(step, Told):
                steps.append(step)
            _tell(screen, step, number=len(steps))
        chains = await store.chains()
        entries = [
            entry
            for standin in (local, cloud)
            for entry in (await asyncio.to_thread(standin.ledger))["entries"]
        ]
        frontier, (calls, spent) = await asyncio.gather(
            ledgers.replay(sent, seed=SEED), _board(store, len(attempts_of(chains)), clock)
        )
    believed = {entry["response_id"]: bool(entry["right"]) for entry in entries}
    revisions = report.revisions_of(steps)
    decisions = [step.result.said.headers.get("decision") for step in steps]
    return report.Findings(
        spend=spend.spend_of(steps),
        quality=spend.quality_of(steps, believed),
        revisions=revisions,
        checks=[
            *ledgers.checks(chains, entries, decisions),
            ledgers.board_check(chains, calls=calls, spend_usd=spent),
            report.shown_check(steps, revisions),
        ],
        routed=ledgers.routed(
            entries, [step.result.right for step in steps if not report.refused(step)]
        ),
        frontier=frontier,
        seconds=clock.monotonic() - started,
    )


async def _standins(stack: contextlib.AsyncExitStack) -> list[StandinProcess]:
    """Start both stand-ins; whatever happens afterwards, the stack ends them."""

    async def one() -> StandinProcess:
        standin = await asyncio.to_thread(StandinProcess.start, seed=SEED, pace=PACE)
        stack.callback(standin.close)
        return standin

    return list(await asyncio.gather(one(), one()))


async def _work(
    url: str, sent: list[ledgers.Sent], store: Store, *, local: StandinProcess, clock: Clock
) -> AsyncIterator[Told | Note]:
    """Run the agents and yield their steps, each with its spans, as they finish."""
    events: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=agents.QUEUE_MAX)
    working = asyncio.create_task(agents.work(url, sent, events, worsen=local.change_skills))
    try:
        async for step in telling.told(events, store, clock=clock):
            yield step
        await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _board(store: Store, attempts_count: int, clock: Clock) -> tuple[int, float]:
    """Return the sums of the console's table once all attempts are in it, or what it has by then.

    It is rolled up every few seconds.
    """
    deadline = clock.monotonic() + BOARD_SECONDS_MAX
    calls, spent = await store.board()
    while calls < attempts_count and clock.monotonic() < deadline:
        await clock.sleep(telling.POLL_SECONDS)
        calls, spent = await store.board()
    return calls, spent


def _say_addresses(
    screen: Screen, service: Service, standins: tuple[StandinProcess, StandinProcess]
) -> None:
    local, cloud = standins
    screen.say(f"\ngateway {service.gateway}, stand-ins {local.origin} and {cloud.origin}")
    screen.say(f"console {service.console}/api/roles while the demo runs\n")
    screen.result({"event": "serving", "gateway": service.gateway, "console": service.console})


def _tell(screen: Screen, step: Told | Note, *, number: int) -> None:
    if isinstance(step, Note):
        screen.say(f"\n{step.text}\n", style="bold yellow")
        screen.result({"event": "note", "note": step.text})
        return
    line, *below = report.step_lines(number, step)
    screen.say(line, style="red" if step.result.right is False else None)
    for more in below:
        screen.say(more, style="yellow")
    screen.result(report.step_json(number, step))


def _show(screen: Screen, findings: report.Findings) -> None:
    screen.say()
    screen.show(spend.spend_table(findings.spend), keys=2)
    screen.show(spend.quality_table(findings.quality))
    for line in report.comparison(findings):
        screen.say(line)
    screen.say()
    for check in findings.checks:
        mark, style = ("holds", "green") if check.holds else ("BROKEN", "bold red")
        screen.say(f"{mark:<7} {check.name}: {check.found}", style=style)
    screen.say(f"{findings.seconds:.1f} s in all")

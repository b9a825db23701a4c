"""The poster: spreads news over the sinks and sends it, each sink at its own pace.

It lives in the collector's event loop. The desk is only touched in short transactions on a thread,
never while something is being sent.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from collector.desk import Desk, Transaction
from collector.meters import Meters
from collector.sinks import deliveries
from collector.sinks.grouping import spread
from collector.sinks.message import trial, unpacked
from collector.sinks.opening import Surroundings, named, open_sink, route_of, secrets_of
from collector.sinks.restating import Restating
from collector.sinks.sink import ACCEPTED, Answer, Sink, StateSink, Verdict
from telemetry.alerting import NotifyConfig
from telemetry.errors import ConfigError, TierwiseError

STEP_SECONDS: Final = 1.0
ROUND_MAX: Final = 50  # messages to one sink before the others' news is looked at again
TEST_AGAIN_NS: Final = 300_000_000_000
HOUR_NS: Final = 3_600_000_000_000
FORGET_STEPS: Final = 600

log = logging.getLogger("tierwise.collector")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """What a test of one sink came to."""

    sink: str
    kind: str
    acknowledged: bool
    message: str
    at_ns: int


@dataclass(slots=True)
class _Open:
    """A sink as it was opened; ``made_of`` tells when it must be opened anew."""

    config: NotifyConfig
    made_of: tuple[object, ...]
    sink: Sink | None
    fault: str


def nothing_muted(now_ns: int) -> Collection[str]:
    """Mute nothing."""
    return ()


class Poster:
    """All sinks of the policy, as it stands now."""

    def __init__(
        self,
        desk: Desk,
        *,
        notify: Callable[[], Sequence[NotifyConfig]],
        around: Surroundings,
        meters: Meters,
        rng: random.Random,
        muted: Callable[[int], Collection[str]] = nothing_muted,
    ) -> None:
        """``muted`` gives the fingerprints that nobody is to be told of now; called on a thread."""
        self._desk = desk
        self._notify = notify
        self._around = around
        self._clock = around.clock
        self._meters = meters
        self._rng = rng
        self._muted = muted
        self._open: dict[str, _Open] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._testing = asyncio.Lock()
        self._steps = 0

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                await self._begin_rounds()
            except TierwiseError as error:
                log.error("notices: %s; tried again in a second", error)
            except Exception:  # what fails here must not end the only way that news gets out
                log.exception("notices failed; tried again in a second")
            await asyncio.sleep(STEP_SECONDS)

    async def step(self) -> None:
        """Spread what is new, let every sink send what is due, and wait until all have."""
        await self._begin_rounds()
        await asyncio.gather(*self._rounds.values())

    async def close(self) -> None:
        """Break off what is being sent; it is sent again, under the same id, after a start."""
        tasks = list(self._rounds.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._open.values():
            if one.sink is not None:
                await one.sink.close()
        self._open.clear()

    # Rounds ------------------------------------------------------------------------------------

    async def _begin_rounds(self) -> None:
        await self._open_all()
        await asyncio.to_thread(self._spread_all)
        for name, one in self._open.items():
            running = self._rounds.get(name)
            if one.sink is not None and (running is None or running.done()):
                self._rounds[name] = asyncio.create_task(self._round(name, one.sink))

    async def _open_all(self) -> None:
        async with self._opening:
            await self._open_wanted(named(self._notify()))

    async def _open_wanted(self, wanted: Mapping[str, NotifyConfig]) -> None:
        for name in [name for name in self._open if name not in wanted]:
            await self._shut(name)
        for name, config in wanted.items():
            secrets = secrets_of(config, self._around.environment)
            made_of = (config, *secrets)
            known = self._open.get(name)
            if known is not None and known.made_of == made_of:
                continue
            await self._shut(name)
            self._open[name] = self._opened(name, config, made_of)

    def _opened(self, name: str, config: NotifyConfig, made_of: tuple[object, ...]) -> _Open:
        try:
            sink = open_sink(name, config, self._around)
        except ConfigError as error:
            log.error("sink %s cannot be used: %s", name, error)
            return _Open(config, made_of, None, str(error))
        return _Open(config, made_of, sink, "")

    async def _shut(self, name: str) -> None:
        task = self._rounds.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        known = self._open.pop(name, None)
        if known is not None and known.sink is not None:
            await known.sink.close()

    def _spread_all(self) -> None:
        now_ns = self._clock.now_ns()
        muted = self._muted(now_ns)
        for name, one in list(self._open.items()):
            route = route_of(name, one.config)
            with self._desk.transaction() as change:
                lost = spread(change, route, now_ns=now_ns, muted=muted)
                waiting = deliveries.pending(change, name)
                row = change.row("SELECT * FROM sinks WHERE sink = $sink", {"sink": name}) or {}
            if lost:
                self._dead(name, "queue_full", lost)
            self._meters.notify_pending.labels(name).set(waiting)
            usable = one.sink is not None and row.get("disabled") is None
            self._meters.notify_up.labels(name).set(usable)
            self._meters.notify_acknowledged.labels(name).set((row["acknowledged_ns"] or 0) / 1e9)
        self._steps += 1
        if self._open and self._steps % FORGET_STEPS == 1:
            with self._desk.transaction() as change:
                deliveries.forget(change, list(self._open), now_ns)

    async def _round(self, name: str, sink: Sink) -> None:
        """Send what is due at one sink, until it fails."""
        try:
            for _ in range(ROUND_MAX):
                if not await self._one(name, sink):
                    break
            if isinstance(sink, StateSink):
                await self._restate(name, sink)
            await self._prove(name)
        except TierwiseError as error:
            log.error("sink %s: %s", name, error)
        except Exception:  # a round that fails must not be the sink's last one
            log.exception("sink %s failed", name)

    async def _one(self, name: str, sink: Sink) -> bool:
        """Try one message; say whether another may follow."""
        row = await self._change(
            lambda change: deliveries.claim(change, name, self._clock.now_ns())
        )
        if row is None:
            return False
        answer = await self._try(name, sink.send(unpacked(row["body"])))
        given_up = await self._change(
            lambda change: deliveries.settle(
                change, name, row, answer, now_ns=self._clock.now_ns(), rng=self._rng
            )
        )
        if given_up is not None:
            self._dead(name, given_up, 1)
            log.error("sink %s: a message was given up (%s): %s", name, given_up, answer.message)
        return answer.verdict in (Verdict.ACCEPTED, Verdict.REFUSED)

    async def _restate(self, name: str, sink: StateSink) -> None:
        """Tell a sink that wants it all that fires and what ended lately, when it is time."""
        route = route_of(name, self._open[name].config)
        restating = Restating(route, muted=self._muted, clock=self._clock, rng=self._rng)
        due = await self._change(restating.due)
        if due is None:
            return
        answer = ACCEPTED
        if due.alerts:
            answer = await self._try(name, sink.state(due.alerts, now_ns=self._clock.now_ns()))
        await self._change(lambda change: restating.settle(change, due, answer))

    async def _try(self, name: str, sending: Awaitable[Answer]) -> Answer:
        try:
            answer = await sending
        except Exception as error:
            log.exception("sink %s failed", name)
            answer = Answer(verdict=Verdict.RETRY, message=type(error).__name__)
        self._meters.notify_tries.labels(name, str(answer.verdict)).inc()
        if answer.verdict is Verdict.GONE:
            log.error(
                "sink %s is disabled: its receiver wants nothing any more (%s); "
                "`tierwise alerts test --sink %s` enables it when it answers again",
                name, answer.message, name,
            )  # fmt: skip
        elif answer.verdict is Verdict.RETRY:
            log.warning("sink %s did not take a message: %s", name, answer.message)
        return answer

    def _dead(self, name: str, reason: str, count: int) -> None:
        self._meters.notify_dead.labels(name, reason).inc(count)

    async def _change(self, work: Callable[[Transaction], _Result]) -> _Result:
        def run() -> _Result:
            with self._desk.transaction() as change:
                return work(change)

        return await asyncio.to_thread(run)

    # Tests -------------------------------------------------------------------------------------

    async def test(self, only: str | None = None) -> list[Tested]:
        """Send a test to every sink, or to one, now, and keep which of them acknowledged it.

        Raises:
            KeyError: there is no sink of that name.
        """
        async with self._testing:
            await self._open_all()
            await asyncio.to_thread(self._spread_all)  # sinks that are new get their row
            if only is not None and only not in self._open:
                raise KeyError(only)
            names = [only] if only is not None else list(self._open)
            return list(await asyncio.gather(*(self._test(name) for name in names)))

    async def _test(self, name: str) -> Tested:
        one, at_ns = self._open[name], self._clock.now_ns()
        if one.sink is None:
            answer = Answer(verdict=Verdict.REFUSED, message=one.fault)
        else:
            digest = hashlib.blake2b(f"{name}\x1f{at_ns}".encode(), digest_size=15).hexdigest()
            message = trial(f"tw_{digest}", at_ns=at_ns, sink=name)
            answer = await self._try(name, one.sink.send(message))

        def write(change: Transaction) -> None:
            deliveries.note(change, name, answer, now_ns=at_ns, rng=self._rng)
            tested = "tested_ns = $now, " if answer.verdict is Verdict.ACCEPTED else ""
            change.run(
                f"UPDATE sinks SET {tested}test_tried_ns = $now WHERE sink = $sink",  # noqa: S608 - two constants
                {"sink": name, "now": at_ns},
            )

        await self._change(write)
        return Tested(
            sink=name,
            kind=one.config.kind,
            acknowledged=answer.verdict is Verdict.ACCEPTED,
            message=answer.message,
            at_ns=at_ns,
        )

    async def _prove(self, name: str) -> None:
        """Test a sink that has acknowledged nothing for as long as it may."""
        hours = self._open[name].config.prove_hours
        now_ns = self._clock.now_ns()

        def due(change: Transaction) -> bool:
            if not hours or not deliveries.ready(change, name, now_ns):
                return False
            row = change.row(
                "SELECT acknowledged_ns, test_tried_ns FROM sinks WHERE sink = $sink",
                {"sink": name},
            )
            assert row is not None, "a sink that is ready is known"
            proven, tried = row["acknowledged_ns"], row["test_tried_ns"]
            stale = proven is None or now_ns - proven >= hours * HOUR_NS
            return stale and (tried is None or now_ns - tried >= TEST_AGAIN_NS)

        if await self._change(due):
            await self._test(name)

    def standing(self) -> list[dict[str, Any]]:
        """Return how every sink stands, without any secret, for JSON."""
        rows = {row["sink"]: row for row in self._desk.rows("SELECT * FROM sinks")}
        dead = self._desk.rows(
            "SELECT sink, state, count(*) AS n FROM deliveries GROUP BY sink, state"
        )
        counts = {(row["sink"], row["state"]): row["n"] for row in dead}
        found = []
        for name, one in list(self._open.items()):
            row = rows.get(name, {})
            found.append({
                "name": name,
                "kind": one.config.kind,
                "fault": one.fault or None,
                "disabled": row.get("disabled"),
                "pending": counts.get((name, "due"), 0),
                "given_up": counts.get((name, "dead"), 0),
                "acknowledged_ns": row.get("acknowledged_ns"),
                "tested_ns": row.get("tested_ns"),
                "error": row.get("error"),
            })  # fmt: skip
        return found

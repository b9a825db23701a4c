"""One gateway process: wired from two files, served until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, Protocol

import uvicorn
import uvloop

from router import settings
from router.app import Health, create_app
from router.breaker import Breakers, RetryBudget
from router.budget import Ledger
from router.config import Config
from router.decider import Decider
from router.feedback import FeedbackDesk
from router.gateway import Gateway, Load
from router.grading import Graders
from router.lease import Leases
from router.line import Line
from router.listen import Address
from router.patience import patient
from router.policy import Policy
from router.reload import Loaded, Reloader
from router.request import Limits
from router.revisions import Revisions
from router.sessions import Memory
from router.shadowing import Shadows
from router.siblings import Siblings
from router.spending import Spending
from router.upstream import AiohttpUpstream
from telemetry.clock import Clock, SystemClock
from telemetry.exporter import Exporter
from telemetry.metrics import Meters

MIB: Final = 1_048_576
# Most objects of a step die by reference count; collecting rarely keeps pauses out of the tail.
GC_THRESHOLDS: Final = (50_000, 20, 50)
KEEP_ALIVE_SECONDS: Final = 75
RETIRE_SECONDS: Final = 600.0


class _Closing(Protocol):
    """What has something to give back at the end."""

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Which files a worker serves, and under which name."""

    config_path: Path
    policy_path: Path
    name: str  # gateway-0
    overrides: settings.Overrides
    line: Line | None = None  # to the gateway's other workers, if there are any


def run(worker: WorkerSettings, sock: socket.socket) -> int:
    """Serve on ``sock`` until SIGTERM or SIGINT, then let steps in flight finish; return 0.

    Raises:
        ConfigError: the files, a key or an endpoint of them cannot be used.
    """
    logging.basicConfig(
        level=os.environ.get("TIERWISE_LOG_LEVEL", "INFO").upper(),
        format=f"%(asctime)s %(levelname)s {worker.name} %(name)s: %(message)s",
    )
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it reports every look
    uvloop.run(_serve(worker, sock, clock=SystemClock(), environment=os.environ))
    return 0


async def _serve(
    worker: WorkerSettings, sock: socket.socket, *, clock: Clock, environment: Mapping[str, str]
) -> None:
    config = settings.load_config(worker.config_path, worker.overrides)
    rng, meters = random.Random(), Meters()  # noqa: S311 - ids and jitter, not secrets
    retired: list[asyncio.Task[None]] = []

    def told(replaced: Loaded | None) -> None:
        meters.policy_reloaded(ok=replaced is not None)
        if replaced is not None:
            _know_names(meters, reloader)
            retired[:] = [task for task in retired if not task.done()]
            retired.append(asyncio.create_task(_retire(replaced, clock)))

    reloader = Reloader(
        worker.config_path, worker.policy_path, environment=environment, clock=clock, told=told
    )
    _know_names(meters, reloader)
    exporter = _exporter(
        config, worker, meters=meters, clock=clock, rng=rng, environment=environment
    )
    upstream = AiohttpUpstream(config.gateway)
    console = _console(config, environment)
    leases = _leases(config, console, reloader=reloader, meters=meters, clock=clock)
    feedback = FeedbackDesk(console=console.url, token=console.token)
    shadows, graders = Shadows(rng=rng), Graders(rng=rng, verdicts=exporter)
    revisions = _revisions(config, console, meters=meters, clock=clock, rng=rng)
    siblings = Siblings(worker.line, Memory(clock=clock))
    gateway = Gateway(
        loaded=lambda: reloader.current,
        decider=revisions.decider,
        upstream=upstream,
        recorder=exporter,
        meters=meters,
        clock=clock,
        rng=rng,
        limits=_limits(config),
        load=Load(steps_max=config.gateway.steps_max),
        breakers=Breakers(clock=clock, rng=rng),
        retries=RetryBudget(clock=clock),
        memory=siblings.memory,
        spending=leases.spending,
        feedback=feedback,
        shadows=shadows,
        graders=graders,
        content_bytes_max=config.telemetry.content_bytes_max if config.telemetry.content else None,
    )
    health = _health(worker, reloader=reloader, revisions=revisions, meters=meters, clock=clock)
    server = _server(config, gateway, health)
    for talk in (exporter, leases, revisions, siblings):
        await talk.start()
    watch = asyncio.create_task(reloader.watch())
    _collect_rarely()
    try:
        with _ending(server, gateway.load):
            await server.serve(sockets=[sock])
    finally:
        await _call_off(watch, *retired)
        await _close(revisions, leases, shadows, graders, reloader.current.policy, upstream)
        await _close(feedback, siblings, exporter)  # that one last: others may have to record


async def _call_off(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _close(*parts: _Closing) -> None:
    for part in parts:
        await part.close()


def _limits(config: Config) -> Limits:
    return Limits(
        body_bytes=config.gateway.body_mb_max * MIB,
        body_seconds=config.gateway.timeouts.body_seconds,
    )


def _collect_rarely() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _retire(replaced: Loaded, clock: Clock) -> None:
    """Close what a replaced policy holds once the steps that began with it are surely over."""
    try:
        await clock.sleep(RETIRE_SECONDS)
    finally:
        await replaced.policy.close()


def _exporter(
    config: Config,
    worker: WorkerSettings,
    *,
    meters: Meters,
    clock: Clock,
    rng: random.Random,
    environment: Mapping[str, str],
) -> Exporter:
    token_env = config.collector.token_env
    key = "otlp_grpc" if config.telemetry.protocol == "grpc" else "otlp_http"
    address = Address.parse(getattr(config.collector, key), where=f"collector.{key}")
    return Exporter(
        config.telemetry,
        collector=address.reachable.url,
        collector_token=environment.get(token_env) if token_env else None,
        state_dir=config.state_dir,
        worker=worker.name,
        clock=clock,
        rng=rng,
        meters=meters,
        env=environment,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Console:
    """Where the collector's console is, and the token that it asks for."""

    url: str
    token: str | None


def _console(config: Config, environment: Mapping[str, str]) -> _Console:
    token_env = config.collector.token_env
    address = Address.parse(config.collector.console, where="collector.console")
    return _Console(
        url=address.reachable.url, token=environment.get(token_env) if token_env else None
    )


def _leases(
    config: Config, console: _Console, *, reloader: Reloader, meters: Meters, clock: Clock
) -> Leases:
    return Leases(
        Spending(ledger=Ledger(shares=config.gateway.workers)),
        url=console.url,
        token=console.token,
        worker=os.urandom(8).hex(),
        clock=clock,
        meters=meters,
        wanted=lambda: _spends(reloader.current.policy),
    )


def _spends(policy: Policy) -> bool:
    """Say whether a policy limits spend that processes share: by budgets, or for shadow runs."""
    return bool(policy.file.budgets) or any(
        rules.shadow is not None for rules in policy.rules.values()
    )


def _revisions(
    config: Config, console: _Console, *, meters: Meters, clock: Clock, rng: random.Random
) -> Revisions:
    return Revisions(
        Decider(),
        url=console.url,
        token=console.token,
        state_dir=config.state_dir,
        clock=clock,
        rng=rng,
        meters=meters,
    )


def _health(
    worker: WorkerSettings,
    *,
    reloader: Reloader,
    revisions: Revisions,
    meters: Meters,
    clock: Clock,
) -> Health:
    def warnings() -> tuple[str, ...]:
        today = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).date()
        return reloader.current.policy.warnings(today)

    return Health(
        version=metadata.version("tierwise"),
        worker=worker.name,
        metrics=meters.render,
        reload_error=lambda: reloader.error,
        warnings=warnings,
        revision=revisions.state,
    )


def _know_names(meters: Meters, reloader: Reloader) -> None:
    policy = reloader.current.policy
    meters.know(
        roles=policy.roles,
        tiers=policy.ladder,
        models={model for tier in policy.file.tiers.values() for model in tier.models},
    )


def _server(config: Config, gateway: Gateway, health: Health) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            create_app(gateway, health),
            http=patient(
                head_seconds=config.gateway.timeouts.head_seconds,
                write_seconds=config.gateway.timeouts.write_seconds,
                connections_max=config.gateway.connections_max,
            ),
            loop="uvloop",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # who calls is said by client keys, never by a header
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(config.gateway.drain_seconds),
        )
    )


class _Server(uvicorn.Server):
    """uvicorn's server, leaving signals to us: after them the exporter still has to flush."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _ending(server: uvicorn.Server, load: Load) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server, steps in flight first."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        load.draining = True
        server.should_exit = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

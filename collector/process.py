"""The collector's process: one event loop for three ports, a decoder thread, a writer thread."""

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import grpc
import uvicorn
import uvloop

from collector.access import Access
from collector.config import CollectorConfig
from collector.console import Parts, console
from collector.control import Control, Room
from collector.desk import Desk, desk_path
from collector.duckdb_file import exports_folder
from collector.duckdb_store import DuckDBStore
from collector.intake import Intake, Limits, Rules
from collector.meters import Meters
from collector.normalising import Normaliser, evaluators_of
from collector.otlp_grpc import grpc_server
from collector.otlp_http import OtlpHttp
from collector.pricing import BookPricing, Pricing
from collector.quota import Quota
from collector.sinks.notices import Notices
from collector.store import Store
from collector.writer import Writer
from telemetry.clock import Clock, SystemClock
from telemetry.config import TelemetryConfig
from telemetry.errors import ConfigError
from telemetry.prices import PriceBook
from telemetry.terms import Terms

DRAIN_SECONDS: Final = 10.0
STOP_SECONDS: Final = 30.0
BACKLOG: Final = 1_024

log = logging.getLogger("tierwise.collector")


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, which has two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    config: CollectorConfig,
    *,
    pricing: Pricing | None = None,
    terms: Callable[[], Terms | None] = lambda: None,
    telemetry: TelemetryConfig | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then answer what is under way, commit it and return 0.

    ``pricing`` prices foreign calls; the catalogue's prices when absent. ``terms`` says what the
    policy declares at the time it is asked; without any nothing is learned, and evaluators' words
    mean what they mean to everybody. Alerts may go to the endpoints of ``telemetry``.

    Raises:
        ConfigError: a port is taken or a token is missing.
        StoreError: the store cannot be opened; the message names who holds it.
    """
    atexit.register(_hush)
    clock = SystemClock()
    if pricing is None:
        pricing = BookPricing(PriceBook({}, at=datetime.now(tz=UTC)))
    meters = Meters()
    access = Access.from_env(config.token_env, keys=config.keys, console=config.console)
    normaliser = Normaliser(lambda: evaluators_of(terms()))
    sockets = [listening(config.otlp_http), listening(config.console)]
    writer = Writer(lambda: _store(config, clock), meters=meters, clock=clock)
    desk: Desk | None = None
    try:
        store = writer.start()
        desk = Desk(desk_path(config.store))
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 50)  # rows are short-lived and hold no cycles
        wiring = Wiring(
            config=config,
            store=store,
            writer=writer,
            meters=meters,
            clock=clock,
            access=access,
            rules=Rules(pricing=pricing, normaliser=normaliser, authenticated=access.required),
            desk=desk,
            terms=terms,
            telemetry=telemetry or TelemetryConfig(),
        )
        collector = Collector(wiring)
        return uvloop.run(collector.serve(sockets))
    finally:
        for each in sockets:
            each.close()
        if desk is not None:
            desk.close()


def _hush() -> None:
    """Let the last moments of the interpreter pass in silence.

    DuckDB's binding reports its own statics as leaks then, a screenful of them after every stop.
    """
    nothing = os.open(os.devnull, os.O_WRONLY)
    sys.stderr.flush()
    os.dup2(nothing, 2)


def _store(config: CollectorConfig, clock: Clock) -> Store:
    return DuckDBStore(
        config.store,
        now_ns=clock.now_ns(),
        memory_mb=config.memory_mb,
        threads=config.threads,
        keep_days=(config.spans_days, config.calls_days),
    )


def listening(address: str) -> socket.socket:
    """Return a socket that listens on ``host:port``.

    Raises:
        ConfigError: the address cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(BACKLOG)
    except (OSError, OverflowError, ValueError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen on {address}: {reason}", hint="is another collector running?"
        ) from error
    made.setblocking(False)
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Wiring:
    """What the running collector is made of."""

    config: CollectorConfig
    store: Store
    writer: Writer
    meters: Meters
    clock: Clock
    access: Access
    rules: Rules
    desk: Desk
    terms: Callable[[], Terms | None]
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)


class Collector:
    """The running parts, in the order in which they start and stop."""

    def __init__(self, wiring: Wiring) -> None:
        config, meters, access = wiring.config, wiring.meters, wiring.access
        body_bytes = config.body_mb_max * 1_048_576
        self._config = config
        self._writer = wiring.writer
        self._terms = wiring.terms
        intake = self._intake = Intake(
            wiring.writer,
            rules=wiring.rules,
            meters=meters,
            clock=wiring.clock,
            limits=Limits(
                queue_rows=config.queue_spans, body_bytes=body_bytes, content=config.content
            ),
        )
        room = Room(
            desk=wiring.desk,
            store=wiring.store,
            terms=wiring.terms,
            meters=meters,
            clock=wiring.clock,
            access=access,
        )
        self._control = Control(room)
        muted = self._control.alerting.alerts.muted
        self._notices = Notices(room, telemetry=wiring.telemetry, muted=muted)
        self._control.routes.append(self._notices.routes())
        receiver = OtlpHttp(intake, access=access, meters=meters, body_bytes_max=body_bytes)
        parts = Parts(
            store=wiring.store,
            intake=intake,
            meters=meters,
            clock=wiring.clock,
            access=access,
            normaliser=wiring.rules.normaliser,
            exports=exports_folder(config.store),
            healthy=wiring.writer.trouble,
            control=self._control,
            quota=Quota(config.feedback_per_hour),
        )
        self._servers = [_server(receiver), _server(console(parts))]
        self._make_rpc = partial(
            grpc_server, intake, access=access, meters=meters, body_bytes_max=body_bytes
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None
        self._rpc: grpc.aio.Server | None = None

    async def start(self, sockets: list[socket.socket]) -> int:
        """Serve HTTP on the two sockets and gRPC on its address; return the gRPC port.

        Raises:
            ConfigError: the gRPC address cannot be had.
        """
        self._rpc = self._make_rpc()
        try:
            port = self._rpc.add_insecure_port(self._config.otlp_grpc)
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {self._config.otlp_grpc}: {str(error)[:200]}",
                hint="is another collector running?",
            ) from error
        await self._rpc.start()
        self._tasks = [
            asyncio.create_task(server.serve(sockets=[each]))
            for server, each in zip(self._servers, sockets, strict=True)
        ]
        self._ticking = asyncio.create_task(self._control.run())
        self._notices.start()
        return int(port)

    async def stop(self) -> bool:
        """Answer what is under way, commit it and close the store; say whether that worked."""
        if self._ticking is not None:
            self._ticking.cancel()  # a tick that has begun ends in its thread
        await self._notices.stop()
        await self._intake.drain(DRAIN_SECONDS)
        for server in self._servers:
            server.should_exit = True
        if self._rpc is not None:
            await self._rpc.stop(grace=1.0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_SECONDS)
        return await asyncio.to_thread(self._writer.stop, STOP_SECONDS)

    async def serve(self, sockets: list[socket.socket]) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP looks at the policy again; return the exit code."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._terms)
        try:
            await self.start(sockets)
        except ConfigError:
            await self.stop()
            raise
        log.info("collector is listening")
        await stopped.wait()
        log.info("collector is draining")
        return 0 if await self.stop() else 1


def _server(app: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=int(DRAIN_SECONDS),
            timeout_keep_alive=75,
        )
    )

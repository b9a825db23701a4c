"""Which processes `serve`, `gateway` and `collector` start and keep running."""

import contextlib
import logging
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collector.access import Access
from router.cli.announce import Announcer
from router.cli.output import Screen
from router.cli.probe import console_answers, livez
from router.config import Config
from router.line import Line, hang_up, lines
from router.listen import Address, bind, bound
from router.policyfile import PolicyFile
from router.reload import build
from router.roles import DEFAULT
from router.settings import Overrides, load, load_config
from router.supervise import Child, Supervisor
from router.terms import TermsFile
from telemetry.clock import Clock, SystemClock
from telemetry.configfile import read
from telemetry.errors import ConfigError
from telemetry.prices import PriceBook

PROBE_SECONDS = 0.25
COLLECTOR_DRAIN_SECONDS = 45.0  # to write what has been received
COLLECTOR_START_SECONDS = 10.0  # a slower collector does not hold back the word that all is ready
# The learner's matrices are small: threads for them cost more than they do, and steal cores.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
LOG_FORMAT = "%(asctime)s %(levelname)s collector %(name)s: %(message)s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Both files as a command was given them, and the flags above them."""

    config_path: Path
    policy_path: Path
    overrides: Overrides


def run_gateway(files: Files, name: str, sock: socket.socket, line: Line | None = None) -> int:
    """Be one gateway worker; runs in a child process."""
    from router.worker import WorkerSettings, run  # noqa: PLC0415 - the parent stays small

    settings = WorkerSettings(
        config_path=files.config_path,
        policy_path=files.policy_path,
        name=name,
        overrides=files.overrides,
        line=line,
    )
    return run(settings, sock)


def run_collector(files: Files) -> int:
    """Be the collector; runs in a child process."""
    from collector.pricing import BookPricing  # noqa: PLC0415 - the parent stays small
    from collector.process import run  # noqa: PLC0415 - the parent stays small

    logging.basicConfig(
        level=os.environ.get("TIERWISE_LOG_LEVEL", "INFO").upper(), format=LOG_FORMAT
    )
    config = load_config(files.config_path, files.overrides)
    prices = PriceBook(config.prices, at=datetime.now(UTC))
    terms = TermsFile(files.config_path, files.policy_path, clock=SystemClock())
    return run(
        config.collector,
        pricing=BookPricing(prices),
        terms=terms.current,
        telemetry=config.telemetry,
    )


def checked(files: Files) -> tuple[Config, PolicyFile]:
    """Return both files, having seen that a gateway could start from them.

    Raises:
        ConfigError: naming file, key or variable and the remedy, before anything is started.
    """
    config, policy = load(files.config_path, files.policy_path, files.overrides)
    build(
        read(files.config_path),
        read(files.policy_path),
        environment=os.environ,
        today=datetime.now(UTC).date(),
        directory=files.policy_path.parent,
    )
    return config, policy


def keep_running(files: Files, *, screen: Screen, gateway: bool, collector: bool) -> int:
    """Run gateway workers, the collector, or both until a signal ends them; return an exit code.

    Raises:
        ConfigError: when a file is wrong or an address is taken, before anything is started, or
            when the processes refuse their configuration.
        TierwiseError: when they never start for another reason.
    """
    clock = SystemClock()
    paths = (files.config_path, files.policy_path, files.overrides)
    config, policy = checked(files) if gateway else load(*paths)
    if collector:
        at = config.collector
        Access.from_env(at.token_env, keys=at.keys, console=at.console)
    with contextlib.ExitStack() as stack:
        listeners = []
        if gateway:
            listeners.append(stack.enter_context(_listener(config)))
            files = _with(files, gateway=_listens(config, listeners[0]))
        if collector:
            files = _with(files, **_free_addresses(config))
        config = load_config(files.config_path, files.overrides)
        metrics = stack.enter_context(_metrics_dir(config)) if gateway else None
        children = _workers(files, config, listeners, metrics, stack)
        if collector:
            children.append(_collector(files, essential=not gateway))
        supervisor = Supervisor(
            children,
            listeners=listeners,
            ready=_readiness(config, gateway=gateway, collector=collector, clock=clock),
            tell=Announcer(
                screen,
                gateway=config.gateway if gateway else None,
                collector=config.collector if collector else None,
                roles=sorted({*policy.roles, DEFAULT}),
                forget=_forgetter(metrics),
            ).tell,
            clock=clock,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
        )
        return supervisor.run()


def _with(files: Files, **addresses: Any) -> Files:
    return replace(files, overrides=replace(files.overrides, **addresses))


def _listener(config: Config) -> socket.socket:
    return bind(Address.parse(config.gateway.listen, where="--gateway"), where="--gateway")


def _listens(config: Config, sock: socket.socket) -> str:
    """Return where ``sock`` listens, as the configuration writes it."""
    return str(bound(sock, Address.parse(config.gateway.listen, where="--gateway")))


def _readiness(
    config: Config, *, gateway: bool, collector: bool, clock: Clock
) -> Callable[[], bool]:
    """Return what says whether all serve; beside a gateway, a collector that dawdles may."""
    patience_ends = clock.monotonic() + COLLECTOR_START_SECONDS
    listen = Address.parse(config.gateway.listen, where="--gateway")
    console = Address.parse(config.collector.console, where="--console")

    def ready() -> bool:
        if gateway and livez(listen, timeout_seconds=PROBE_SECONDS) is None:
            return False
        if not collector or (gateway and clock.monotonic() >= patience_ends):
            return True
        return console_answers(console, timeout_seconds=PROBE_SECONDS)

    return ready


def _workers(
    files: Files,
    config: Config,
    listeners: Sequence[socket.socket],
    metrics: Path | None,
    stack: contextlib.ExitStack,
) -> list[Child]:
    workers = config.gateway.workers
    between = lines(workers) if listeners and workers > 1 else []
    stack.callback(hang_up, between)
    return [
        Child(
            name=(name := f"gateway-{number}"),
            run=run_gateway,
            arguments=(files, name, listener, between[number] if between else None),
            environment={"PROMETHEUS_MULTIPROC_DIR": str(metrics)} if metrics else {},
            drain_seconds=config.gateway.drain_seconds,
        )
        for listener in listeners
        for number in range(workers)
    ]


def _collector(files: Files, *, essential: bool) -> Child:
    """Return the collector; beside a gateway it is not essential: its death stops no step."""
    return Child(
        name="collector",
        run=run_collector,
        arguments=(files,),
        environment={name: os.environ.get(name, "1") for name in BLAS_THREADS},
        essential=essential,
        drain_seconds=COLLECTOR_DRAIN_SECONDS,
    )


def _free_addresses(config: Config) -> dict[str, str]:
    """Return the collector's addresses by key, every port 0 replaced by a free one.

    Raises:
        ConfigError: when one of them is taken or two are the same.
    """
    addresses = {}
    with contextlib.ExitStack() as held:
        for key in ("otlp_http", "otlp_grpc", "console"):
            flag = f"--{key.replace('_', '-')}"
            wanted = Address.parse(getattr(config.collector, key), where=flag)
            sock = held.enter_context(bind(wanted, where=flag))
            addresses[key] = str(bound(sock, wanted))
    return addresses


@contextlib.contextmanager
def _metrics_dir(config: Config) -> Iterator[Path | None]:
    """Make a fresh folder in which several workers keep one set of metrics; None for one worker.

    Folders of supervisors that were killed are removed on the way.
    """
    if config.gateway.workers == 1:
        yield None
        return
    _make(config.state_dir)
    for left in config.state_dir.glob("metrics-*"):
        if not _alive(left.name.removeprefix("metrics-")):
            shutil.rmtree(left, ignore_errors=True)
    folder = config.state_dir / f"metrics-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    _make(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"state_dir: cannot make {folder}: {error.strerror or error}",
            hint="set state_dir in tierwise.toml to a folder that this user may write",
        ) from error


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _forgetter(metrics: Path | None) -> Callable[[int], None]:
    """Return what drops a dead worker's live gauges, so that they are not summed for ever."""

    def forget(pid: int) -> None:
        for left in metrics.glob(f"gauge_live*_{pid}.db") if metrics else ():
            left.unlink(missing_ok=True)

    return forget

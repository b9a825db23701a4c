"""Both files, loaded together and reloaded while steps flow: all of it, or the old one stays."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from router.callers import Callers
from router.config import Config
from router.policy import Policy
from router.policyfile import PolicyFile
from router.rules import Fault, refuse
from router.targets import Targets
from telemetry.clock import Clock
from telemetry.configfile import parse, read
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.1
SETTLE_ROUNDS_MAX = 20
LOOK_EVERY_SECONDS = 5.0  # where the file system tells nobody of changes


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What both files say at one moment; a step keeps the one it began with."""

    config: Config
    policy: Policy
    callers: Callers


def build(
    config: bytes,
    policy: bytes,
    *,
    environment: Mapping[str, str],
    today: date,
    directory: Path | None = None,
) -> Loaded:
    """Return what tierwise.toml and policy.toml say, given as their bytes.

    ``directory`` is where policy.toml stands; functions of the tier `code` are looked for there.

    Raises:
        ConfigError: naming file, key and remedy of whatever is wrong.
    """
    parsed = parse(config, Config, name="tierwise.toml")
    file = parse(policy, PolicyFile, name="policy.toml")
    targets = Targets(parsed, environment, today=today)
    built = Policy.build(file, targets, today=today, directory=directory)
    refuse([*key_faults(parsed, built.roles), *budget_faults(parsed, file)])
    return Loaded(config=parsed, policy=built, callers=Callers(parsed.keys, environment))


def key_faults(config: Config, roles: frozenset[str]) -> list[Fault]:
    """Return one fault for each role that a client key names and the policy does not have."""
    faults = []
    for key in config.keys:
        for role in dict.fromkeys((*([key.role] if key.role else []), *(key.roles or ()))):
            if role not in roles:
                faults.append(
                    Fault(
                        file="tierwise.toml",
                        where=f"keys.{key.name}",
                        message=f"policy.toml has no role {role!r}",
                        remedy=f"add [roles.{role}] there or correct the key"
                        + nearest_name(role, roles),
                    )
                )
        if key.role and key.roles is not None and key.role not in key.roles:
            faults.append(
                Fault(
                    file="tierwise.toml",
                    where=f"keys.{key.name}",
                    message=f"its default role {key.role!r} is not among the roles it may use",
                    remedy=f"add {key.role!r} to its roles",
                )
            )
    return faults


def budget_faults(config: Config, file: PolicyFile) -> list[Fault]:
    """Return one fault for each budget of a client key that no key counts towards."""
    known = {name for key in config.keys for name in (key.name, key.budget) if name}
    return [
        Fault(
            where=f"budgets.{index}.name",
            message=f"no client key of tierwise.toml, nor its budget, is called {budget.name!r}",
            remedy=f"correct the name{nearest_name(budget.name, known)}",
        )
        for index, budget in enumerate(file.budgets)
        if budget.scope == "key" and budget.name is not None and budget.name not in known
    ]


def restart_keys(started: Config, now: Config) -> tuple[str, ...]:
    """Return the tables whose change waits for a restart: a running process cannot take them up."""
    waiting: list[str] = []
    for key in ("state_dir", "gateway", "collector", "telemetry"):
        if getattr(started, key) != getattr(now, key):
            waiting.append(key)
    return tuple(waiting)


def folders_of(paths: Iterable[Path]) -> set[Path]:
    """Return the folders where a change of ``paths`` shows: theirs, and those they link to."""
    folders = {
        folder for path in paths for folder in (path.parent.resolve(), path.resolve().parent)
    }
    return {folder for folder in folders if folder.is_dir()}


class Reloader:
    """Holds the current ``Loaded`` and replaces it, in one assignment, when the files change."""

    def __init__(
        self,
        config: Path,
        policy: Path,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        told: Callable[["Loaded | None"], None] = lambda replaced: None,
    ) -> None:
        """Load both files; raise ``ConfigError`` when they cannot be served.

        ``told`` hears of every reload: with what was replaced, or None when it was refused.
        """
        self._paths = (config, policy)
        self._environment = environment
        self._clock = clock
        self._told = told
        self.error: str | None = None  # why the last reload was refused
        self.reloads = 0  # successful ones after the first load
        self.failures = 0
        self._contents = self._read()
        self.current = self._build(self._contents)
        self._started = self.current.config

    def reload(self) -> bool:
        """Load both files again; on any fault keep what is there, say why, and return False."""
        try:
            self._contents = ()
            contents = self._read()
            self._contents = contents
            loaded = self._build(contents)
        except ConfigError as error:
            return self._refuse(str(error))
        except Exception:  # a fault of ours must not take the gateway down with it
            logger.exception("reload failed")
            return self._refuse("the reload failed for an internal reason; the log has the details")
        old, self.current, self.error = self.current, loaded, None
        self.reloads += 1
        logger.info("reloaded: policy %s in place of %s", loaded.policy.hash, old.policy.hash)
        for key in restart_keys(self._started, loaded.config):
            logger.warning("tierwise.toml: %s changed; it takes effect after a restart", key)
        self._told(old)
        return True

    async def watch(self) -> None:
        """Reload on SIGHUP and whenever either file's content changes, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, self.reload)
        except (AttributeError, NotImplementedError, RuntimeError, ValueError):
            logger.info("no SIGHUP here; changes of the files are still noticed")
        try:
            async for _ in self._stirrings():
                if await self._settled() != self._contents:
                    self.reload()
        finally:
            if hasattr(signal, "SIGHUP"):
                loop.remove_signal_handler(signal.SIGHUP)

    async def _stirrings(self) -> AsyncIterator[Any]:
        """Yield whenever something moved beside the files, and now and then in any case.

        Folders are watched, not files: editors and config maps replace files by renaming.
        """
        from watchfiles import awatch  # noqa: PLC0415 - only a gateway watches

        while True:
            try:
                async for changes in awatch(
                    *folders_of(self._paths),
                    watch_filter=None,
                    recursive=False,
                    debounce=500,
                    rust_timeout=int(LOOK_EVERY_SECONDS * 1000),
                    yield_on_timeout=True,
                ):
                    yield changes
            except (OSError, RuntimeError) as error:  # out of watches, folder gone ...
                logger.warning("cannot watch the files (%s); looking now and then", error)
                await self._clock.sleep(LOOK_EVERY_SECONDS)
                yield None

    async def _settled(self) -> tuple[bytes, ...]:
        """Return both files once two looks in a row agree: a half-written file may be valid."""
        last = self._peek()
        for _ in range(SETTLE_ROUNDS_MAX):
            await self._clock.sleep(SETTLE_SECONDS)
            now = self._peek()
            if now == last:
                break
            last = now
        return last

    def _peek(self) -> tuple[bytes, ...]:
        """Return both files' bytes, or nothing when either cannot be read."""
        try:
            return self._read()
        except ConfigError:
            return ()

    def _read(self) -> tuple[bytes, ...]:
        return tuple(read(path) for path in self._paths)

    def _build(self, contents: tuple[bytes, ...]) -> Loaded:
        today = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC).date()
        config, policy = contents
        return build(
            config,
            policy,
            environment=self._environment,
            today=today,
            directory=self._paths[1].absolute().parent,
        )

    def _refuse(self, message: str) -> bool:
        self.error = message
        self.failures += 1
        logger.error("reload refused, the old policy stays: %s", message)
        self._told(None)
        return False

"""`tierwise eval run`: cases on several tiers, and whether the cheap one matches the dear one."""

import asyncio
import json as jsonlib
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evals.suite import Suite, load_suite
from evals.suite_report import Report, markdown, report, sentence, share
from evals.suite_run import Run, run_suite
from router import settings
from router.cli import exits, options
from router.cli.evalask import Direct, ThroughGateway
from router.cli.output import Screen, console
from router.config import Config
from router.listen import Address
from router.policyfile import PolicyFile
from router.rules import CODE
from router.targets import Targets, secret
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name

if TYPE_CHECKING:
    import aiohttp

ANSWERS: Final = "answers.ndjson"
Files = tuple[Config, PolicyFile]


def run_suite_file(  # noqa: PLR0913 - one parameter per flag
    suite: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="Cases, checks and tiers.")],
    *,
    tier: Annotated[
        list[str] | None,
        typer.Option(metavar="TIER", help="A tier to ask; the last one given is the yardstick."),
    ] = None,
    usd_max: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Spend at most so much.")
    ] = None,
    uncapped: Annotated[
        bool, typer.Option("--uncapped", help="Without any limit of spend, or prices.")
    ] = False,
    direct: Annotated[
        bool, typer.Option("--direct", help="Ask the providers themselves, past the gateway.")
    ] = False,
    key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the gateway's client key."),
    ] = None,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="Post each verdict as feedback on its decision.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write report.json, report.md and the answers there."),
    ] = None,
    gateway: options.GatewayAt = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    json: options.Json = False,
) -> None:
    """Ask each case on each tier, judge the answers, compare the tiers pair by pair.

    Through the running gateway, where the role may be pinned by callers; a call on a tier is one
    step of the suite's role. Nothing is spent before the whole suite was read.
    """
    screen = Screen(json=json)
    loaded = load_suite(suite)
    files = settings.load(config, policy, settings.Overrides(gateway=gateway))
    tiers = tuple(tier or loaded.file.tiers)
    _must_be_asked(tiers, files[1])
    most = None if uncapped else loaded.file.usd_max if usd_max is None else usd_max
    way = _Way(suite=loaded, files=files, direct=direct, key_env=key_env, feedback=feedback)
    run = asyncio.run(way.walk(tiers, usd_max=most, screen=screen))
    found = report(run, suite=loaded.file.name, tiers=tiers, margin=loaded.file.margin)
    if out is not None:
        _write(out, found, run)
    screen.result(found.plain())
    _show(screen, found)
    if run.stopped is not None or any(one.errors for one in found.tiers):
        raise typer.Exit(exits.WRONG)


def _must_be_asked(tiers: Sequence[str], policy: PolicyFile) -> None:
    if not tiers:
        raise ConfigError("no tier to ask", hint="name them in the suite's tiers, or by --tier")
    for number, tier in enumerate(tiers):
        if tier not in policy.tiers or tier == CODE:
            raise ConfigError(
                f"tier {tier!r} has no models in policy.toml",
                hint=f"tiers: {', '.join(policy.tiers)}{nearest_name(tier, policy.tiers)}",
            )
        if tier in tiers[:number]:
            raise ConfigError(f"tier {tier!r} is named twice", hint="name it once")


class _Way:
    """How the cases are asked."""

    def __init__(
        self, *, suite: Suite, files: Files, direct: bool, key_env: str | None, feedback: bool
    ) -> None:
        if direct and feedback:
            raise ConfigError("--feedback needs the gateway", hint="leave --direct out")
        self._suite, self._direct, self._feedback = suite, direct, feedback
        self._config, self._policy = files
        self._key = None if key_env is None else secret(key_env, os.environ, user="--key-env")

    async def walk(self, tiers: tuple[str, ...], *, usd_max: float | None, screen: Screen) -> Run:
        """Run the suite with a progress bar on stderr."""
        import aiohttp  # noqa: PLC0415 - large, and only a run asks anybody

        timeout = aiohttp.ClientTimeout(total=self._suite.file.seconds)
        planned = len(self._suite.cases) * len(tiers)
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console(sys.stderr), transient=True,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip
        async with aiohttp.ClientSession(timeout=timeout) as session:
            ask = self._asker(session, tiers)
            try:
                with bar:
                    task = bar.add_task(self._suite.file.name, total=planned)
                    run = await run_suite(
                        self._suite, ask, tiers=tiers, usd_max=usd_max,
                        progress=lambda _: bar.advance(task),
                    )  # fmt: skip
            finally:
                await self._suite.close()
            if self._feedback and isinstance(ask, ThroughGateway):
                taken = [await ask.tell(one, suite=self._suite.file.name) for one in run.outcomes]
                screen.note(f"feedback: {sum(taken)} of {len(taken)} verdicts were taken")
            return run

    def _asker(
        self, session: "aiohttp.ClientSession", tiers: tuple[str, ...]
    ) -> ThroughGateway | Direct:
        file = self._suite.file
        models = {tier: self._policy.tiers[tier].models[0] for tier in tiers}
        if not self._direct:
            address = Address.parse(self._config.gateway.listen, where="gateway.listen")
            return ThroughGateway(
                session=session, origin=address.reachable.url, role=file.role,
                dialect=file.dialect, models=models, key=self._key,
            )  # fmt: skip
        found = Targets(self._config, os.environ, today=datetime.now(UTC).date())
        targets = {tier: found.target(model, file.dialect) for tier, model in models.items()}
        for target in targets.values():
            if file.dialect not in target.dialects:
                raise ConfigError(
                    f"{target.model} does not speak {file.dialect}", hint="change the dialect"
                )
        params = {tier: self._policy.tiers[tier].params.get(file.dialect, {}) for tier in tiers}
        return Direct(session=session, dialect=file.dialect, targets=targets, params=params)


def _write(folder: Path, found: Report, run: Run) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(jsonlib.dumps(found.plain(), indent=1), "utf-8")
        (folder / "report.md").write_text(markdown(found), "utf-8")
        lines = [jsonlib.dumps(asdict(outcome), ensure_ascii=False) for outcome in run.outcomes]
        (folder / ANSWERS).write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: {error.strerror or error}", hint="name a folder that can be written"
        ) from error


def _show(screen: Screen, found: Report) -> None:
    table = Table(box=None, pad_edge=False)
    columns = ("tier", "cases", "passed (95 %)", "abstained", "errors", "usd", "usd/case", "p50 s")
    for name in columns:
        table.add_column(name, justify="left" if name in ("tier", "passed (95 %)") else "right")
    for one in found.tiers:
        table.add_row(
            one.tier, str(one.cases), share(one.passed), str(one.abstained), str(one.errors),
            _usd(one.cost_usd), _usd(one.cost_per_case_usd), f"{one.median_seconds:.2f}",
        )  # fmt: skip
    screen.show(table)
    for pair in found.pairs:
        screen.say(sentence(pair))
    screen.say(
        f"{found.made} of {found.planned} calls were made for {_usd(found.spent_usd)}; "
        f"a tier matches when it is no worse by more than {found.margin * 100:g} points"
    )
    if found.stopped is not None:
        screen.say(f"stopped early: {found.stopped}", style="bold red")


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.4g}"

"""`tierwise eval judge`: what a judge is worth, on answers that people graded."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from evals.catalogue import build_checks
from evals.gold import Gold, Worth, load_gold, measure, pairs_of
from evals.judge import LlmJudge
from evals.suite_report import share
from evals.suite_stats import Difference
from router import settings
from router.cli import exits, options
from router.cli.output import Screen, console
from router.listen import Address
from telemetry.configfile import read
from telemetry.errors import ConfigError


def judge(  # noqa: PLR0913 - a flag is a parameter
    gold: Annotated[
        Path, typer.Argument(metavar="GOLD.ndjson", help="Answers with the labels pass and fail.")
    ],
    *,
    rubric: Annotated[Path, typer.Option(metavar="FILE", help="What a good answer is.")],
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="The role that the judge is asked under.")
    ] = "judge",
    usd_max: Annotated[
        float, typer.Option(min=0, metavar="USD", help="Spend about so much at most.")
    ] = 1.0,
    key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the gateway's client key."),
    ] = None,
    gateway: options.GatewayAt = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    json: options.Json = False,
) -> None:
    """Measure a judge's agreement with people, and its biases, through the running gateway.

    Exits with 1 when it may not be relied on, and says why: a judge that always passes is caught.
    """
    screen = Screen(json=json)
    items = load_gold(gold)
    loaded = settings.load_config(config, settings.Overrides(gateway=gateway))
    address = Address.parse(loaded.gateway.listen, where="gateway.listen").reachable
    text = (
        read(rubric, remedy="name a text file that says what a good answer is")
        .decode("utf-8", "replace")
        .strip()
    )
    spec: dict[str, Any] = {
        "check": "llm_judge",
        "rubric": text,
        "role": role,
        "url": f"{address.url}/v1/chat/completions",
    }
    if key_env is not None:
        spec["key_env"] = key_env
    found = asyncio.run(_measured(spec, items, usd_max=usd_max))
    screen.result(found.plain())
    _show(screen, found)
    if found.silent == found.answers:
        raise ConfigError(
            f"the judge gave no verdict at all at {address.url} under role {role!r}",
            hint="is the gateway running, and does policy.toml have that role?",
        )
    if not found.usable:
        raise typer.Exit(exits.WRONG)


async def _measured(spec: dict[str, Any], items: list[Gold], *, usd_max: float) -> Worth:
    (made,) = build_checks([spec])
    assert isinstance(made, LlmJudge), "llm_judge makes a judge"
    bar = Progress(
        TextColumn("judging"), BarColumn(), MofNCompleteColumn(), console=console(sys.stderr),
        transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    try:
        with bar:
            task = bar.add_task("judging", total=len(items) + len(pairs_of(items)))
            return await measure(made, items, usd_max=usd_max, progress=lambda: bar.advance(task))
    finally:
        await made.close()


def _show(screen: Screen, found: Worth) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    rows = (
        ("agreement", share(found.agreement)),
        ("sensitivity (good answers passed)", share(found.sensitivity)),
        ("specificity (bad answers failed)", share(found.specificity)),
        ("kappa", _between(found.kappa)),
        ("length bias (bad answers: longer half passed oftener by)", _between(found.length_bias)),
        ("position bias (chose what stood first; half is none)", share(found.position_first)),
        ("same choice in both orders", share(found.position_consistent)),
        ("preferred the good answer", share(found.preferred_good)),
        ("without a verdict", f"{found.silent} of {found.answers}"),
        ("spent", f"${found.spent_usd:,.4g}" + (", partly unknown" if found.unpriced else "")),
    )
    for row in rows:
        table.add_row(*row)
    screen.show(table)
    if found.usable:
        screen.say("usable: it tells good answers from bad ones, within these intervals")
    for reason in found.reasons:
        screen.say(f"not usable: {reason}", style="bold red")


def _between(found: Difference | None) -> str:
    if found is None:
        return "unknown"
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"

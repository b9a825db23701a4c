"""`tierwise learn`: what the learner knows, what it aims at and what holds it back."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from collector.config import CollectorConfig
from router.cli import options
from router.cli.asking import Console, ConsoleAway
from router.cli.output import Screen, utc
from router.policy import DECLARED
from router.settings import Overrides, load_config
from router.terms import TermsFile
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError

COLUMNS = ("role", "arm", "served", "aim", "quality", "at least", "$/1,000", "labels", "needed")
TO_CHANGE = "to change"
LEGEND = (
    "served, aim: share of the role's steps, now and where it is going",
    "quality, at least: expected share of good answers, and its bound, which must hold the floor",
    "$/1,000: what as many steps cost, retries and escalations included",
    "labels, needed: graded answers of steps that began there, and how many would certify the arm",
)
CHANGE_LEGEND = "to change: what it loses of conversations' caches to move there, by 1,000 steps"
MOVES_SHOWN = 10


def learn(  # noqa: PLR0913 - a flag is a parameter
    *,
    once: Annotated[bool, typer.Option("--once", help="Look at new outcomes now.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look and say what would be done; change nothing.")
    ] = False,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Show what evidence says of every arm of every role, and what blocks a cheaper one.

    A running collector is asked. Where none runs, --dry-run looks into the store's file instead.
    """
    if once and dry_run:
        raise ConfigError("--once and --dry-run: one of them", hint="--dry-run changes nothing")
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    try:
        if once or dry_run:
            dry = "true" if dry_run else "false"
            report = asked.post(f"/api/learning/tick?dry={dry}", {})
        else:
            report = asked.get("/api/learning")
    except ConsoleAway:
        if not dry_run:
            raise
        report = _from_file(config, policy, store)
    screen.result(report)
    _show(screen, report)


def _from_file(config: Path, policy: Path, store: Path | None) -> dict[str, Any]:
    from collector.dry_learner import look  # noqa: PLC0415 - with SciPy, and only here

    terms = TermsFile(config, policy, clock=SystemClock())
    collector: CollectorConfig = load_config(config, Overrides(store=store)).collector
    return look(collector.store, terms=terms.current, now_ns=time.time_ns())


def _show(screen: Screen, report: dict[str, Any]) -> None:
    if report.get("trouble"):
        screen.say(report["trouble"], style="yellow")
    elif not report["roles"]:
        screen.say("The learner has not looked yet; `tierwise learn --once` has it look now.")
    if not report["roles"]:
        return
    screen.say(f"Looked {utc(report['at_ns'])}; {_in_force(report)}.")
    _roles(screen, report)
    for alarm in report["alarms"][:MOVES_SHOWN]:
        screen.say(
            f"{utc(alarm['at_ns'])} {alarm['role']}: {alarm['version']} on {alarm['tier']} became "
            f"{alarm['change']}",
            style="red" if alarm["change"] == "worse" else "green",
        )
    for left in report["left_out"]:
        screen.say(
            f"{left['cell']}: {left['words']:,} words of {left['source']} were left out, more than "
            "one source may say",
            style="yellow",
        )
    for revision, status in report["submitted"].items():
        screen.say(f"revision {revision}: {status}")


def _roles(screen: Screen, report: dict[str, Any]) -> None:
    """Every role's arms with a legend, then where each role stands and why."""
    if any("arms" in each for each in report["roles"]):
        table = _table(report)
        screen.show(table, keys=2)
        changes = any(column.header == TO_CHANGE for column in table.columns)
        for line in (*LEGEND, *([CHANGE_LEGEND] if changes else ())):
            screen.say(f"  {line}", style="dim")
    for each in report["roles"]:
        screen.say(f"{_name(each)}{_terms(each)}")
        for sentence in each["says"]:
            screen.say(f"  {sentence}")


def _table(report: dict[str, Any]) -> Table:
    """Every arm of every role that learns."""
    arms = [(each, arm) for each in report["roles"] for arm in each.get("arms", ())]
    changes = any(arm["switching_usd"] for _, arm in arms)
    table = Table(
        *COLUMNS,
        *([TO_CHANGE] if changes else []),
        box=None,
        pad_edge=False,
    )
    for each, arm in arms:
        table.add_row(
            _name(each),
            arm["arm"],
            f"{arm['share_now']:.1%}",
            f"{arm['share_aim']:.1%}",
            f"{arm['quality']:.3f}",
            f"{arm['quality_lower']:.3f}",
            f"{1_000 * arm['cost_usd']:.3g}",
            f"{arm['labels']:,.0f}",
            _needed(arm),
            *([f"{1_000 * arm['switching_usd']:.3g}"] if changes else []),
        )
    return table


def _needed(arm: dict[str, Any]) -> str:
    if arm["certified"]:
        return "certified"
    needed = arm["labels_needed"]
    return "out of reach" if needed is None else f"{needed:,}"


def _in_force(report: dict[str, Any]) -> str:
    if report["revision"] == DECLARED:
        return "the declared policy is in force"
    return f"revision {report['revision']} is in force (see `tierwise policy diff`)"


def _terms(each: dict[str, Any]) -> str:
    floor = "" if each["floor"] is None else f", floor {each['floor']:g}"
    return f" (learn {each['learn']}{floor}, declared {each['declared']})"


def _name(each: dict[str, Any]) -> str:
    return each["role"] if each["mode"] is None else f"{each['role']} in {each['mode']}"

"""`tierwise learn`: what the learner knows, what it aims at and what holds it back."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from collector.config import CollectorConfig
from router.cli import options
from router.cli.asking import Console, ConsoleAway
from router.cli.output import Screen
from router.settings import Overrides, load_config
from router.terms import TermsFile
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError

COLUMNS = ("role", "arm", "now", "aim", "quality", "at least", "usd/step", "labels", "needed")


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
    if not report["roles"]:
        screen.say("The learner has not looked yet; `tierwise learn --once` has it look now.")
        return
    screen.show(_table(report))
    for each in report["roles"]:
        screen.say(_sentence(each))
    for alarm in report["alarms"][:10]:
        screen.say(
            f"{alarm['role']}: {alarm['version']} on {alarm['tier']} became {alarm['change']}",
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


def _table(report: dict[str, Any]) -> Table:
    table = Table(*COLUMNS)
    for each in report["roles"]:
        for arm in each.get("arms", ()):
            needed = arm["labels_needed"]
            certified = "certified" if arm["certified"] else "never"
            table.add_row(
                _name(each),
                arm["arm"],
                f"{arm['share_now']:.1%}",
                f"{arm['share_aim']:.1%}",
                f"{arm['quality']:.3f}",
                f"{arm['quality_lower']:.3f}",
                f"{arm['cost_usd']:.3g}",
                f"{arm['labels']:,.0f}",
                certified if arm["certified"] or needed is None else f"{needed:,}",
            )
    return table


def _sentence(each: dict[str, Any]) -> str:
    """Why the role is where it is, in one line."""
    if "idle" in each:
        return f"{_name(each)}: nothing to learn: {each['idle']}"
    words = f"{_name(each)} (learn {each['learn']}, floor {each['floor']:g}): {each['standing']}"
    if each["blocked_by"]:
        words += f"; held by {', '.join(each['blocked_by'])}"
    if each["demoted"]:
        words += f"; demoted after an alarm: {', '.join(each['demoted'])}"
    if not each["labels"]:
        words += "; nobody grades its answers, so nothing cheaper can be proven"
    elif each["labels_without_proof"]:
        words += "; words without proof of who said them prove nothing cheaper"
    return words


def _name(each: dict[str, Any]) -> str:
    return each["role"] if each["mode"] is None else f"{each['role']} in {each['mode']}"

"""`tierwise drift`: what of each role is no longer as it was."""

import re
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from router.cli import options
from router.cli.asking import Console
from router.cli.output import Screen
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name

_SPAN: Final = re.compile(r"(\d{1,4})([hdw])")
_SECONDS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
_STYLES: Final = {"changed": "bold red", "noted": "yellow", "steady": "", "too_few": "dim"}


def drift(
    *,
    since: Annotated[
        str,
        typer.Option(
            metavar="SPAN", help="How far back, such as 24h, 7d, 4w; against the same before."
        ),
    ] = "7d",
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="Only this role.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also what is steady or was seen too rarely.")
    ] = False,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Say what changed by role: tiers, traffic, quality, cost, models, judges, evidence, pins.

    Each line names what it rests on, and says so where that is too little. Nothing acts on it.
    """
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    found = asked.get("/api/drift", {"since_seconds": seconds_of(since)})
    if role is not None:
        seen = [one["role"] for one in found["roles"]]
        found["roles"] = [one for one in found["roles"] if one["role"] == role]
        if not found["roles"]:
            known = f"roles with calls: {', '.join(seen) or 'none'}{nearest_name(role, seen)}"
            screen.note(f"no call of role {role!r}; {known}")
    screen.result(found)
    if found["roles"] or role is None:
        screen.say(found["summary"])
    for one in found["roles"]:
        _show(screen, one, every=every)


def seconds_of(text: str) -> int:
    """Return a span of time in seconds.

    >>> seconds_of("36h"), seconds_of("7d"), seconds_of("4w")
    (129600, 604800, 2419200)

    Raises:
        ConfigError: it is none, or not between an hour and 180 days.
    """
    parts = _SPAN.fullmatch(text)
    seconds = int(parts[1]) * _SECONDS[parts[2]] if parts else 0
    if not 3_600 <= seconds <= 180 * 86_400:
        raise ConfigError(
            f"--since {text!r} is no span from 1h to 180d", hint="write 24h, 7d or 4w, for example"
        )
    return seconds


def _show(screen: Screen, role: dict[str, Any], *, every: bool) -> None:
    shown = [one for one in role["findings"] if every or one["status"] in ("changed", "noted")]
    few = sum(one["status"] == "too_few" for one in role["findings"])
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in shown:
        table.add_row(one["status"], one["sentence"], style=_STYLES[one["status"]])
    if not shown:
        table.add_row("steady", "nothing to report")
    if few and not every:
        table.add_row("too_few", f"{few} comparisons rest on too little; --all shows them")
    screen.say(role["role"], style="bold")
    screen.show(table)

"""`tierwise explain`: one decision, whole."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from collector.reader import Reader
from collector.store import StoreRefused, StoreUnavailable
from router.cli import exits, options
from router.cli.output import Screen
from router.cli.stored import opened
from router.policy import DECLARED
from router.why import Why, why

LEFT_TO_JSON = ("_ns", "_id", "_requested", "_source")  # endings of columns that tables leave out


def explain(
    decision: Annotated[
        str, typer.Argument(metavar="ID", help="As `x-tierwise-decision` said it.")
    ],
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Show one decision: why, with which probability, every attempt, verdict, cost and feedback."""
    screen = Screen(json=json)
    with opened(config, console=console, store=store) as reader:
        found = reader.explain(decision)
        if found is not None:
            found["why"] = asdict(_why(reader, found["decision"]))
    if found is None:
        screen.fault(
            f"no decision {decision!r} is stored",
            hint="spans take a second or two to arrive; `tierwise sql` can list what is there",
        )
        raise typer.Exit(exits.WRONG)
    screen.result(found)
    _show(screen, found)


def _why(reader: Reader, decision: dict[str, Any]) -> Why:
    name = decision.get("revision")
    try:
        known = None if name in (None, DECLARED) else reader.revision(name)
    except (StoreRefused, StoreUnavailable):
        known = None  # the decision itself is worth showing
    return why(decision, known)


def _show(screen: Screen, found: dict[str, Any]) -> None:
    for key, value in found.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            screen.show(_table(key, value))
        elif isinstance(value, dict):
            for inner, one in value.items():
                _line(screen, inner, one)
        else:
            _line(screen, key, value)


def _line(screen: Screen, key: str, value: Any) -> None:
    if value not in (None, [], ""):
        screen.say(f"{key.replace('_', ' '):22} {_cell(value)}")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Return what people compare between rows; --json has the rest."""
    table = Table(title=title, box=None, title_justify="left", pad_edge=False)
    known = [key for key in rows[0] if any(row.get(key) not in (None, [], "") for row in rows)]
    keys = [key for key in known if not key.endswith(LEFT_TO_JSON)]
    for key in keys:
        table.add_column(key.replace("_", " "))
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in keys))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)

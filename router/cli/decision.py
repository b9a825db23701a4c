"""`tierwise explain`: one decision, whole."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from collector.reader import Reader
from collector.store import StoreRefused, StoreUnavailable
from router.cli import exits, options
from router.cli.output import Screen, utc
from router.cli.stored import opened
from router.policy import DECLARED
from router.why import Why, why

TOLD = (
    "_ns",
    "_bucket",
    "_rank",
    "decision_id",
    "quality",
    "quality_source",
    "seconds",
    "mode",
    "role_source",
)
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
    decision, reason = found["decision"], found["why"]
    for key, text in (
        ("decision", _asked(decision)),
        ("answered", _answered(decision)),
        ("why", reason["words"]),
        ("shares", _shares(decision, reason["shares"])),
        ("evidence", ", ".join(f"{name} {_cell(one)}" for name, one in reason["evidence"].items())),
    ):
        _line(screen, key, text)
    for key, rows in found.items():
        if isinstance(rows, list) and rows:
            screen.say()
            screen.show(_table(key, rows))
    screen.say()
    for key, value in decision.items():
        if not key.endswith(TOLD):
            _line(screen, key, value)


def _asked(decision: dict[str, Any]) -> str:
    """Who asked, and when."""
    mode = f" in {decision['mode']}" if decision["mode"] else ""
    source = f" (role from {decision['role_source']})" if decision["role_source"] else ""
    return (
        f"{decision['decision_id']}: a step of {decision['role']}{mode}{source}, "
        f"{utc(decision['start_ns'])}, {decision['seconds']:.3f} s"
    )


def _answered(decision: dict[str, Any]) -> str:
    """What the caller got, and what is known of it."""
    attempts = decision["attempts"]
    tried = "unknown attempts" if attempts is None else f"attempt {attempts}"
    text = f"by {decision['model'] or 'nobody'} on {decision['tier'] or 'no tier'}, {tried}"
    if decision["escalated_from"]:
        text += f" after {decision['escalated_from']}"
    cost, quality = decision["cost_usd"], decision["quality"]
    text += ", cost unknown" if cost is None else f", ${cost:.6g} in all"
    if quality is None:
        return f"{text}, quality not known (yet)"
    return f"{text}, quality {quality:.3g} by {decision['quality_source']}"


def _shares(decision: dict[str, Any], shares: dict[str, float]) -> str:
    """The shares of the cell that decided, the drawn arm marked."""
    drawn = f"{decision['tier_start']}/{decision['on_fail']}"
    return ", ".join(
        f"{arm} {share:.4g}" + (" (drawn)" if arm == drawn else "") for arm, share in shares.items()
    )


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

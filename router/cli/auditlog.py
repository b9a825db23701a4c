"""`tierwise audit-log`: who changed what, and whether the log of it is whole."""

from pathlib import Path
from typing import Annotated, Any

import typer

from collector.auditlog import PAGE_MAX, read_file, shown, verify_file
from collector.desk import desk_path
from router.cli import exits, options
from router.cli.asking import Console, ConsoleAway
from router.cli.output import Screen
from router.cli.policy_pages import show_log
from router.cli.stored import store_path

audit_log = typer.Typer(
    name="audit-log", help="Who changed the policy, and whether the log is whole."
)

Head = Annotated[
    str | None,
    typer.Option("--head", metavar="ROW:HASH", help="A head noted earlier; it must be there."),
]
StoreFile = Annotated[
    Path | None,
    typer.Option("--store", metavar="FILE", help="Read the file beside this store itself."),
]


@audit_log.command()
def verify(
    *,
    head: Head = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: StoreFile = None,
    json: options.Json = False,
) -> None:
    """Look at the whole chain: rows edited, removed or moved break it.

    Asks the running collector, else reads the file; with --store, the file in any case. Ends with
    2 when the log is broken. Note the head that it prints: with --head, a log that was rewritten
    or cut off since is found too.
    """
    screen = Screen(json=json)
    found = _verified(config, console, store, head)
    screen.result(found)
    if found["whole"]:
        screen.say(f"whole: {found['rows']} rows")
    else:
        screen.say(f"BROKEN after {found['rows']} rows: {found['fault']}", style="bold red")
    screen.say(f"head: {found['head'] or '-'}")
    raise typer.Exit(exits.OK if found["whole"] else exits.USAGE)


@audit_log.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, metavar="N", help="How many.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ROW", help="Only rows before this one.")
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: StoreFile = None,
    json: options.Json = False,
) -> None:
    """List changes of the policy, newest first."""
    screen = Screen(json=json)
    found = _listed(config, console, store, limit=limit, before=before)
    screen.result(found)
    show_log(screen, found["rows"])


def _verified(
    config: Path, console: str | None, store: Path | None, head: str | None
) -> dict[str, Any]:
    if store is None:
        try:
            return Console.of(config, console=console).get("/api/audit-log/verify", {"head": head})
        except ConsoleAway:
            if console is not None or not desk_path(store_path(config, store=None)).exists():
                raise
    found = verify_file(desk_path(store_path(config, store=store)), noted=head)
    return {
        "whole": found.fault is None,
        "rows": found.rows,
        "head": found.head,
        "fault": found.fault,
    }


def _listed(
    config: Path, console: str | None, store: Path | None, *, limit: int, before: int | None
) -> dict[str, Any]:
    if store is None:
        try:
            asked = {"limit": limit, "before": before}
            return Console.of(config, console=console).get("/api/audit-log", asked)
        except ConsoleAway:
            if console is not None or not desk_path(store_path(config, store=None)).exists():
                raise
    rows, _ = read_file(desk_path(store_path(config, store=store)))
    found = [shown(row) for row in reversed(rows) if before is None or row["sequence"] < before]
    following = found[limit - 1]["sequence"] if len(found) > limit else None
    return {"rows": found[:limit], "next_before": following}

"""`tierwise sql`: one read-only query, while the collector runs or not."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from router.cli import options
from router.cli.output import Screen
from router.cli.stored import opened


def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT.")],
    *,
    rows: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Most rows to return.")
    ] = 1_000,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Query the store's views; docs/store.md has them. Nothing can be changed."""
    screen = Screen(json=json)
    with opened(config, console=console, store=store) as reader:
        found = reader.sql(query, rows_max=rows)
    screen.result({"columns": found.columns, "rows": found.rows, "truncated": found.truncated})
    table = Table(box=None, pad_edge=False)
    for name in found.columns:
        table.add_column(name)
    for row in found.rows:
        table.add_row(*map(_cell, row))
    if screen.fits(table):
        screen.show(table)
    else:
        for row in found.rows:
            screen.show(_record(found.columns, row))
            screen.say()
    if found.truncated:
        screen.note(f"only the first {rows:,} rows are shown; --rows takes more")


def _record(columns: Sequence[str], row: Sequence[Any]) -> Table:
    """Return one row as a table of names and values, where all columns are too wide together."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in zip(columns, row, strict=True):
        table.add_row(name, _cell(value))
    return table


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)

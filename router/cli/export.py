"""`tierwise export`: the store's tables as Parquet or NDJSON, page by page."""

from pathlib import Path
from typing import Annotated

import typer

from collector.reader import Form
from router.cli import options
from router.cli.output import Screen
from router.cli.stored import opened
from telemetry.errors import ConfigError


def export(  # noqa: PLR0913 - each parameter is a flag
    table: Annotated[str, typer.Argument(help="calls, decisions, spans, logs or evaluations.")],
    folder: Annotated[Path, typer.Argument(help="Where the pages go; made if absent.")],
    *,
    form: Annotated[Form, typer.Option("--format", help="How the pages are written.")] = "parquet",
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on after this place.")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="Most rows in a page.")
    ] = 100_000,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Write a table page by page; the last cursor is where the next export goes on."""
    screen = Screen(json=json)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror or error}", hint="name a folder that can be written"
        ) from error
    pages: list[str] = []
    with opened(config, console=console, store=store) as reader:
        while True:
            path = folder / f"{table}-{len(pages):05}.{form}"
            following = reader.export(table, path, form=form, cursor=cursor, rows_max=rows)
            if following is None:
                break
            cursor = following
            pages.append(str(path))
            screen.note(f"wrote {path}")
    screen.result({"pages": pages, "cursor": cursor})
    screen.say(f"{len(pages)} pages; cursor {cursor or '-'}")

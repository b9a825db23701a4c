"""`tierwise audit`: what exported telemetry says of spend, before anything is routed."""

import contextlib
import json as jsonlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evals.audit.facts import Facts
from evals.audit.ladder import Family, Ladder
from evals.audit.markdown import markdown
from evals.audit.page import page
from evals.audit.report import Report, Terms, report
from evals.audit.sections import Section, sections
from evals.audit.starting import policy_text
from router.cli import exits, options
from router.cli.asking import KEY
from router.cli.catalogue import PROVIDERS
from router.cli.firstfiles import Hosted, config_text
from router.cli.output import Screen, console
from router.config import Config
from router.policyfile import PolicyFile
from router.settings import CONFIG_NAME, POLICY_NAME
from telemetry.config import PriceConfig
from telemetry.configfile import load as load_file
from telemetry.configfile import parse
from telemetry.errors import ConfigError

if TYPE_CHECKING:
    from collector.dumps.load import Progress as Tell

TITLE = "Audit of model calls"
NO_POLICY = (
    "no first policy: no model in use is one of a provider whose ladder we know; `tierwise init` "
    "writes one to change by hand"
)


def audit(  # noqa: PLR0913 - each parameter is a flag
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|URL...",
            help="Files or folders of exported telemetry, a store's file, or a console's URL.",
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write the report and a first policy there."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files in that folder.")] = False,
    floor: Annotated[
        float, typer.Option(min=0.5, max=0.99, metavar="Q", help="Quality that steps must keep.")
    ] = 0.9,
    worth: Annotated[
        float,
        typer.Option(min=0.01, metavar="USD", help="Least saving a month that is worth having."),
    ] = 100.0,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    json: options.Json = False,
) -> int:
    """Say what today's model calls cost by role, what of it is mechanical, and what routing saves.

    Reads OTLP dumps (JSON or protobuf), exports of tierwise, LiteLLM and Langfuse, the telemetry of
    coding agents and the live store. Nothing is sent anywhere and nothing is spent.
    """
    screen = Screen(json=json)
    if out is not None and not force:
        _refuse_to_replace(out)
    prices = load_file(config, Config).prices if config.exists() else {}
    facts, ladder = _read(places, prices, policy if policy.exists() else None)
    made = report(facts, ladder=ladder, terms=Terms(floor=floor, worth_usd_per_month=worth))
    parts = sections(made)
    written = [] if out is None else _write(out, made, parts, prices)
    screen.result({**made.plain(), "files": [str(path) for path in written]})
    _show(screen, parts)
    for path in written:
        screen.say(f"wrote {path}")
    if written and made.calls and out is not None and out / POLICY_NAME not in written:
        screen.say(NO_POLICY)
    if out is None and made.calls:
        screen.say("`--out FOLDER` writes this as Markdown, HTML and JSON, and a first policy.")
    return exits.OK if made.calls else exits.WRONG


def _read(
    places: list[str], prices: dict[str, PriceConfig], policy: Path | None
) -> tuple[Facts, Ladder]:
    """Return what all places hold, and the ladder it is held against."""
    # Only this command reads dumps, and what reads them takes long to load.
    from collector.dumps.load import Means, load, size_of  # noqa: PLC0415
    from collector.normalising import Normaliser  # noqa: PLC0415
    from telemetry.prices import PriceBook  # noqa: PLC0415

    evaluators = {} if policy is None else load_file(policy, PolicyFile).evaluators
    means = Means(
        book=PriceBook(prices, at=datetime.now(UTC)),
        normaliser=Normaliser(lambda: evaluators),
        now_ns=time.time_ns(),
        key=os.environ.get(KEY),
    )
    with (
        tempfile.TemporaryDirectory(prefix="tierwise-audit-") as folder,
        _progress(size_of(places)) as tell,
    ):
        facts = load(places, Path(folder), means=means, progress=tell)
    return facts, Ladder(_families(), means.book)


def _families() -> list[Family]:
    return [
        Family(
            name=known.name,
            system=known.system,
            models={"small": known.small, "mid": known.mid, "frontier": known.frontier},
        )
        for known in PROVIDERS
    ]


@contextlib.contextmanager
def _progress(total: int) -> "Iterator[Tell]":
    """Yield what hears of progress; a bar on stderr when that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    columns = (
        TextColumn("reading"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[records]:,} records"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("reading", total=total or None, records=0)
        yield lambda done, records: bar.update(task, completed=done, records=records)


def _show(screen: Screen, parts: list[Section]) -> None:
    for part in parts:
        screen.say(part.title, style="bold")
        for line in part.lines:
            screen.say(line)
        if part.rows:
            table = Table(box=None, pad_edge=False, header_style="dim")
            for number, name in enumerate(part.header):
                words = number < part.words
                table.add_column(
                    name, justify="left" if words else "right", no_wrap=not words,
                    overflow="fold", min_width=min(len(name), 8) if words else len(name),
                )  # fmt: skip
            for row in part.rows:
                table.add_row(*row)
            screen.show(table)
        for note in part.notes:
            screen.say(f"  {note}", style="dim")
        screen.say()


def _refuse_to_replace(folder: Path) -> None:
    there = [folder / name for name in _FILES if (folder / name).exists()]
    if there:
        raise ConfigError(
            f"{', '.join(map(str, there))}: already there",
            hint="--force replaces them; another --out writes elsewhere",
        )


_FILES = ("report.md", "report.html", "report.json", POLICY_NAME, CONFIG_NAME)


def _write(
    folder: Path, made: Report, parts: list[Section], prices: dict[str, PriceConfig]
) -> list[Path]:
    """Write the report, and a first policy with its tierwise.toml where one can be made."""
    texts = {
        "report.md": markdown(parts, title=TITLE),
        "report.html": page(parts, title=TITLE),
        "report.json": jsonlib.dumps(made.plain(), indent=2, default=str) + "\n",
    }
    first = policy_text(made) if made.calls else None
    if first is not None:
        texts[POLICY_NAME] = first
        texts[CONFIG_NAME] = _config_text(made, prices)
        parse(first.encode(), PolicyFile, name=POLICY_NAME)
        parse(texts[CONFIG_NAME].encode(), Config, name=CONFIG_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror or error}", hint="--out names a folder that you may write"
        ) from error
    return [folder / name for name in texts]


def _config_text(made: Report, prices: dict[str, PriceConfig]) -> str:
    """Return a tierwise.toml for the policy's providers and for prices of one's own."""
    models = [model for listed in made.ladder.values() for model in listed]
    names = {model.partition("/")[0] for model in models}
    hosted = [
        Hosted(known=known, key_env=known.variables[0])
        for known in PROVIDERS
        if known.name in names
    ]
    text = config_text(hosted, None)
    for model in sorted(set(models) & set(prices)):
        known = prices[model].model_dump(exclude_none=True)
        lines = "\n".join(f"{key} = {value!r}" for key, value in known.items())
        text += f'\n[prices."{model}"]\n{lines}\n'
    return text

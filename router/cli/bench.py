"""`tierwise bench`: measurements, never tests."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from router.cli import exits, options
from router.cli.output import Screen, console

if TYPE_CHECKING:
    from collector.history import Timing
    from evals.bench.gateway import Report, Row

bench = typer.Typer(name="bench", help="Measure this machine.")


@bench.callback()
def group() -> None:
    """Measure this machine."""


@bench.command("gateway")
def gateway(
    *,
    rounds: Annotated[
        int, typer.Option(min=1, max=1_000, metavar="N", help="Interleaved rounds, direct and not.")
    ] = 7,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="S", help="How long a round is, about.")
    ] = 1.0,
    soak: Annotated[
        int,
        typer.Option(min=0, max=10_000_000, metavar="N", help="Requests to watch memory over."),
    ] = 0,
    checks: Annotated[
        bool, typer.Option("--checks", help="Check every answer against a JSON schema.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Measure what the gateway adds to a call, against the same stand-in called directly.

    Needs no keys. Run it on a quiet machine: the load average is printed with the figures.
    """
    from evals.bench.gateway import Plan, as_json, measure  # noqa: PLC0415 - large, and only here
    from router.cli.onedecision import decider  # noqa: PLC0415

    screen = Screen(json=json)
    plan = Plan(rounds=rounds, seconds_per_round=seconds, soak_requests=soak, checks=checks)
    report = measure(plan, decide=decider(), tell=screen.note)
    screen.result(as_json(report))
    _show(screen, report)
    raise typer.Exit(exits.OK)


@bench.command("collector")
def collector(
    *,
    spans: Annotated[
        int, typer.Option(min=1_000, max=50_000_000, metavar="N", help="Spans to send.")
    ] = 200_000,
    senders: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Connections that send at once.")
    ] = 4,
    calls: Annotated[
        int,
        typer.Option(
            min=0,
            max=50_000_000,
            metavar="N",
            help="Calls of a made-up history to ask afterwards; 0: none.",
        ),
    ] = 0,
    json: options.Json = False,
) -> None:
    """Measure how fast a collector of its own stores gzipped OTLP, acknowledged after commit.

    With --calls it also fills a store of its own with a history of 30 days, in the folder for
    temporary files, and asks it for spend and p95 by role and tier and for scoreboards. Ten
    million calls take about 1 GB, and minutes.
    """
    from evals.bench.collector import Plan, as_json, measure  # noqa: PLC0415 - large, only here

    screen = Screen(json=json)
    with tempfile.TemporaryDirectory() as folder:
        if calls:
            _check_room(screen, Path(folder), calls)
        report = measure(Plan(spans=spans, senders=senders), tell=screen.note)
        asked = _history(Path(folder), calls) if calls else None
    screen.result(as_json(report) | {"history": asdict(asked) if asked else None})
    screen.say(
        f"{report.spans:,} spans in {report.seconds:.1f} s: {report.per_second:,.0f} a second, "
        f"{report.cpu_us:.0f} µs of processor time each"
    )
    screen.say(
        f"one request: p50 {report.request_p50_ms:.1f} ms, p95 {report.request_p95_ms:.1f} ms; "
        f"{report.refused} refused"
    )
    for stage, spent in report.stages_us.items():
        screen.say(f"  {stage:12} {spent:6.1f} µs a span")
    stood = ", ".join(f"{one:.0f}" for one in report.stood_mb)
    screen.say(f"scoreboard: {report.board_ms:.1f} ms")
    screen.say(f"memory: {report.memory_mb:.0f} MB at most, {stood} MB after each quarter")
    if asked is not None:
        _show_history(screen, asked)
    screen.say(f"load average before: {report.load_average:.2f}")


def _show_history(screen: Screen, asked: "Timing") -> None:
    screen.say(f"history of {asked.calls:,} calls, {asked.store_mb:,.0f} MB:")
    screen.say(
        f"  spend and p95 by role and tier, over all of it: {asked.by_tier_ms:.1f} ms, "
        f"{asked.by_tier_cpu_ms:.1f} of processor time"
    )
    for span, wall, cpu in (
        ("a day", asked.board_ms, asked.board_cpu_ms),
        ("all of it", asked.month_ms, asked.month_cpu_ms),
    ):
        screen.say(
            f"  scoreboard of {span}, from roll-ups: {wall:.1f} ms, {cpu:.1f} of processor time"
        )


def _check_room(screen: Screen, folder: Path, calls: int) -> None:
    from collector.history import room_for  # noqa: PLC0415 - DuckDB is large, and only here

    wanted = room_for(folder, calls=calls)
    screen.note(f"a history of {calls:,} calls may take {wanted / 1e9:.1f} GB in {folder}")


def _history(folder: Path, calls: int) -> "Timing":
    from collector.history import measure_history  # noqa: PLC0415 - DuckDB is large, only here

    with _progress() as tell:
        return measure_history(folder / "history.duckdb", calls=calls, tell=tell)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Yield what hears of work and its share done; a bar on stderr when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task("history", total=1.0)
        yield lambda work, share: bar.update(task, description=work, completed=share)


@bench.command("learn")
def learn(
    *,
    rows: Annotated[
        int, typer.Option(min=1_000, max=5_000_000, metavar="N", help="Rows to replay.")
    ] = 1_000_000,
    roles: Annotated[
        int, typer.Option(min=1, max=1_000, metavar="N", help="Roles, with six arms each.")
    ] = 50,
    json: options.Json = False,
) -> None:
    """Measure what learning costs: a decision, a solve, ticks with more and more history."""
    from evals.bench.learn import Size, measure  # noqa: PLC0415 - large, and only here
    from router.cli.onedecision import decider  # noqa: PLC0415

    screen = Screen(json=json)
    report = measure(Size(rows=rows, roles=roles), decide=decider(), tell=screen.note)
    screen.result(report.as_dict())
    (p50, p99), (median, most) = report.decide_us, report.solve_ms
    screen.say(f"{report.machine}, {report.cores} cores, load {report.load_average:.2f} before")
    screen.say(f"Python {report.python}, numpy {report.numpy}")
    screen.say(f"one decision: p50 {p50:.1f} µs, p99 {p99:.1f} µs")
    screen.say(f"one solve, {roles} roles and 6 arms: {median:.1f} ms, at most {most:.1f} ms")
    ticks = ", ".join(f"{one:.1f}" for one in report.tick_ms)
    screen.say(f"one tick, by fifths of the history: {ticks} ms")
    screen.say(
        f"replay of {rows:,} rows, a tick every {report.size.rows_per_tick:,}: "
        f"{report.replay_seconds:.1f} s, {report.replay_cpu_seconds:.1f} s of processor time"
    )
    raise typer.Exit(exits.OK)


def _show(screen: Screen, report: "Report") -> None:
    table = Table(title="Milliseconds, medians over the rounds", box=None, title_justify="left")
    for name in (
        "callers", "direct p50", "gateway p50", "added p50", "added p99", "requests/s", "CPU µs",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in report.rows:
        _add(table, str(row.callers), row)
    _add(table, "first token", report.first_token_added)
    if report.check_added is not None:
        _add(table, "without/with check", report.check_added)
    screen.show(table)
    p50, p99 = report.decision_us
    screen.say(f"one decision: p50 {p50:.1f} µs, p99 {p99:.1f} µs")
    memory = ", ".join(f"{one:.0f}" for one in report.memory_mb)
    screen.say(f"memory of the largest gateway process: {memory} MB")
    screen.say(f"load average before: {report.load_average:.2f}")


def _add(table: Table, title: str, row: "Row") -> None:
    table.add_row(
        title,
        f"{row.direct_p50:.2f}",
        f"{row.gateway_p50:.2f}",
        f"{row.added_p50:+.2f} (IQR {row.added_p50_iqr:.2f})",
        f"{row.added_p99:+.2f}",
        f"{row.per_second:,.0f} of {row.per_second_direct:,.0f}",
        "-" if row.added_cpu_us is None else f"{row.added_cpu_us:+.0f}",
    )

"""`tierwise roles`: what each role spends, on which tiers, and how well."""

import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from router.cli import options
from router.cli.fitted import fitted
from router.cli.output import Screen, console
from router.cli.stored import opened

HOUR = 3_600.0
WATCH_SECONDS = 2.0
COLUMNS = (
    "role", "tier", "calls", "mix", "tokens in", "tokens out", "usd", "share", "usd/task",
    "usd/passed", "first pass", "escalated", "handed on", "quality (95 %)", "n", "p50 s", "p95 s",
)  # fmt: skip
KEYS = 2  # of those, repeated where a narrow terminal splits the table


def roles(
    *,
    hours: Annotated[
        float, typer.Option(min=0.01, max=8_784, metavar="H", help="How far back to look.")
    ] = 24.0,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console_at: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Show spend, tiers and quality by role: of our gateway and of any other sender of spans.

    All attempts of a step are counted. Handed on: steps that the tier `code` had no answer to; they
    are no escalations. A dash is unknown, never 0.
    """
    screen = Screen(json=json)
    with opened(config, console=console_at, store=store) as reader:
        board = reader.roles(window_seconds=hours * HOUR)
        if not watch or json:
            screen.result(board)
            _show(screen, board)
            return
        out = console(sys.stdout)
        with Live(_parts(board, on=out), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_SECONDS)
                board = reader.roles(window_seconds=hours * HOUR)
                live.update(_parts(board, on=out), refresh=True)


def _parts(board: dict[str, Any], *, on: Console) -> Group:
    return Group(*fitted(_table(board), on=on, keys=KEYS))


def _show(screen: Screen, board: dict[str, Any]) -> None:
    if not board["roles"]:
        screen.say("No model call in this window yet.")
        screen.say("Point an agent at the gateway, or an OpenTelemetry sender at the collector;")
        screen.say("`tierwise doctor` says where both listen.")
        return
    screen.show(_table(board), keys=KEYS)
    coverage = board["coverage"]
    screen.say(
        f"{board['calls']:,} calls, ${board['spend_usd']:,.6g}; known: price "
        f"{_share(coverage['price'])}, role {_share(board['role_coverage'])}, quality "
        f"{_share(coverage['quality'])} of spend"
    )
    if board.get("biased_spans"):
        screen.say(
            f"{board['biased_spans']:,} spans came through biased sampling; totals are estimates",
            style="yellow",
        )


def _table(board: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("role", "tier") else "right")
    for role in board["roles"]:
        table.add_row(*_cells(role, role["role"] or "-", "all"), style="bold")
        for tier in role["tiers"]:
            table.add_row(*_cells(tier, "", tier["tier"] or "-"))
    return table


def _cells(row: dict[str, Any], role: str, tier: str) -> list[str]:
    quality, latency = row.get("quality"), row.get("latency") or {}
    interval = "-"
    if quality is not None:
        interval = f"{quality['mean']:.3f} ({quality['low']:.2f}-{quality['high']:.2f})"
    return [
        role,
        tier,
        f"{row['calls']:,}",
        _share(row.get("mix")),
        f"{row['input_tokens']:,}",
        f"{row['output_tokens']:,}",
        _number(row["spend_usd"]),
        _share(row.get("spend_share")),
        _number(row.get("cost_per_task_usd")),
        _number(row.get("cost_per_passed_task_usd")),
        _share(row.get("first_tier_pass_rate")),
        _share(row.get("escalation_rate")),
        _share(row.get("abstention_rate")),
        interval,
        "-" if quality is None else f"{quality['n']:,}",
        _number(latency.get("p50")),
        _number(latency.get("p95")),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

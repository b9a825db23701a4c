"""`tierwise shadow`: what steps that were run again on another tier say of that tier."""

from typing import Annotated, Any

import typer
from rich.table import Table

from router.cli import options
from router.cli.asking import Console
from router.cli.drift import seconds_of
from router.cli.output import Screen

shadow = typer.Typer(name="shadow", help="Answered steps that were run again on another tier.")


@shadow.callback()
def _group() -> None:
    """Compare tiers on live steps, off the request path."""


@shadow.command()
def report(
    *,
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="How far back, such as 24h, 7d, 4w.")
    ] = "7d",
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Compare delivered answers with those of the shadow's tier, pair by pair.

    Says whether the other tier is no worse within 5 points, and when there are too few pairs to
    say so.
    """
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    found = asked.get("/api/shadow", {"since_seconds": seconds_of(since)})
    screen.result(found)
    if not found["comparisons"]:
        screen.say("No shadow run in this span. To run a share of a role's steps again, add")
        screen.say("[roles.ROLE.shadow] with tier, share and usd_per_day to policy.toml.")
        return
    screen.show(_table(found["comparisons"]))
    for one in found["comparisons"]:
        screen.say(f"{one['role']}, {one['tier']} to {one['shadow_tier']}: {one['verdict']}")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    columns = (
        "role", "delivered", "shadow", "pairs", "failed", "judged", "passed", "shadow passed",
        "difference (95 %)", "cost", "tokens out", "p50 s",
    )  # fmt: skip
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < 3 else "right")
    for row in rows:
        table.add_row(
            row["role"],
            row["tier"],
            row["shadow_tier"],
            f"{row['pairs']:,}",
            f"{row['failed']:,}",
            f"{row['judged']:,}",
            f"{row['passed']:,}",
            f"{row['shadow_passed']:,}",
            points(row["difference"]),
            _times(row["cost_ratio"]),
            _times(row["output_ratio"]),
            f"{row['median_seconds']:.2f} / {row['shadow_median_seconds']:.2f}",
        )
    return table


def points(difference: dict[str, Any] | None) -> str:
    """Return a difference of shares with its interval, in percentage points.

    >>> points({"mean": -0.25, "low": -0.4, "high": -0.1, "n": 40})
    '-25.0 (-40.0 to -10.0)'
    """
    if difference is None:
        return "-"
    mean, low, high = (difference[key] * 100 for key in ("mean", "low", "high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"x {ratio:.2f}"

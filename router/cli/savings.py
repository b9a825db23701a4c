"""`tierwise savings`: what routing saved or cost, all attempts and its overhead counted."""

from typing import Annotated, Any

import typer
from rich.table import Table

from router.cli import options
from router.cli.asking import Console
from router.cli.drift import seconds_of
from router.cli.output import Screen

_TITLES = {"frontier": "against uniform frontier", "declared": "against the declared table"}


def savings(
    *,
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="How far back, such as 24h, 7d, 4w.")
    ] = "24h",
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Say what routing saved, signed: against the top tier for all and against policy.toml's table.

    All attempts, judges, shadow runs and lost cache count against it. What has no known cost or
    usage stands on neither side; the coverage says how much that is.
    """
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    found = asked.get("/api/savings", {"since_seconds": seconds_of(since)})
    screen.result(found)
    if not found["coverage"]["steps"]:
        screen.say("No routed step in this window yet.")
        return
    if not found["against"]:
        screen.say("The collector knows no policy, so there is nothing to compare with;")
        screen.say("start it with --policy.")
        return
    screen.show(_table(found))
    if len(found["roles"]) > 1:
        screen.show(_roles(found))
    _say_rest(screen, found)


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("", "spent", "would have cost", "saved", "share", "per task", "per passed task"):
        table.add_column(name, justify="left" if not name else "right")
    for name, one in found["against"].items():
        title = _TITLES[name] + (f" ({one['tier']})" if one["tier"] else "")
        table.add_row(
            title,
            _usd(one["actual_usd"] + one["overhead_usd"]),
            _usd(one["baseline_usd"]),
            _usd(one["saved_usd"]),
            _share(one["saved_share"]),
            _usd(one["saved_per_task_usd"]),
            _usd(one["saved_per_passed_task_usd"]),
        )
    return table


def _roles(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("role", "steps", "spent", "saved (frontier)", "saved (declared)"):
        table.add_column(name, justify="left" if name == "role" else "right")
    for row in found["roles"]:
        table.add_row(
            row["role"],
            f"{row['steps']:,}",
            _usd(row["actual_usd"]),
            _usd(row["frontier"]["saved_usd"]),
            _usd(row["declared"]["saved_usd"]),
        )
    return table


def _say_rest(screen: Screen, found: dict[str, Any]) -> None:
    coverage, overhead = found["coverage"], found["overhead"]
    screen.say(
        f"{coverage['counted']:,} of {coverage['steps']:,} steps are counted "
        f"({_share(coverage['share'])}); left out on both sides: {coverage['unknown']:,} of "
        f"unknown cost or usage, {coverage['code']:,} answered by code, {coverage['embeddings']:,} "
        f"embeddings, {coverage['caller_pinned']:,} whose caller named the model, "
        f"{coverage['unpriced_baseline']:,} without a price to compare with"
    )
    screen.say(
        f"spent only because of routing: {_usd(overhead['judging_usd'])} on judges, "
        f"{_usd(overhead['shadow_usd'])} on shadow runs; lost cache "
        f"{_usd(found['against']['frontier']['lost_cache_usd'])}"
    )
    _say_code(screen, found["answered_by_code"])
    for name, one in found["against"].items():
        if one["corrected_saved_usd"] is not None:
            screen.say(
                f"with token ratios that shadow runs measured ({_share(one['corrected_share'])} of "
                f"the baseline), {_TITLES[name]}: {_usd(one['corrected_saved_usd'])}"
            )
    screen.say("assumed:")
    for line in found["assumptions"]:
        screen.say(f"- {line}", style="dim")


def _say_code(screen: Screen, code: dict[str, Any]) -> None:
    """Say what steps that code answered would have cost, as far as shadow runs measured it."""
    if not code["steps"]:
        return
    if code["would_have_cost_usd"] is None:
        screen.say(
            f"what the {code['steps']:,} steps answered by code would have cost is not known: "
            f"shadow runs of their roles on {code['tier']} would measure it"
        )
        return
    screen.say(
        f"not in these figures: {code['measured_steps']:,} of {code['steps']:,} steps answered by "
        f"code would have cost {_usd(code['would_have_cost_usd'])} on {code['tier']}, by the mean "
        "of their roles' shadow runs there"
    )


def _usd(amount: float | None) -> str:
    if amount is None:
        return "-"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.4g}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"

"""`tierwise replay`: policies side by side on recorded outcomes whose truth is known."""

import importlib.metadata
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from router.cli import exits
from router.cli.output import Screen, console
from telemetry.errors import ConfigError

if TYPE_CHECKING:
    from evals.compare import Report, Summary
    from evals.simulate import Check

POLICIES = "tierwise,table,frontier"
SHOWN = {
    "cost": "cost",
    "of table": "cost_of_table",
    "of oracle": "cost_of_oracle",
    "late/oracle": "late_of_oracle",
    "quality": "quality",
    "bad": "bad",
    "deepest": "deepest",
    "area": "area",
    "worst role": "worst_role",
    "first cost": "first_cost",
    "first bad": "first_bad",
    "explored": "explored",
}
CHANGED = {
    "to alarm": "alarm_requests",
    "labels": "alarm_labels",
    "no alarm": "never_alarmed",
    "to recover": "recover_requests",
    "never": "never_recovered",
    "false": "false_alarms",
}
COUNTS = {"alarm_requests", "alarm_labels", "recover_requests", "false_alarms"}
RATIOS = {"cost_of_table", "cost_of_oracle", "late_of_oracle"}


Files = Annotated[
    list[Path], typer.Option(metavar="FILE", help="Parquet with per-item outcomes; repeatable.")
]
Names = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this world of the files; repeatable."),
]
Floor = Annotated[
    float, typer.Option(min=0, max=1, help="Quality to keep, as a share of the top tier's.")
]
RoleFloor = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="SHARE", help="The same in every role; none if absent."),
]
Checked = Annotated[
    str,
    typer.Option(
        metavar="CAUGHT/WRONGLY",
        help="Share of wrong answers a check flags / of right ones; or none.",
    ),
]
LabelRate = Annotated[
    float, typer.Option(min=0, max=1, help="Share of answers whose quality becomes known.")
]
Delay = Annotated[int, typer.Option(min=0, max=1_000_000, help="Requests until a label arrives.")]
Scenario = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="stationary, drop, gradual, recover, verbose, price, mix, newmodel, removed, outage, "
        "bias, spam or broken.",
    ),
]
Requests = Annotated[int, typer.Option(min=50, max=5_000_000, help="Length of a run.")]
Tick = Annotated[int, typer.Option(min=1, max=100_000, help="Requests between two revisions.")]
OnlineTick = Annotated[
    int, typer.Option(min=1, max=100_000, help="The same for policies that learn after each one.")
]
Seeds = Annotated[int, typer.Option(min=1, max=1_000, help="Runs per world and policy.")]
Policies = Annotated[
    str, typer.Option(metavar="NAME,...", help="Policies to play; `all` plays every one.")
]
Out = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write everything as JSON; - writes it to stdout."),
]


def replay(  # noqa: PLR0913 - each parameter is a flag
    *,
    world: Files,
    name: Names = None,
    floor: Floor = 0.97,
    role_floor: RoleFloor = None,
    check: Checked = "0.8/0.1",
    labels: LabelRate = 1.0,
    delay: Delay = 0,
    scenario: Scenario = "stationary",
    requests: Requests = 20_000,
    tick: Tick = 200,
    online_tick: OnlineTick = 50,
    seeds: Seeds = 6,
    policies: Policies = POLICIES,
    json: Out = None,
) -> None:
    """Play policies on recorded outcomes of every tier, and judge every revision by its true worth.

    A revision is bad when its true quality is more than half a point (of the top tier's) under the
    floor. A policy with more than 5 % bad revisions is disqualified. docs/replay.md has the rest.
    """
    from evals.compare import Request  # noqa: PLC0415 - with scikit-learn, and only here
    from evals.rivals.field import NAMES  # noqa: PLC0415 - as above
    from evals.simulate import Labels  # noqa: PLC0415 - as above

    screen = Screen(json=json == "-")
    request = Request(
        floor=floor,
        role_floor=role_floor,
        check=checked(check),
        labels=Labels(rate=labels, delay=delay),
        scenario=scenario,
        requests=requests,
        tick=tick,
        online_tick=online_tick,
        seeds=seeds,
        policies=NAMES if policies == "all" else tuple(policies.split(",")),
    )
    report = _played(world, name or [], request=request)
    value = _value(report, files=world)
    if json is not None and json != "-":
        _write(Path(json), value)
    screen.result(value)
    _show(screen, report)
    raise typer.Exit(exits.OK)


def checked(text: str) -> "Check":
    """Read `none`, `0.8/0.1` or `0.8/0.1/0.3`: sensitivity, false alarms, correlation.

    Raises:
        ConfigError: it is none of these.
    """
    from evals.simulate import Check  # noqa: PLC0415 - with scikit-learn, and only here

    if text == "none":
        return Check()
    try:
        numbers = [float(part) for part in text.split("/")]
        sensitivity, false_alarm, *rest = numbers
        (correlation,) = rest or [0.0]
    except ValueError:
        numbers = [-1.0]
    if not all(0 <= number <= 1 for number in numbers):
        raise ConfigError(
            f"--check: {text!r} is neither none nor two or three shares",
            hint="0.8/0.1 flags 80 % of wrong and 10 % of right answers; "
            "0.8/0.1/0.3 fools all tiers at once on 30 % of the items",
        )
    return Check(sensitivity=sensitivity, false_alarm=false_alarm, correlation=correlation)


def _played(files: list[Path], names: list[str], *, request: Any) -> "Report":
    """Load the worlds and play, with a bar on stderr where a terminal shows it."""
    from evals.compare import compare  # noqa: PLC0415 - with scikit-learn, and only here
    from evals.worlds import load_worlds  # noqa: PLC0415 - as above

    found = [world for path in files for world in load_worlds(path)]
    unknown = [name for name in names if name not in {world.name for world in found}]
    if unknown:
        known = ", ".join(world.name for world in found)
        raise ConfigError(f"--name: no world {unknown[0]!r}", hint=f"the files hold {known}")
    chosen = [world for world in found if not names or world.name in names]
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("runs", total=None)
        return compare(
            chosen,
            request=request,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _value(report: "Report", *, files: list[Path]) -> dict[str, Any]:
    """Everything needed to repeat and to judge the comparison."""
    return {
        "version": importlib.metadata.version("tierwise"),
        "files": [str(path) for path in files],
        "worlds": {row.world: row.digest for row in report.rows},
        **report.as_dict(),
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    try:
        path.write_text(jsonlib.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--json: {path}: {error.strerror or error}", hint="name a file that can be written"
        ) from error


def _show(screen: Screen, report: "Report") -> None:
    request = report.request
    digests = {row.world: row.digest for row in report.rows}
    screen.say(
        f"{len(digests)} worlds, {request.seeds} seeds, {request.requests:,} requests, floor "
        f"{request.floor:.0%} of the top tier, {request.scenario}"
    )
    screen.say(", ".join(f"{world} {digest}" for world, digest in digests.items()))
    columns = SHOWN | (CHANGED if request.scenario != "stationary" else {"false": "false_alarms"})
    table = Table(box=None, pad_edge=False)
    table.add_column("policy")
    for title in columns:
        table.add_column(title, justify="right")
    for summary in report.summaries:
        table.add_row(_title(summary), *(_cell(summary, key) for key in columns.values()))
    screen.show(table)
    for summary in report.summaries:
        (low, high), (few, many) = summary.cost_interval, summary.bad_interval
        screen.say(
            f"  {summary.policy}: cost 95 % interval [{low:.3f}, {high:.3f}], "
            f"bad [{few:.1%}, {many:.1%}]"
        )
    screen.say(
        "cost, first cost and explored are shares of always-top; * is disqualified: over 5 %"
    )


def _title(summary: "Summary") -> str:
    return summary.policy + (" *" if summary.disqualified else "")


def _cell(summary: "Summary", key: str) -> str:
    """One figure as people read it; - where it cannot be told."""
    value = summary.figures[key]
    if value != value:  # noqa: PLR0124 - NaN
        return "-"
    if key in COUNTS:
        return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    if key in RATIOS:
        return f"{value:.2f}"
    return f"{value:.3f}" if key in {"cost", "first_cost", "explored"} else f"{value:.1%}"

"""`tierwise eval modes`: the learner finds another best tier in each of two collaboration modes."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from router.cli import exits, options
from router.cli.evalexamples import told
from router.cli.output import Screen
from telemetry.clock import SystemClock

if TYPE_CHECKING:
    from evals.examples.modes import Run

SEED: Final = 7


def run_modes(
    *,
    one_floor: Annotated[
        bool, typer.Option("--one-floor", help="Give reflection no floor of its own.")
    ] = False,
    seconds_max: Annotated[
        float, typer.Option(min=1, max=3_600, metavar="SECONDS", help="Learn no longer than so.")
    ] = 180.0,
    json: options.Json = False,
) -> None:
    """Let a gateway and its collector learn where each of two collaboration modes should start.

    Needs no keys and no network: stand-in models answer, and every answer is graded. Exit code 1
    when the better tier of a mode was not found in time.
    """
    from evals.examples.modes import OWN, SHARED  # noqa: PLC0415 - only this command needs them
    from router.cli.modesrun import played  # noqa: PLC0415

    screen = Screen(json=json)
    screen.note("critics work in two modes; the learner looks twice a second")
    try:
        role = SHARED if one_floor else OWN
        run = asyncio.run(played(SystemClock(), role=role, seed=SEED, seconds_max=seconds_max))
    except BaseExceptionGroup as several:
        raise told(several) from several
    screen.result(run.plain())
    _show(screen, run)
    if not run.holds:
        raise typer.Exit(exits.WRONG)


def _show(screen: Screen, run: "Run") -> None:
    from evals.examples.modes import FLOOR  # noqa: PLC0415 - only this command needs it

    table = Table(box=None, pad_edge=False)
    columns = ("mode", "steps", "tried small", "now small", "right", "")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if 1 <= number <= 4 else "left")
    for one in run.found:
        table.add_row(
            one.mode, f"{one.steps:,}", f"{one.tried:,}", _share(one.small_share),
            _share(one.quality), "found" if one.best else "not found",
        )  # fmt: skip
    screen.show(table)
    screen.say(f"both modes: {_share(run.quality)} right, the floor is {_share(FLOOR)}")
    screen.say(f"a mode that nobody worked in before: {_share(run.unseen)} start small")
    screen.say(f"after {run.seconds:.0f} s")


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"

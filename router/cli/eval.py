"""`tierwise eval`: what answers are worth, case by case."""

import typer

from router.cli.evalcollect import collect
from router.cli.evalexamples import run_examples
from router.cli.evaljudge import judge
from router.cli.evalmodes import run_modes
from router.cli.evalrun import run_suite_file

evals_app = typer.Typer(
    name="eval", help="Suites, judges and golden cases: what answers are worth."
)
evals_app.command("run")(run_suite_file)
evals_app.command("examples")(run_examples)
evals_app.command("modes")(run_modes)
evals_app.command()(judge)
evals_app.command()(collect)


@evals_app.callback()
def _group() -> None:
    """Measure tiers and judges on cases whose answers are known."""

"""`tierwise eval`: what answers are worth, case by case."""

import typer

from router.cli.evalrun import run_suite_file

evals_app = typer.Typer(
    name="eval", help="Suites, judges and golden cases: what answers are worth."
)
evals_app.command("run")(run_suite_file)


@evals_app.callback()
def _group() -> None:
    """Measure tiers and judges on cases whose answers are known."""

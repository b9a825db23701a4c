"""`tierwise bench`: measurements, never tests."""

import typer

from router.cli import options

bench = typer.Typer(name="bench", help="Measure this machine.", no_args_is_help=False)


@bench.callback()
def _group() -> None:
    """Measure this machine."""


@bench.command("gateway")
def gateway(*, json: options.Json = False) -> None:
    """Measure what the gateway adds to a call, against the same stand-in called directly."""
    from evals.bench.gateway import run  # noqa: PLC0415 - its parts are large

    raise typer.Exit(run(json=json))

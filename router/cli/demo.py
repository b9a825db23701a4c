"""`tierwise demo`: the whole thing against stand-in providers, without keys or network."""

from typing import Annotated

import typer

from router.cli import options


def demo(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the loop: learning, drift and alarms.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Route two agents' work over stand-ins, then let a policy learn, break and recover.

    Needs no keys and no network. The stand-ins' skill is a stated table; nothing is billed.
    """
    from router.demo import run  # noqa: PLC0415 - its parts are large and no other command's

    raise typer.Exit(run(json=json, quick=quick))

"""`tierwise demo`: the whole thing against stand-in providers, without keys or network."""

import typer

from router.cli import options


def demo(*, json: options.Json = False) -> None:
    """Route two agents' work over stand-in providers and show what it cost and saved.

    Needs no keys and no network. The stand-ins' skill is a stated table; nothing is billed.
    """
    from router.demo import run  # noqa: PLC0415 - its parts are large and no other command's

    raise typer.Exit(run(json=json))

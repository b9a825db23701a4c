"""`tierwise eval examples`: the field's worked examples, run and counted."""

import asyncio
import json as jsonlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from router.cli import exits, options
from router.cli.output import Screen
from telemetry.clock import Clock, SystemClock
from telemetry.errors import ConfigError, TierwiseError
from telemetry.nearest import nearest_name

if TYPE_CHECKING:
    from evals.examples.account import Account

SEED: Final = 7
AT_ONCE: Final = 3  # examples, each with a gateway and a stand-in


def run_examples(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One of them; all when absent.")
    ] = None,
    *,
    json: options.Json = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the report and every example's files there."),
    ] = None,
) -> None:
    """Run the field's worked examples through a gateway and hold their claims against the bill.

    Needs no keys and no network: stand-in models answer and bill. Exit code 1 when a bill does not
    add up, or a figure differs from its claim without a word why.
    """
    from evals.examples.suite import EXAMPLES  # noqa: PLC0415 - only this command needs them

    screen = Screen(json=json)
    if name is not None and name not in EXAMPLES:
        near = nearest_name(name, EXAMPLES)
        raise ConfigError(
            f"there is no example {name!r}{near}", hint=f"examples: {', '.join(EXAMPLES)}"
        )
    names = list(EXAMPLES) if name is None else [name]
    try:
        accounts = asyncio.run(_run(names, screen=screen, out=out, clock=SystemClock()))
    except BaseExceptionGroup as several:
        raise told(several) from several
    if out is not None:
        _write_reports(accounts, out)
    screen.result({"examples": [account.as_json() for account in accounts]})
    holds = all(account.adds_up and account.explained for account in accounts)
    raise typer.Exit(exits.OK if holds else exits.WRONG)


def told(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that was made for people; the group itself when there is none."""
    known = several.subgroup(TierwiseError)
    first: BaseException = several if known is None else known
    while known is not None and isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _run(
    names: Sequence[str], *, screen: Screen, out: Path | None, clock: Clock
) -> "list[Account]":
    """Run the examples, a few at once, and tell of each in their order."""
    from evals.examples import telling  # noqa: PLC0415 - only this command needs it

    room = asyncio.Semaphore(AT_ONCE)
    found = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(name, room=room, out=out, clock=clock)) for name in names]
        for task in tasks:
            account = await task
            found.append(account)
            for line in telling.lines(account):
                screen.say(line)
            screen.say()
    return found


async def _one(name: str, *, room: asyncio.Semaphore, out: Path | None, clock: Clock) -> "Account":
    from evals.examples.account import account  # noqa: PLC0415 - only this command needs it
    from evals.examples.playing import play  # noqa: PLC0415
    from evals.examples.suite import EXAMPLES  # noqa: PLC0415
    from evals.standin.running import StandinProcess  # noqa: PLC0415
    from router.cli.examplegateway import running, write  # noqa: PLC0415

    async with room:
        example = await asyncio.to_thread(EXAMPLES[name])
        standin = await asyncio.to_thread(StandinProcess.start, seed=SEED)
        try:
            with tempfile.TemporaryDirectory(prefix="tierwise-example-") as made:
                files = write(example, Path(made), base_url=standin.base_url)
                if out is not None:
                    shutil.copytree(made, out / name, dirs_exist_ok=True)
                async with running(*files) as gateway:
                    played = await play(example, gateway=gateway, standin=standin, clock=clock)
        finally:
            await asyncio.to_thread(standin.close)
    return account(example, played)


def _write_reports(accounts: "Sequence[Account]", out: Path) -> None:
    from evals.examples import telling  # noqa: PLC0415 - only this command needs it

    found = {"examples": [account.as_json() for account in accounts]}
    (out / "report.json").write_text(jsonlib.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(telling.page(accounts), encoding="utf-8")

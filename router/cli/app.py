"""The command tree, and the boundary where every error becomes one message and an exit code."""

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
import typer.main

from router.cli import exits
from router.cli.alerts import alerts
from router.cli.audit import audit
from router.cli.auditlog import audit_log
from router.cli.bench import bench
from router.cli.collector import collector
from router.cli.decision import explain
from router.cli.demo import demo
from router.cli.doctor import doctor
from router.cli.drift import drift
from router.cli.eval import evals_app
from router.cli.export import export
from router.cli.gateway import gateway
from router.cli.init import init
from router.cli.launch import launch
from router.cli.learn import learn
from router.cli.ope import ope
from router.cli.output import Screen
from router.cli.policy import policy
from router.cli.replay import replay
from router.cli.roles import roles
from router.cli.savings import savings
from router.cli.serve import serve
from router.cli.shadow import shadow
from router.cli.sql import sql
from telemetry.errors import ConfigError, TierwiseError

PROGRAM = "tierwise"


def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Send each agent step to the cheapest tier that still clears its role's quality floor."""
    if version:
        typer.echo(f"{PROGRAM} {importlib.metadata.version(PROGRAM)}")
        raise typer.Exit(exits.OK)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(exits.USAGE)


def build() -> typer.Typer:
    """Return the whole command tree; help is plain text where no terminal shows it."""
    app = typer.Typer(
        name=PROGRAM,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(invoke_without_command=True)(root)
    for command in (init, serve, gateway, collector, demo, doctor):
        app.command()(command)
    app.add_typer(policy)
    app.add_typer(audit_log)
    app.add_typer(alerts)
    for reading in (launch, audit, roles, savings, drift, explain, sql, export):
        app.command()(reading)
    app.command()(learn)
    app.command()(replay)
    app.command()(ope)
    app.add_typer(bench)
    app.add_typer(shadow)
    app.add_typer(evals_app)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command (the process's arguments when None) and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    screen = Screen(json="--json" in _own(given))
    try:
        code = typer.main.get_command(build()).main(given, PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        message, hint = _usage_fault(error)
        screen.fault(message, hint=hint)
        return getattr(error, "exit_code", exits.USAGE)
    except ConfigError as error:
        screen.fault(error.message, hint=error.hint)
        return error.exit_code
    except TierwiseError as error:
        screen.fault(error.message, hint=error.hint)
        return exits.WRONG
    except (KeyboardInterrupt, typer.Abort):
        screen.note("interrupted")
        return exits.INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            place = os.fsdecode(error.filename)
            screen.fault(f"{place}: {error.strerror}", hint="mend that place or name another")
        elif not isinstance(error, BrokenPipeError):  # then there is nobody to tell
            raise
        return exits.WRONG
    return int(code or exits.OK)


def _own(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments up to `--`: what follows belongs to another program."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _usage_fault(error: typer.TyperException) -> tuple[str, str]:
    """Return message and remedy for a command line that cannot be understood."""
    near = getattr(error, "possibilities", None)
    if near:
        message = f"{error.message}. Did you mean {' or '.join(sorted(near))}?"
    else:
        message = error.format_message()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else PROGRAM
    return message.replace("Value error, ", ""), f"`{path} --help` says what it takes"

"""docs/cli.md, written from the commands' own help: `python -m router.cli.reference` renews it."""

import inspect
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from router.cli.agents import AGENTS, Gateway
from router.cli.app import PROGRAM, build
from router.cli.exits import MEANINGS
from router.cli.launch import NO_KEY
from router.roles import AUTO

PATH = Path(__file__).parents[2] / "docs" / "cli.md"

HEAD = """\
# Command line

Written from the commands' own help by `python -m router.cli.reference`; a test fails when it is
stale. Every command takes `--json`: one JSON value on stdout (one line per event for those that
keep running) and nothing else there; `replay` takes a file for it, or `-` for stdout. Colours are
left out where stdout is no terminal, and when `NO_COLOR` is set. Errors go to stderr as one message
with its remedy; under `--json` also to stdout as `{"error": {"message": ..., "hint": ...}}`.

`TIERWISE_CONFIG` and `TIERWISE_POLICY` name the two files where no flag does; without either they
are `tierwise.toml` and `policy.toml` of the working directory. `tierwise --version` prints the
version, `tierwise --install-completion` teaches your shell the commands.

## While it runs

`serve`, `gateway` and `collector` keep their processes running. One that ends is started again
after a wait that doubles from 0.1 s to 30 s; connections wait meanwhile in the listening socket,
which the parent holds. When the gateway never starts (five times in a row), or refuses its files
every time, the command ends with the reason. Beside a gateway the collector may be away for ever:
spans wait on disk and no step is refused. The processes end when their parent does, even by
`kill -9`.

| signal | effect |
|---|---|
| SIGHUP | both files are read again; a fault keeps the old ones, and `/readyz` says so |
| SIGTERM, Ctrl-C | nobody new is let in; steps in flight finish (`gateway.drain_seconds`) |
| the same again, a second or more later | what still runs is killed, and the exit code is 1 |

Under `--json` each of these is a line: `started`, `exited` (with `exit_code`, `wait_seconds` and
`restarts_count`), `ready` (with `addresses` and `roles`), `reloading`, `draining`, `killed`,
`stopped`.
"""


def markdown() -> str:
    """Return docs/cli.md as it should be."""
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in MEANINGS.items())
    exits = f"## Exit codes\n\n| code | meaning |\n|---|---|\n{rows}\n"
    root = typer.main.get_command(build())
    return "\n".join([HEAD, exits, *_sections(root, (PROGRAM,)), _agents()])


def _sections(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a section for each command below ``command``, in the order that help shows."""
    children: dict[str, Any] = getattr(command, "commands", {})
    for name, child in children.items():
        if getattr(child, "commands", None):
            yield from _sections(child, (*path, name))
        else:
            yield _section(child, (*path, name))


def _section(command: Any, path: tuple[str, ...]) -> str:
    parameters = [p for p in command.params if p.name != "help"]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    flags = [p for p in parameters if p.param_type_name == "option"]
    usage = " ".join([*path, *_required(arguments), "[flags]", *_optional(arguments)])
    lines = [f"## `{' '.join(path)}`", "", inspect.cleandoc(command.help), ""]
    lines += ["```", usage, "```", ""]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{p.name.upper()}` | {p.help} |" for p in arguments]
        lines.append("")
    lines += ["| flag | meaning |", "|---|---|"]
    lines += [f"| {_spelling(p)} | {p.help}{_default(p)} |" for p in flags]
    return "\n".join([*lines, ""])


def _required(arguments: list[Any]) -> list[str]:
    return [
        p.name.upper() if p.required else f"[{p.name.upper()}]"
        for p in arguments
        if p.required or p.nargs != -1
    ]


def _optional(arguments: list[Any]) -> list[str]:
    many = [p for p in arguments if not p.required and p.nargs == -1]
    return [f"[-- {p.name.upper()}...]" for p in many]


def _agents() -> str:
    """Return what `launch` does for each agent, with the default address and role."""
    gateway = Gateway(url="http://127.0.0.1:8080", key=NO_KEY, role=AUTO)
    lines = ["## What `tierwise launch` sets", ""]
    for name, start in AGENTS.items():
        made = start(gateway)
        lines += [f"### {name}", "", inspect.cleandoc(start.__doc__ or ""), "", "```"]
        lines += [f"unset {variable}" for variable in made.unset]
        lines += [f"{variable}={value}" for variable, value in made.variables.items()]
        lines += [f"{name}={value}  # unless it is set" for name, value in made.defaults.items()]
        lines += [shlex.join(made.command), "```", ""]
    return "\n".join(lines)


def _spelling(parameter: Any) -> str:
    names = " ".join(f"`{name}`" for name in parameter.opts)
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar or parameter.opts[0].lstrip('-').upper()}"


def _default(parameter: Any) -> str:
    if parameter.is_flag or parameter.default is None:
        return ""
    value = parameter.default() if callable(parameter.default) else parameter.default
    text = str(getattr(value, "value", value))
    variable = f", or `{parameter.envvar}`" if parameter.envvar else ""
    return f" Default `{text}`{variable}."


if __name__ == "__main__":
    PATH.write_text(markdown())
    sys.stderr.write(f"wrote {PATH}\n")

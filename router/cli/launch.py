"""`tierwise launch`: start a coding agent that calls the gateway instead of its provider."""

import os
import shlex
import shutil
from typing import Annotated

import typer

from router.cli import options
from router.cli.agents import AGENTS, Gateway
from router.cli.output import Screen
from router.cli.probe import livez, models
from router.config import Config
from router.listen import Address
from router.roles import ALIAS_PREFIXES, AUTO
from router.settings import Overrides, load_config
from router.targets import secret
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name

LIVEZ_SECONDS = 2.0
PRINT = "env"
NO_KEY = "tierwise"  # clients want some key even where the gateway asks for none


def launch(  # noqa: PLR0913 - a flag is a parameter
    *,
    agent: Annotated[
        str, typer.Argument(help=f"{', '.join(AGENTS)}, or env to print the variables.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="After --: what the agent itself takes.")
    ] = None,
    role: Annotated[str, typer.Option(metavar="NAME", help="The role of its steps.")] = AUTO,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="The client key's name in tierwise.toml.")
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    gateway: options.GatewayAt = None,
    json: options.Json = False,
) -> None:
    """Start a coding agent with its base URL set to the gateway.

    The agent takes this process's place. Refuses when no tierwise gateway answers, so that nothing
    goes to a stranger's port. --json prints what would be run and starts nothing.
    """
    screen = Screen(json=json)
    if agent not in AGENTS and agent != PRINT:
        raise ConfigError(
            f"no agent called {agent!r}",
            hint=f"known: {', '.join(AGENTS)}; `tierwise launch env` prints variables for others",
        )
    settings = load_config(config, Overrides(gateway=gateway))
    address = Address.parse(settings.gateway.listen, where="--gateway")
    if livez(address, timeout_seconds=LIVEZ_SECONDS) is None:
        raise ConfigError(
            f"no tierwise gateway answers at {address.url}",
            hint="start one with `tierwise serve`, or name its address with --gateway",
        )
    running = Gateway(url=address.url, key=_client_key(settings, key), role=role)
    _must_know(address, running)
    if agent == PRINT:
        _print(screen, running)
        return
    start = AGENTS[agent](running)
    command = [*start.command, *(arguments or ())]
    missing = {name: value for name, value in start.defaults.items() if name not in os.environ}
    made = {**start.variables, **missing}
    if json:
        screen.result({"command": command, "set": made, "unset": list(start.unset)})
        return
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(
            f"{command[0]!r} is not on the PATH", hint="install it first; see its own pages"
        )
    environment = {name: value for name, value in os.environ.items() if name not in start.unset}
    os.execve(program, command, {**environment, **made})  # noqa: S606 - no shell meant


def _client_key(config: Config, name: str | None) -> str:
    """Return the secret of the client key called ``name``, or of the only one there is.

    Raises:
        ConfigError: when there is no such key, several to choose from, or its variable is unset.
    """
    known = ", ".join(key.name for key in config.keys)
    if name is None:
        if not config.keys:
            return NO_KEY
        if len(config.keys) > 1:
            raise ConfigError(
                "the gateway asks for a client key and knows several",
                hint=f"choose one with --key: {known}",
            )
        name = config.keys[0].name
    for key in config.keys:
        if key.name == name:
            return secret(key.key_env, os.environ, user=f"client key {name!r} of tierwise.toml")
    raise ConfigError(
        f"--key: tierwise.toml has no client key called {name!r}",
        hint=f"known keys: {known or 'none, so leave --key out'}",
    )


def _must_know(address: Address, running: Gateway) -> None:
    """Return if the agent's role is one that the gateway lists, or it lists none to this key.

    Raises:
        ConfigError: its steps would all go to the role `default`.
    """
    listed = models(address, key=running.key, timeout_seconds=LIVEZ_SECONDS)
    own, _ = ALIAS_PREFIXES
    roles = [name.removeprefix(own) for name in listed if name.startswith(own)]
    if roles and running.role not in roles:
        raise ConfigError(
            f"--role: the gateway knows no role {running.role!r}",
            hint=f"its roles: {', '.join(roles)}{nearest_name(running.role, roles)}",
        )


def _print(screen: Screen, running: Gateway) -> None:
    variables = running.variables
    screen.result({"set": variables})
    for name, value in variables.items():
        screen.say(f"export {name}={shlex.quote(value)}")

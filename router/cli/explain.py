"""`tierwise policy explain`: why would this request go where."""

import json as jsonlib
import os
import sys
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from router.cli import exits, options
from router.cli.inforce import InForce, in_force
from router.cli.output import Screen
from router.config import Config, KeyConfig
from router.explain import BudgetNote, Candidate, Choice, Explanation, Question
from router.explain import explain as explained
from router.policy import Policy
from router.served import Served
from router.settings import Overrides, load
from router.targets import Targets
from telemetry.errors import ConfigError, StepError
from telemetry.nearest import nearest_name
from telemetry.records import Dialect

BODY_BYTES_MAX = 32 * 1_048_576
REVISION = (
    "A revision's id, a file of `policy export`, or declared; what is in force when left out."
)


def explain(  # noqa: PLR0913 - a flag is a parameter
    *,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="A request header; repeatable."),
    ] = None,
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="FILE", help="The request's JSON body; - reads stdin."),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="NAME", help="The role, as x-tierwise-role names it.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model the request names.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="The client key's name in tierwise.toml.")
    ] = None,
    dialect: Annotated[
        Dialect, typer.Option(metavar="NAME", help=f"The API it is sent to: {', '.join(Dialect)}.")
    ] = Dialect.CHAT,
    revision: Annotated[str | None, typer.Option(metavar="NAME", help=REVISION)] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Say which role, tier and model a request would get, and why; no provider is asked.

    Goes by the revision in force: the running collector's, or while it is away the last one that a
    gateway on this machine heard of. Where arms are drawn, the likeliest is followed.
    """
    screen = Screen(json=json)
    settings, file = load(config, policy, Overrides(console=console))
    today = datetime.now(UTC).date()
    targets = Targets(settings, os.environ, today=today)
    compiled = Policy.build(file, targets, today=today, directory=policy.absolute().parent)
    headers = dict(_header(text) for text in header or ())
    if role is not None:
        headers["x-tierwise-role"] = role
    learned = in_force(settings, revision)
    holder = _key(settings, key)
    question = Question(
        dialect=dialect,
        headers=headers,
        body=_body(body, model),
        key_role=holder.role if holder else None,
        key=holder.name if holder else None,
        key_budget=holder.budget if holder else None,
    )
    try:
        found = explained(compiled, question, standing=learned.standing, today=today)
    except StepError as error:
        raise ConfigError(f"--body: {error.message}", hint=error.hint) from error
    screen.result(asdict(found) | {"source": learned.source})
    _show(screen, found, learned, roles=compiled.roles)
    raise typer.Exit(exits.WRONG if found.refused else exits.OK)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigError(
            f"--header: {text!r} is not name:value", hint="write it like x-tierwise-role:planner"
        )
    return name.strip().lower(), value.strip()


def _body(source: str | None, model: str | None) -> bytes:
    """Return the request's bytes, with ``model`` in the place of its own when one is given."""
    content = b"{}" if source is None else _read(source)
    if model is None:
        return content
    try:
        fields = jsonlib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--body: not JSON: {error}", hint="give a request's body") from error
    if not isinstance(fields, dict):
        raise ConfigError("--body: not a JSON object", hint="give a request's body")
    return jsonlib.dumps({**fields, "model": model}).encode()


def _read(source: str) -> bytes:
    try:
        if source == "-":
            content = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"--body: {source}: {error.strerror or error}", hint="name a file, or - for stdin"
        ) from error
    if len(content) > BODY_BYTES_MAX:
        raise ConfigError(
            f"--body: larger than {BODY_BYTES_MAX} bytes", hint="is it the right file?"
        )
    return content


def _key(config: Config, name: str | None) -> KeyConfig | None:
    if name is None:
        return None
    for key in config.keys:
        if key.name == name:
            return key
    known = ", ".join(key.name for key in config.keys) or "none"
    raise ConfigError(
        f"--key: tierwise.toml has no client key called {name!r}", hint=f"known keys: {known}"
    )


def _show(screen: Screen, found: Explanation, learned: InForce, *, roles: Collection[str]) -> None:
    asker = found.asker
    rule = f", shapes[{asker.shape_rule}]" if asker.shape_rule is not None else ""
    screen.say(f"role      {asker.role} (from {asker.source}{rule})", style="bold")
    if asker.unknown is not None:
        near = nearest_name(asker.unknown, roles)
        screen.say(f"          {asker.unknown!r} is no role of the policy{near}", style="yellow")
    screen.say(f"rules     {asker.rules}, learn {found.learn}, policy {found.policy_hash}")
    _show_served(screen, found, learned)
    if found.refused is not None:
        screen.say(f"refused   {found.refused}", style="bold red")
    if found.choice is not None:
        _show_choice(screen, found.choice)
    if found.pin is not None:
        until = f" until {found.pin.until}" if found.pin.until else ""
        ended = ", which has passed" if found.pin.expired else ""
        screen.say(f"pin       {found.pin.owner}{until}{ended}: {found.pin.reason}")
    if found.budgets:
        screen.say("budgets   " + "\n          ".join(map(_budget, found.budgets)))
    screen.say("models    " + "\n          ".join(map(_candidate, found.candidates)))


def _show_served(screen: Screen, found: Explanation, learned: InForce) -> None:
    standing = learned.standing
    named = "no revision" if standing.revision is None else standing.revision.revision_id
    screen.say(f"learned   {named}, {learned.source}")
    if found.outdated:
        screen.say(
            "          it was derived under another policy.toml: here all is declared, but a "
            "gateway that has seen both keeps what did not change",
            style="yellow",
        )
    if found.held is not None:
        screen.say(f"          the role is held at {found.held} by hand; `tierwise policy list`")
    if found.served:
        screen.say("decides   " + "\n          ".join(map(_served, found.served)))


def _served(one: Served) -> str:
    arms = ", ".join(f"{arm} {share:.4g}" for arm, share in one.arms.items())
    return f"{one.revision} with {arms}" + (f", for {one.share:.4g} of them" * (one.share < 1.0))


def _show_choice(screen: Screen, choice: Choice) -> None:
    drawn = "" if choice.propensity == 1.0 else f", {choice.propensity:.4g} of such steps"
    screen.say(f"arm       {choice.arm} ({choice.reason}{drawn})", style="bold green")
    tried = zip(choice.models, choice.addresses, strict=True)
    screen.say("tries     " + ", then ".join(f"{model} at {at}" for model, at in tried))
    if choice.params:
        screen.say(f"sets      {jsonlib.dumps(dict(choice.params))}")
    screen.say(f"on fail   {choice.after_fail or 'the answer stands'}")


def _budget(one: BudgetNote) -> str:
    whose = f"{one.scope} {one.subject}" if one.subject else one.scope
    held = f"the first call holds back up to ${one.held_usd:.6g}"
    never = "" if one.fits else ", more than all of it"
    return f"{whose}: ${one.usd:g}, then {one.on_exhausted}; {held}{never}"


def _candidate(one: Candidate) -> str:
    written = "-" if one.usd_per_1k_output is None else f"{one.usd_per_1k_output:g}"
    price = f"${one.usd_per_1k_input:g} in, ${written} out per 1,000 tokens"
    return f"{one.tier}: {one.model} ({price}): {one.lost or 'first'}"

"""`tierwise policy`: look at learned revisions, decide on them, hold roles fixed.

Everything goes through the running collector, which knows what is in force.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from collector.holds import PIN_DAYS_MAX
from collector.recent_steps import STEPS_DEFAULT, STEPS_MAX
from collector.revisionfile import parsed
from router.cli import options
from router.cli.asking import Console, part
from router.cli.output import Screen
from router.cli.policy_pages import show_difference, show_hold, show_list, show_preview
from telemetry.errors import ConfigError

ACTIVE: Final = "active"

Revision = Annotated[str, typer.Argument(metavar="REVISION", help="Its id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept for good.")]
MaybeReason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept for good.")
]
Override = Annotated[
    str | None,
    typer.Option("--override", metavar="REASON", help="Serve it although the preview objects."),
]
Rollout = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Share of sessions that get it."),
]
Days = Annotated[float, typer.Option(max=PIN_DAYS_MAX, metavar="N", help="How long it holds.")]
Steps = Annotated[
    int,
    typer.Option(min=1, max=STEPS_MAX, metavar="N", help="How many recent decisions to look at."),
]
FilePath = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", help="As `policy export` writes it.")
]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="The role.")]
MaybeRole = Annotated[
    str | None, typer.Argument(metavar="[ROLE]", help="The role; all when left out.")
]


def list_(
    *,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only these, such as proposed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many.")] = 20,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """List revisions, newest first, with what is in force and what people hold."""
    screen = Screen(json=json)
    asked = {"status": status, "limit": limit}
    found = Console.of(config, console=console).get("/api/policy/revisions", asked)
    screen.result(found)
    show_list(screen, found)


def diff(
    after: Annotated[str, typer.Argument(metavar="[REVISION]", help="After.")] = ACTIVE,
    before: Annotated[
        str | None,
        typer.Argument(metavar="[BEFORE]", help="Before; what is in force when left out."),
    ] = None,
    *,
    steps: Steps = STEPS_DEFAULT,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Show what differs between two revisions, by id, `active` or `declared`.

    Without arguments: what the learned policy does otherwise than the declared one.
    """
    screen = Screen(json=json)
    former = before or ("declared" if after == ACTIVE else ACTIVE)
    asked = {"before": former, "after": after, "steps": steps}
    found = Console.of(config, console=console).get("/api/policy/diff", asked)
    screen.result(found)
    show_difference(screen, found)


def preview(
    revision: Revision,
    *,
    steps: Steps = STEPS_DEFAULT,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Replay recent decisions under a revision: what moves, dollars, floors, what is unproven.

    For a shadow revision: the decisions since it became one. Calls nobody.
    """
    screen = Screen(json=json)
    asked = {"revision": revision, "steps": steps}
    found = Console.of(config, console=console).get("/api/policy/preview", asked)
    screen.result(found)
    show_preview(screen, found)


def export(
    revision: Annotated[str, typer.Argument(metavar="[REVISION]", help="Its id.")] = ACTIVE,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it there.")
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Write a revision as a file for review: TOML, in a stable order, with its evidence."""
    screen = Screen(json=json)
    asked = {"revision": revision}
    found = Console.of(config, console=console).get("/api/policy/export", asked)
    text = str(found["file"])
    screen.result(found | ({} if out is None else {"path": str(out)}))
    if out is None:
        screen.say(text.rstrip("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{out}: {error.strerror or error}", hint="name a file that can be written"
        ) from error
    screen.say(f"written to {out}")


def propose(
    *,
    file: FilePath,
    reason: Reason,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Put a file's revision into the review queue."""
    text = _text(file)
    body = {"file": text, "reason": reason}
    _change(config, console, "propose", body, json=json, base=f'"{parsed(text).base}"')


def approve(
    revision: Revision,
    *,
    override: Override = None,
    rollout: Rollout = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Put a proposal in force, unless the preview objects or its base is stale."""
    body = {"override": override, "rollout": rollout}
    _decide(config, console, revision, "approve", body, json=json)


def reject(
    revision: Revision,
    *,
    reason: Reason,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Take a proposal out of the queue for good."""
    _change(config, console, f"revisions/{revision}/reject", {"reason": reason}, json=json)


def shadow(
    revision: Revision,
    *,
    reason: MaybeReason = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Compare a proposal with live decisions from now on, without serving it.

    `tierwise policy preview REVISION` shows the comparison.
    """
    _change(config, console, f"revisions/{revision}/shadow", {"reason": reason}, json=json)


def activate(  # noqa: PLR0913 - a flag is a parameter
    revision: Annotated[str | None, typer.Argument(metavar="[REVISION]", help="Its id.")] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Or a file with it.")
    ] = None,
    override: Override = None,
    rollout: Rollout = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Put a former revision, or a file's, in force.

    One that was in force before needs no preview. A file is refused once another revision than
    its base is in force.
    """
    if (revision is None) == (file is None):
        raise ConfigError(
            "name a revision or a --file, one of them", hint="`tierwise policy list` shows the ids"
        )
    body = {"override": override, "rollout": rollout}
    if revision is not None:
        _change(config, console, "activate", body | {"revision": revision}, json=json)
        return
    assert file is not None, "one of the two was given"
    text = _text(file)
    parsed(text)  # a file that is wrong is said to be wrong before anybody is asked
    _post(config, console, "activate", body | {"file": text}, {}, json=json)


def rollback(
    *,
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="REVISION", help="Its id, or declared; else the parent."),
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Go back to what was in force before, at once, and freeze the roles concerned.

    Frozen, because the learner would walk straight back; `tierwise policy thaw` lets it.
    """
    _change(config, console, "rollback", {"reason": reason, "to": to}, json=json)


def freeze(
    role: MaybeRole = None,
    *,
    reason: Reason,
    days: Annotated[
        float | None,
        typer.Option(max=PIN_DAYS_MAX, metavar="N", help="How long; until thawed when left out."),
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Keep the learner from moving a role, or all. Falling back to the declared table stays."""
    body = {"role": role, "reason": reason, "days": days}
    _change(config, console, "freeze", body, json=json)


def thaw(
    role: MaybeRole = None,
    *,
    reason: MaybeReason = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Let the learner move a role again; without a role, everything that is frozen."""
    _change(config, console, "thaw", {"role": role, "reason": reason}, json=json)


def pin(  # noqa: PLR0913 - a flag is a parameter
    role: Role,
    arm: Annotated[str, typer.Argument(metavar="ARM", help="A tier, or tier/on_fail.")],
    *,
    reason: Reason,
    days: Days,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Give a role one arm for some days, whatever a revision says."""
    body = {"role": role, "arm": arm, "reason": reason, "days": days}
    _change(config, console, "pin", body, json=json)


def unpin(
    role: Role,
    *,
    reason: MaybeReason = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """End a pin before its time."""
    _change(config, console, "unpin", {"role": role, "reason": reason}, json=json)


COMMANDS: Final = (
    ("list", list_), ("diff", diff), ("preview", preview), ("export", export),
    ("propose", propose), ("approve", approve), ("reject", reject), ("shadow", shadow),
    ("activate", activate), ("rollback", rollback), ("freeze", freeze), ("thaw", thaw),
    ("pin", pin), ("unpin", unpin),
)  # fmt: skip


def _decide(
    config: Path, console: str | None, revision: str, action: str, body: Mapping[str, Any],
    *, json: bool,
) -> None:  # fmt: skip
    """Decide on a proposal, on the base that it was made for."""
    asked = Console.of(config, console=console)
    found = asked.get(f"/api/policy/revisions/{part(revision)}")
    if found.get("successor") is not None:
        later = str(found["successor"])
        Screen(json=json).note(f"{revision} was rebased: {later} moves the same cells")
        revision, found = later, asked.get(f"/api/policy/revisions/{part(later)}")
    base = f'"{found["parent"]}"'
    _change(config, console, f"revisions/{part(revision)}/{action}", body, json=json, base=base)


def _change(
    config: Path, console: str | None, path: str, body: Mapping[str, Any], *, json: bool,
    base: str | None = None,
) -> None:  # fmt: skip
    """Ask for a change on ``base``, or on what is in force now."""
    if base is None:
        found = Console.of(config, console=console).get("/api/policy/revisions", {"limit": 1})
        base = str(found["etag"])
    _post(config, console, path, body, {"if-match": base}, json=json)


def _post(
    config: Path, console: str | None, path: str, body: Mapping[str, Any],
    headers: Mapping[str, str], *, json: bool,
) -> None:  # fmt: skip
    screen = Screen(json=json)
    sent = {name: value for name, value in body.items() if value is not None}
    once = dict(headers) | {"idempotency-key": str(uuid.uuid4())}
    answer = Console.of(config, console=console).post(f"/api/policy/{path}", sent, once)
    screen.result(answer)
    for name in ("revision", "status", "undone", "frozen", "ended", "active"):
        value = answer.get(name)
        if value:
            screen.say(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    if answer.get("hold"):
        show_hold(screen, answer["hold"])
    if answer.get("unchanged"):
        screen.say("it was in force already")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: {getattr(error, 'strerror', None) or error}",
            hint="name a file that `tierwise policy export` wrote",
        ) from error

"""`tierwise alerts`: what fires, what is armed, how much an alert can be trusted, silences."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from collector.alerts.states import State
from router.cli import exits, options
from router.cli.asking import Console, part
from router.cli.output import Screen
from telemetry.errors import ConfigError

alerts = typer.Typer(
    name="alerts", help="What fires, what is armed, silences. Asks the running collector."
)

Role = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only this role.")]
Author = Annotated[
    str,
    typer.Option("--author", metavar="NAME", help="Who answers for it; a key's name comes first."),
]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why.")]
Mark = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="As listed; its beginning will do.")
]


@alerts.command("list")
def list_(
    *,
    state: Annotated[
        State | None, typer.Option("--state", metavar="STATE", help="Only alerts in this state.")
    ] = None,
    role: Role = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """List the alerts that stand, with those that have nothing to look at yet (no_data)."""
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    found = asked.get("/api/alerts", {"state": state, "role": role})
    screen.result(found)
    rows = [
        {
            "alert": one["name"],
            "role": one["role"] or "-",
            "state": one["state"],
            "since": _when(one["since_ns"]),
            "muted": one["muted"] or "-",
            "fingerprint": one["fingerprint"][:12],
            "summary": one["annotations"].get("summary", ""),
        }
        for one in found["alerts"]
    ]
    if not rows:
        screen.say("no alert stands")
        return
    screen.show(_table(rows), keys=2)


@alerts.command()
def show(
    fingerprint: Mark,
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Show one alert whole: what it says, and every state that it went through."""
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    found = asked.get(f"/api/alerts/{part(_whole(asked, fingerprint))}")
    screen.result(found)
    alert = found["alert"]
    if alert is not None:
        screen.say(f"{alert['name']} {alert['role'] or ''}: {alert['state']}", style="bold")
        for name, words in alert["annotations"].items():
            screen.say(f"  {name}: {words}")
    for moved in found["transitions"]:
        at = _when(moved["at_ns"])
        screen.say(f"{at}  {moved['was']} -> {moved['state']}  {moved['reason']}")


@alerts.command()
def armed(
    *,
    role: Role = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Say whether both alerts of every role that learns could fire now; ends with 2 if not."""
    screen = Screen(json=json)
    found = Console.of(config, console=console).get("/api/alerts/armed", {"role": role})
    screen.result(found)
    for side in found["sides"]:
        style = "green" if side["armed"] else "red"
        state = "armed" if side["armed"] else "not armed"
        screen.say(f"{side['role']} {side['alert']}: {state}", style=style)
        for condition in side["conditions"]:
            if not condition["holds"]:
                screen.say(f"  {condition['name']}: {condition['words']}")
    if not found["sides"]:
        screen.say("no role learns")
    if found["unsafe_roles"]:
        screen.say(f"held to their declared table: {', '.join(found['unsafe_roles'])}")
    if found["graded_roles"]:
        names = ["all" if role == "*" else role for role in found["graded_roles"]]
        screen.say(f"every answer graded, where there are graders: {', '.join(names)}")
    raise typer.Exit(exits.OK if found["armed"] else exits.USAGE)


@alerts.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An alert, such as QualityLow.")],
    *,
    role: Role = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Say what an alert means, how often it is wrong and how late it comes, for real traffic."""
    screen = Screen(json=json)
    found = Console.of(config, console=console).get(
        f"/api/alerts/explain/{part(name)}", {"role": role}
    )
    screen.result(found)
    for key in ("meaning", "question", "remedy", "errors"):
        screen.say(f"{key}: {found[key]}")
    if "late_seconds" in found:
        screen.say(f"delay: at most {found['late_seconds']:g} s after the condition holds")
        for one in found.get("reached", ()):
            minutes = one["minutes"]
            when = "never" if minutes is None else f"after {minutes:,.0f} minutes"
            screen.say(f"{one['effect']}, from half of it: {when}")
    if "arl" not in found:
        return
    screen.say(
        f"run length: at least {found['arl']:,.0f} outcomes before a false alarm, on average"
    )
    screen.say(
        f"false alarm in a quarter of {found['outcomes_per_quarter']:,} outcomes: at most "
        f"{found['false_alarm_bound']:.3g} while the limit holds exactly"
    )
    simulated = found.get("false_alarm_simulated")
    if simulated is not None:
        screen.say(
            f"simulated ({found['traffic']}): {simulated['share']:.3f} in "
            f"{simulated['outcomes']:,} outcomes"
        )
    for delay in found["delays"]:
        median = "more than 1,000" if delay["median"] is None else f"{delay['median']:,.0f}"
        screen.say(
            f"{delay['effect']}: median delay {median} outcomes, missed {delay['missed']:.1%}"
        )


@alerts.command()
def silence(  # noqa: PLR0913 - a flag is a parameter
    matchers: Annotated[
        list[str],
        typer.Argument(metavar="LABEL=VALUE...", help="All must match; one * in a value is any."),
    ],
    *,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=168, metavar="H", help="For how long.")
    ],
    author: Author = "",
    comment: Comment = "",
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Mute the notices of some alerts for a while; safety actions go on."""
    screen = Screen(json=json)
    found = Console.of(config, console=console).post(
        "/api/alerts/silences",
        {
            "matchers": dict(_matcher(text) for text in matchers),
            "hours": hours,
            "author": author,
            "comment": comment,
        },
    )
    screen.result(found)
    screen.say(f"silence {found['id']} until {_when(found['ends_ns'])}")


@alerts.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="As `silence` printed it.")],
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """End a silence now."""
    screen = Screen(json=json)
    found = Console.of(config, console=console).delete(f"/api/alerts/silences/{part(silence_id)}")
    screen.result(found)
    screen.say(f"silence {found['ended']} is over")


@alerts.command()
def ack(
    fingerprint: Mark,
    *,
    comment: Comment,
    author: Author = "",
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Take a firing alert as known: its safety action ends, its detector begins again."""
    screen = Screen(json=json)
    asked = Console.of(config, console=console)
    path = f"/api/alerts/{part(_whole(asked, fingerprint))}/ack"
    found = asked.post(path, {"author": author, "comment": comment})
    screen.result(found)
    screen.say(f"{found['name']} {found['role'] or ''} is acknowledged")


@alerts.command("test")
def try_sinks(
    *,
    sink: Annotated[
        str | None, typer.Option("--sink", metavar="NAME", help="Only this sink.")
    ] = None,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Send a test through every sink; an acknowledged one arms the alerts for a day.

    Ends with 1 unless every sink acknowledged it.
    """
    screen = Screen(json=json)
    body = {} if sink is None else {"sink": sink}
    found = Console.of(config, console=console).post("/api/alerts/test", body)
    screen.result(found)
    for one in found["sinks"]:
        told = "acknowledged" if one["acknowledged"] else f"not acknowledged: {one['message']}"
        screen.say(f"{one['sink']}: {told}", style="green" if one["acknowledged"] else "red")
    if not found["sinks"]:
        screen.say("no sink is configured: add [[alerts.notify]] to policy.toml")
    well = bool(found["sinks"]) and all(one["acknowledged"] for one in found["sinks"])
    raise typer.Exit(exits.OK if well else exits.WRONG)


def _whole(asked: Console, fingerprint: str) -> str:
    """Return the whole fingerprint of the one alert whose begins so; as given if none does."""
    listed = asked.get("/api/alerts")["alerts"]
    found = [one["fingerprint"] for one in listed if one["fingerprint"].startswith(fingerprint)]
    if len(found) > 1:
        raise ConfigError(f"{len(found)} alerts begin with {fingerprint}", hint="give more of it")
    return str(found[0]) if found else fingerprint


def _matcher(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r} is no LABEL=VALUE", hint="for example role=worker")
    return name, value


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        table.add_column(key)
    for row in rows:
        table.add_row(*row.values())
    return table

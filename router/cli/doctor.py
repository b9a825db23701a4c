"""`tierwise doctor`: look at everything a service needs; each failure comes with its mend."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from router.cli import checkup, exits, options
from router.cli.checkup import Check
from router.cli.output import Screen
from router.lint import lint
from router.settings import Overrides, load_config
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError

STYLES = {"ok": "green", "warning": "yellow", "fail": "bold red"}


def doctor(
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    gateway: options.GatewayAt = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long a provider may take."),
    ] = 5.0,
    json: options.Json = False,
) -> None:
    """Check files, keys, ports, disk, providers, the clock and the collector.

    Nothing is spent: providers are asked for their list of models only. Keys are shown by the name
    of their variable. Ends with 1 when a check failed; warnings alone end with 0.
    """
    from router.cli import upstreams  # noqa: PLC0415 - its HTTP client is no other command's

    screen = Screen(json=json)
    checks: list[Check] = []

    def add(found: list[Check]) -> None:
        for check in found:
            checks.append(check)
            screen.say(
                f"{check.status:<8} {check.name}: {check.message}", style=STYLES[check.status]
            )
            if check.mend:
                screen.say(f"         next: {check.mend}")

    today = datetime.now(UTC).date()
    add(checkup.of_files(lint(config, policy, environment=os.environ, today=today)))
    try:
        settings = load_config(config, Overrides(gateway=gateway))
    except ConfigError:
        if gateway is not None and not any(check.status == "fail" for check in checks):
            raise
        add([checkup.skipped("keys, ports, disk, providers, clock and collector")])
    else:
        add(checkup.of_keys(settings, os.environ))
        add(checkup.of_ports(settings))
        add(checkup.of_disk(settings))
        add(upstreams.examine(settings, os.environ, timeout_seconds=timeout, clock=SystemClock()))
    failed = sum(check.status == "fail" for check in checks)
    warned = sum(check.status == "warning" for check in checks)
    screen.say(f"failed: {failed}, warnings: {warned}, fine: {len(checks) - failed - warned}")
    screen.result({"failed": failed, "warnings": warned, "checks": [c.plain for c in checks]})
    raise typer.Exit(exits.WRONG if failed else exits.OK)

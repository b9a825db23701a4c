"""`tierwise policy`: check, show and explain what people declare; review what is learned."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from router.cli import exits, options, policy_review
from router.cli.asking import Console, part
from router.cli.explain import explain
from router.cli.output import Screen
from router.cli.policy_pages import show_revision
from router.lint import lint as find
from router.policy import Policy
from router.rules import Rules
from router.settings import load
from router.targets import Targets
from telemetry.records import Dialect

policy = typer.Typer(
    name="policy", help="Check, show and explain the policy; review what is learned."
)
policy.command()(explain)


@policy.command()
def lint(
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    json: options.Json = False,
) -> None:
    """Say everything that is wrong with the two files, and what is worth knowing.

    Ends with 1 when there is an error; warnings alone end with 0.
    """
    screen = Screen(json=json)
    today = datetime.now(UTC).date()
    findings = find(config, policy, environment=os.environ, today=today)
    errors = [finding for finding in findings if finding.level == "error"]
    for finding in findings:
        style = "red" if finding.level == "error" else "yellow"
        screen.say(f"{finding.level}: {finding.where}: {finding.message}", style=style)
        if finding.remedy:
            screen.say(f"  next: {finding.remedy}")
    warnings_count = len(findings) - len(errors)
    screen.say(f"errors: {len(errors)}, warnings: {warnings_count}")
    screen.result(
        {
            "errors": len(errors),
            "warnings": warnings_count,
            "findings": [
                {
                    "level": finding.level,
                    "where": finding.where,
                    "message": finding.message,
                    "remedy": finding.remedy or None,
                }
                for finding in findings
            ],
        }
    )
    raise typer.Exit(exits.WRONG if errors else exits.OK)


@policy.command()
def show(
    revision: Annotated[
        str | None,
        typer.Argument(metavar="[REVISION]", help="A learned revision, by id, or active."),
    ] = None,
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Show what the policy means: every tier with its models, every role with its defaults.

    With a revision: its shares, its evidence and what became of it, from the running collector.
    """
    screen = Screen(json=json)
    if revision is not None:
        found = Console.of(config, console=console).get(f"/api/policy/revisions/{part(revision)}")
        screen.result(found)
        show_revision(screen, found)
        return
    settings, file = load(config, policy)
    today = datetime.now(UTC).date()
    targets = Targets(settings, os.environ, today=today)
    compiled = Policy.build(file, targets, today=today, directory=policy.absolute().parent)
    tiers = [
        {"tier": tier, **_model(targets, model)}
        for tier in compiled.ladder
        for model in compiled.models(tier)
    ]
    roles = [_role(rules) for rules in compiled.rules.values()]
    screen.result({"policy": compiled.hash, "tiers": tiers, "roles": roles})
    screen.say(f"policy {compiled.hash}")
    screen.show(_table("Tiers, cheapest first", tiers))
    screen.show(_table("Roles", roles))


for name, command in policy_review.COMMANDS:
    policy.command(name)(command)


def _model(targets: Targets, model: str) -> dict[str, Any]:
    target = targets.target(model)
    given, written = target.price.per_thousand()
    return {
        "model": model,
        "dialects": [dialect.value for dialect in Dialect if dialect in target.dialects],
        "usd_per_1k_input": round(given, 9),
        "usd_per_1k_output": None if written is None else round(written, 9),
        "price_from": target.price.source,
    }


def _role(rules: Rules) -> dict[str, Any]:
    return {
        "role": rules.role,
        "mode": rules.mode,
        "tier": rules.tier,
        "range": list(rules.range),
        "on_fail": rules.on_fail.value,
        "quality_floor": rules.quality_floor,
        "learn": rules.learn,
        "pin": None if rules.pin is None else rules.pin.model,
        "checks": [_check(spec) for spec in rules.checks],
        "graders": [_check(spec) for spec in rules.graders],
        "code": rules.code,
    }


def _check(spec: str | Mapping[str, Any]) -> str:
    """Return the name that verdicts of a check carry."""
    return spec if isinstance(spec, str) else str(spec.get("name") or spec.get("check"))


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for key in rows[0]:
        table.add_column(key.replace("_", " "))
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(value) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)

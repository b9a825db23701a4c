"""What a person should mend or at least know before a policy goes live."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, TypeVar

from router.callers import Callers
from router.config import Config
from router.policy import Policy, expired, target_faults
from router.policyfile import PolicyFile
from router.reload import budget_faults, key_faults
from router.route import Route
from router.rules import Rules, faults_of, rules_of
from router.targets import Targets
from telemetry.configfile import Section, load
from telemetry.errors import ConfigError
from telemetry.records import Dialect

PIN_NOTICE_DAYS = 30

FileT = TypeVar("FileT", bound=Section)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing about the two files; an error keeps them from being served."""

    level: Literal["error", "warning"]
    where: str  # file and key
    message: str
    remedy: str


def lint(
    config_path: Path, policy_path: Path, *, environment: Mapping[str, str], today: date
) -> list[Finding]:
    """Return every finding, errors first; an empty list means that nothing is amiss.

    Nothing is raised: a file that cannot be read is a finding.
    """
    config, findings = _loaded(config_path, Config)
    file, more = _loaded(policy_path, PolicyFile)
    findings += more
    if config is not None:
        findings += _caller_findings(config, environment)
    if file is not None:
        findings += [
            _error(f"policy.toml: {fault.where}", fault.message, fault.remedy)
            for fault in faults_of(file)
        ]
    if config is None or file is None:
        return findings
    targets = Targets(config, environment, today=today)
    roles = frozenset(rules.role for rules in rules_of(file))
    findings += [
        _error(f"{fault.file}: {fault.where}", fault.message, fault.remedy)
        for fault in [
            *target_faults(file, targets),
            *key_faults(config, roles),
            *budget_faults(config, file),
        ]
    ]
    if not findings:
        try:
            directory = policy_path.absolute().parent
            policy = Policy.build(file, targets, today=today, directory=directory)
        except ConfigError as error:
            return [_error("policy.toml", error.message, error.hint)]
        findings += _pin_findings(policy, today)
        findings += _rule_findings(policy)
        findings += _dialect_findings(policy)
        findings += _embedding_findings(policy, targets)
        findings += _unused_findings(config, file)
    return findings


def _loaded(path: Path, form: type[FileT]) -> tuple[FileT | None, list[Finding]]:
    try:
        return load(path, form), []
    except ConfigError as error:
        return None, [
            _error(path.name, line.removeprefix(f"{path.name}: "), error.hint)
            for line in error.message.splitlines()
        ]


def _error(where: str, message: str, remedy: str) -> Finding:
    return Finding(level="error", where=where, message=message, remedy=remedy)


def _warning(where: str, message: str, remedy: str) -> Finding:
    return Finding(level="warning", where=where, message=message, remedy=remedy)


def _caller_findings(config: Config, environment: Mapping[str, str]) -> list[Finding]:
    try:
        Callers(config.keys, environment)
    except ConfigError as error:
        return [_error("tierwise.toml: keys", error.message, error.hint)]
    return []


def _pin_findings(policy: Policy, today: date) -> Iterator[Finding]:
    for rules in policy.rules.values():
        pin = rules.pin
        if pin is None:
            continue
        where = f"policy.toml: {rules.where}.pin"
        if expired(pin, today):
            yield _warning(
                where,
                f"the pin to {pin.model} ended on {pin.until}; it still holds",
                f"{pin.owner} should renew `until` or remove the pin",
            )
        elif pin.until is not None and pin.until - today <= timedelta(days=PIN_NOTICE_DAYS):
            yield _warning(
                where, f"the pin to {pin.model} ends on {pin.until}", f"ask {pin.owner} in time"
            )
        written = policy.file.roles[rules.role]
        moot = [key for key in ("tier", "range", "on_fail", "learn") if getattr(written, key)]
        if moot and rules.mode is None:
            yield _warning(
                f"policy.toml: {rules.where}",
                f"{', '.join(moot)} say nothing while the role is pinned",
                "remove them, or the pin",
            )


def _rule_findings(policy: Policy) -> Iterator[Finding]:
    for rules in policy.rules.values():
        if rules.learn != "off" and rules.pin is None and rules.range[0] == rules.range[1]:
            yield _warning(
                f"policy.toml: {rules.where}.learn",
                f"{rules.learn!r} has nothing to choose: the range is {rules.range[0]!r} alone",
                'widen the range or set learn = "off"',
            )


def _dialect_findings(policy: Policy) -> Iterator[Finding]:
    """Say where a dialect that some model of the policy speaks finds fewer tiers, or none."""
    spoken = [
        dialect
        for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES)
        if any(policy.targets(tier, dialect) for tier in policy.ladder)
    ]
    for rules in policy.rules.values():
        for dialect in spoken:
            route = policy.table.get((rules.role, rules.mode, dialect))
            finding = _shortened(policy, rules, route=route, dialect=dialect)
            if finding is not None:
                yield finding


def _shortened(
    policy: Policy, rules: Rules, *, route: Route | None, dialect: Dialect
) -> Finding | None:
    where = f"policy.toml: {rules.where}"
    remedy = f"add a model whose provider speaks {dialect}, or call the role by another API"
    if route is None:
        return _warning(where, f"steps in the {dialect} dialect are refused", remedy)
    if rules.pin is not None:
        return None
    low, high = (policy.ladder.index(tier) for tier in rules.range)
    mute = [tier for tier in policy.ladder[low : high + 1] if tier not in route.tiers]
    if not mute:
        return None
    moved = "" if route.declared.tier == rules.tier else f" and start at {route.declared.tier!r}"
    return _warning(
        where, f"steps in the {dialect} dialect cannot use {', '.join(mute)}{moved}", remedy
    )


def _embedding_findings(policy: Policy, targets: Targets) -> Iterator[Finding]:
    """Say which models would be sent embeddings although they are priced for writing text."""
    for tier in policy.ladder:
        for target in policy.targets(tier, Dialect.EMBEDDINGS):
            writes = target.price.per_thousand()[1]
            if writes and len(target.dialects) > 1:
                provider = target.model.partition("/")[0]
                yield _warning(
                    f"policy.toml: tiers.{tier}.models",
                    f"{target.model} is offered embeddings because {provider!r} speaks them, "
                    "but it is priced for writing text",
                    "list embedding models under a provider of their own with "
                    'dialects = ["embeddings"]',
                )


def _unused_findings(config: Config, file: PolicyFile) -> Iterator[Finding]:
    used = {model for tier in file.tiers.values() for model in tier.models}
    providers = {model.partition("/")[0] for model in used}
    for model in config.prices:
        if model not in used:
            yield _warning(
                f'tierwise.toml: prices."{model}"',
                "no tier lists the model",
                "remove the price or correct its name",
            )
    for name in config.providers:
        if name not in providers:
            yield _warning(
                f"tierwise.toml: providers.{name}",
                "no tier lists a model of it",
                "remove it or add its models to a tier",
            )

"""What policy.toml means: every role with its defaults filled in, and every fault of the table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evals.catalogue import build_checks
from learning.edetector import bets, fastest
from router.policyfile import PinConfig, PolicyFile, RoleConfig, RoleRules, ShadowConfig
from router.roles import AUTO, DEFAULT
from router.shaperule import contradiction, covers
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name
from telemetry.records import OnFail

Learn = Literal["off", "observe", "propose", "bounded"]
Unpassed = Literal["answer", "refuse"]
ATTEMPTS_MAX = 4
CODE = "code"  # the tier that a function of the operator's answers; it needs no table

BOTH_ALERTS = (
    "a cost alert alone teaches a router to get cheap and dumb; "
    "a quality alert alone, expensive and safe"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing wrong with a file: the key, what is wrong, and how to mend it."""

    file: str = "policy.toml"
    where: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.message}; {self.remedy}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One role in one collaboration mode, nothing left open."""

    role: str
    mode: str | None
    tier: str
    range: tuple[str, str]  # lowest and highest tier
    on_fail: OnFail
    quality_floor: float | None
    learn: Learn
    pin: PinConfig | None
    caller_pins: bool
    checks: tuple[str | Mapping[str, Any], ...]
    graders: tuple[str | Mapping[str, Any], ...]
    code: str | None  # module:function of the tier `code`
    hold: bool
    unpassed: Unpassed
    side_effects: bool
    overhead: bool  # its steps exist only because of routing
    shadow: ShadowConfig | None
    attempts_max: int

    @property
    def where(self) -> str:
        """The table of policy.toml that they come from."""
        return f"roles.{self.role}" if self.mode is None else f"roles.{self.role}.mode.{self.mode}"


def refuse(faults: list[Fault]) -> None:
    """Raise one ``ConfigError`` that names every fault, or return when there is none."""
    if len(faults) == 1:
        (only,) = faults
        raise ConfigError(f"{only.file}: {only.where}: {only.message}", hint=only.remedy)
    if faults:
        raise ConfigError("\n".join(str(fault) for fault in faults), hint="mend each of them")


def roles_of(file: PolicyFile) -> dict[str, RoleConfig]:
    """Return the roles of ``file`` with `default`, which every policy has."""
    return {DEFAULT: RoleConfig()} | file.roles


def rules_of(file: PolicyFile) -> Iterator[Rules]:
    """Yield the rules of each role, and again for each collaboration mode it names."""
    for name, role in roles_of(file).items():
        yield _filled(file, name, None)
        for mode in role.mode:
            yield _filled(file, name, mode)


def _filled(file: PolicyFile, name: str, mode: str | None) -> Rules:
    role = roles_of(file)[name]
    layers: list[RoleRules] = [role] if mode is None else [role.mode[mode], role]
    top = file.ladder[-1]
    tier = next((layer.tier for layer in layers if layer.tier), top)
    return Rules(
        role=name,
        mode=mode,
        tier=tier,
        range=next((layer.range for layer in layers if layer.range), (tier, top)),
        on_fail=next((layer.on_fail for layer in layers if layer.on_fail), OnFail.STEP),
        quality_floor=next(
            (layer.quality_floor for layer in layers if layer.quality_floor is not None), None
        ),
        learn=next((layer.learn for layer in layers if layer.learn), "off"),
        pin=next((layer.pin for layer in layers if layer.pin), None),
        caller_pins=file.callers.pins if role.caller_pins is None else role.caller_pins,
        checks=next((layer.checks for layer in layers if layer.checks is not None), ()),
        graders=next((layer.graders for layer in layers if layer.graders is not None), ()),
        code=next((layer.code for layer in layers if layer.code), None),
        hold=next((layer.stream for layer in layers if layer.stream), "pass") == "hold",
        unpassed=next((layer.unpassed for layer in layers if layer.unpassed), "answer"),
        side_effects=next(
            (layer.side_effects for layer in layers if layer.side_effects is not None), False
        ),
        overhead=role.overhead,
        shadow=role.shadow,
        attempts_max=next(
            (layer.attempts_max for layer in layers if layer.attempts_max), ATTEMPTS_MAX
        ),
    )


def faults_of(file: PolicyFile) -> list[Fault]:
    """Return everything in ``file`` that does not fit together."""
    faults = [*_ladder_faults(file)]
    if AUTO in file.roles:
        faults.append(
            Fault(
                where=f"roles.{AUTO}",
                message=f"the alias tierwise/{AUTO} means that the role is said elsewhere",
                remedy="give the role another name",
            )
        )
    for rules in rules_of(file):
        faults += _role_faults(file, rules)
    faults += _shape_faults(file)
    faults += _budget_faults(file)
    faults += [
        Fault(
            where=f"alerts.roles.{role}",
            message=f"no role is called {role!r}",
            remedy=f"add [roles.{role}]{nearest_name(role, roles_of(file))}",
        )
        for role in file.alerts.roles
        if role not in roles_of(file)
    ]
    return faults


def _ladder_faults(file: PolicyFile) -> Iterator[Fault]:
    for index, tier in enumerate(file.ladder):
        if tier in file.ladder[:index]:
            yield Fault(
                where="ladder", message=f"tier {tier!r} stands twice", remedy="keep one of them"
            )
        if tier not in file.tiers and tier != CODE:
            yield Fault(
                where="ladder",
                message=f"tier {tier!r} has no table",
                remedy=f"add [tiers.{tier}] with its models{nearest_name(tier, file.tiers)}",
            )
    if CODE in file.tiers:
        yield Fault(
            where=f"tiers.{CODE}",
            message="the tier `code` has no models: a role's own function answers there",
            remedy="remove the table and name the function in the role's `code`",
        )
    if file.ladder == (CODE,):
        yield Fault(where="ladder", message="no tier has a model", remedy="add one above `code`")
    for tier in file.tiers:
        if tier not in file.ladder:
            yield Fault(
                where=f"tiers.{tier}",
                message="the tier is not on the ladder, so no step could reach it",
                remedy=f"add {tier!r} to ladder{nearest_name(tier, file.ladder)}",
            )


def _role_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    where = rules.where
    unknown = [
        tier for tier in dict.fromkeys((rules.tier, *rules.range)) if tier not in file.ladder
    ]
    for tier in unknown:
        yield Fault(
            where=where,
            message=f"tier {tier!r} is not on the ladder",
            remedy=f"the ladder is {', '.join(file.ladder)}{nearest_name(tier, file.ladder)}",
        )
    if not unknown:
        yield from _range_faults(file, rules)
    yield from _learning_faults(file, rules)
    yield from _alert_faults(file, rules)
    yield from _check_faults(rules)
    yield from _code_faults(file, rules)
    yield from _shadow_faults(file, rules)
    if rules.pin is not None and not any(
        rules.pin.model in tier.models for tier in file.tiers.values()
    ):
        models = [model for tier in file.tiers.values() for model in tier.models]
        yield Fault(
            where=f"{where}.pin",
            message=f"model {rules.pin.model!r} is in no tier, so its tier is not known",
            remedy=f"add it to the models of a tier{nearest_name(rules.pin.model, models)}",
        )


def _code_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    low, high = (file.ladder.index(tier) if tier in file.ladder else 0 for tier in rules.range)
    reaches = CODE in file.ladder[low : high + 1]
    if rules.code is not None and not reaches:
        yield Fault(
            where=f"{rules.where}.code",
            message=f"the role's range does not reach the tier `{CODE}`",
            remedy=f'put "{CODE}" on the ladder and into the range',
        )
    if rules.code is None and CODE in (rules.tier, rules.range[0]):
        yield Fault(
            where=rules.where,
            message=f"it may start at the tier `{CODE}` but names no function",
            remedy='add code = "module:function"',
        )


def _shadow_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    if rules.shadow is None or rules.mode is not None:
        return
    where, tier = f"{rules.where}.shadow", rules.shadow.tier
    if tier not in file.ladder or tier == CODE:
        yield Fault(
            where=f"{where}.tier",
            message=f"{tier!r} is no tier with models",
            remedy=f"name one of the ladder{nearest_name(tier, file.ladder)}",
        )
    if rules.side_effects or rules.pin is not None:
        why = "its steps have side effects" if rules.side_effects else "it is pinned to one model"
        yield Fault(
            where=where,
            message=f"{why}, so none of them may be asked again elsewhere",
            remedy="remove the table",
        )


def _check_faults(rules: Rules) -> Iterator[Fault]:
    for key, specs in (("checks", rules.checks), ("graders", rules.graders)):
        try:
            build_checks(specs)
        except ConfigError as error:
            yield Fault(where=f"{rules.where}.{key}", message=error.message, remedy=error.hint)
    for key, wanted in (("stream", rules.hold), ("unpassed", rules.unpassed == "refuse")):
        if wanted and not rules.checks:
            yield Fault(
                where=f"{rules.where}.{key}",
                message="it waits for checks and the role has none",
                remedy="add checks, or leave it out",
            )


def _range_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    low, start, high = (
        file.ladder.index(tier) for tier in (rules.range[0], rules.tier, rules.range[1])
    )
    if low > high:
        yield Fault(
            where=f"{rules.where}.range",
            message=f"{rules.range[0]!r} is above {rules.range[1]!r} on the ladder",
            remedy=f'write range = ["{rules.range[1]}", "{rules.range[0]}"]',
        )
    elif not low <= start <= high:
        yield Fault(
            where=f"{rules.where}.tier",
            message=f"{rules.tier!r} is outside the role's range "
            f"{rules.range[0]!r} to {rules.range[1]!r}",
            remedy="move the tier into the range or widen the range",
        )


def _learning_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    if rules.learn == "off":
        return
    missing = [
        f"[alerts.{name}]"
        for name, alert in (("cost", file.alerts.cost), ("quality", file.alerts.quality))
        if alert is None
    ]
    if missing:
        yield Fault(
            where=f"{rules.where}.learn",
            message=f"{rules.learn!r} needs both alerts: {BOTH_ALERTS}",
            remedy=f'add {" and ".join(missing)}, or set learn = "off"',
        )
    if rules.quality_floor is None:
        yield Fault(
            where=f"{rules.where}.learn",
            message=f"{rules.learn!r} needs to know which quality to keep",
            remedy='add quality_floor (0 to 1), or set learn = "off"',
        )


def _alert_faults(file: PolicyFile, rules: Rules) -> Iterator[Fault]:
    """Yield the alert that could never fire: it would look armed and not be."""
    alert, floor = file.alerts.quality_of(rules.role), rules.quality_floor
    if alert is None or floor is None:
        return
    if rules.graders and not rules.checks and alert.sample <= alert.graded_share_min:
        yield Fault(
            where=f"{rules.where}.graders",
            message=f"FeedbackMissing would fire for ever: its graders judge {alert.sample:g} of "
            f"the answers and graded_share_min is {alert.graded_share_min:g}",
            remedy=f"raise sample, or set graded_share_min below {alert.sample:g} in "
            f"[alerts.roles.{rules.role}]",
        )
    steps = fastest(limit=1.0 - floor, arl=alert.arl)
    if steps is None:
        yield Fault(
            where=f"{rules.where}.quality_floor",
            message=f"QualityLow can never fire: no mean is below a floor of {floor:g}",
            remedy="raise the floor, or remove it",
        )
    elif steps > alert.delay_steps_max:
        yield Fault(
            where=f"{rules.where}.quality_floor",
            message=f"QualityLow can hardly fire: at a floor of {floor:g} and arl = {alert.arl} "
            f"it takes {steps} failed steps in a row (evidence grows by at most a factor of "
            f"{1 + max(bets(1.0 - floor)) * floor:.3g} a step), and delay_steps_max = "
            f"{alert.delay_steps_max}",
            remedy="raise the floor, lower the arl, or raise delay_steps_max",
        )


def _shape_faults(file: PolicyFile) -> Iterator[Fault]:
    known = roles_of(file)
    for index, rule in enumerate(file.shapes):
        where = f"shapes.{index}"
        if rule.role not in known:
            yield Fault(
                where=where,
                message=f"no role is called {rule.role!r}",
                remedy=f"add [roles.{rule.role}]{nearest_name(rule.role, known)}",
            )
        clash = contradiction(rule)
        if clash is not None:
            yield Fault(where=where, message=f"no request can match: {clash}", remedy="drop one")
        for earlier, other in enumerate(file.shapes[:index]):
            if covers(other, rule):
                yield Fault(
                    where=where,
                    message=f"rule {earlier} for {other.role!r} matches all that this one would",
                    remedy="put this rule before it, or drop one of them",
                )
                break


def _budget_faults(file: PolicyFile) -> Iterator[Fault]:
    roles = roles_of(file)
    for index, budget in enumerate(file.budgets):
        where = f"budgets.{index}"
        if budget.name is not None and budget.scope not in ("role", "key"):
            yield Fault(
                where=f"{where}.name",
                message=f"a budget of scope {budget.scope!r} has no name",
                remedy='remove the name, or set scope = "role" or "key"',
            )
        if budget.scope == "role" and budget.name is not None and budget.name not in roles:
            yield Fault(
                where=f"{where}.name",
                message=f"no role is called {budget.name!r}",
                remedy=f"add [roles.{budget.name}]{nearest_name(budget.name, roles)}",
            )
        for earlier, other in enumerate(file.budgets[:index]):
            if (other.scope, other.name, other.on_exhausted) == (
                budget.scope, budget.name, budget.on_exhausted,
            ):  # fmt: skip
                yield Fault(
                    where=where,
                    message=f"budget {earlier} limits the same spend in the same way",
                    remedy="keep the smaller of the two",
                )
                break

"""The declared policy: who may use what, compiled so that a decision is one look-up."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from evals.catalogue import build_checks
from evals.checks import close_checks
from learning.features import cell
from learning.learner import Learner
from learning.revision import Terms
from router.code import function_of, target_of
from router.draw import draw, drawn_by
from router.policyfile import PinConfig, PolicyFile, ShapeRule
from router.roles import DEFAULT
from router.route import Route, arms_over, nearest, sensible
from router.rules import CODE, Fault, Rules, faults_of, refuse, rules_of
from router.shaperule import matches
from router.targets import Target, Targets
from telemetry.errors import ConfigError, InvalidRequest, PolicyDenied
from telemetry.records import Arm, Context, Decision, Dialect, OnFail, Reason, Shape

DECLARED = "declared"
# What people, or rules about where data may go, decided.
PINS = frozenset({Reason.PINNED, Reason.CALLER_PIN})

Key = tuple[str, str | None, Dialect]


class Policy:
    """One version of policy.toml, checked, with its models found; it never changes."""

    def __init__(
        self, file: PolicyFile, targets: Targets, *, directory: Path | None = None
    ) -> None:
        """Use ``Policy.build``, which checks ``file`` first."""
        self.file = file
        self.hash = hash_of(file)
        self.ladder: tuple[str, ...] = file.ladder
        self.shapes: tuple[ShapeRule, ...] = file.shapes
        self._targets = {
            (tier, dialect): _speaking(file, targets, tier=tier, dialect=dialect)
            for tier in file.ladder
            for dialect in Dialect
        }
        self.rules: Mapping[tuple[str, str | None], Rules] = {
            (rules.role, rules.mode): rules for rules in rules_of(file)
        }
        self.roles = frozenset(role for role, _ in self.rules)
        self.plan_escalations_max = file.plans.escalations_max
        self._checks = {key: build_checks(rules.checks) for key, rules in self.rules.items()}
        self._graders = {key: build_checks(rules.graders) for key, rules in self.rules.items()}
        self._functions = {key: function_of(rules, directory) for key, rules in self.rules.items()}
        self._names = _model_names(file)
        self._models = {model: targets.target(model) for model in self._names.values()}
        self._table: dict[Key, Route] = {}  # what no arm can serve is in _denied instead
        self._denied: dict[Key, str] = {}
        for rules in self.rules.values():
            for dialect in Dialect:
                self._compile(rules, dialect)

    @classmethod
    def build(
        cls, file: PolicyFile, targets: Targets, *, today: date, directory: Path | None = None
    ) -> Self:
        """Return the policy that ``file``, standing in ``directory``, declares over ``targets``.

        Raises:
            ConfigError: naming everything that does not fit, each with its remedy.
        """
        refuse([*faults_of(file), *target_faults(file, targets)])
        return cls(file, targets, directory=directory)

    @cached_property
    def terms(self) -> Mapping[Terms, object]:
        """What shares of a role and mode are learned under; equal terms, same meaning of shares."""
        return {key: self._terms(rules) for key, rules in self.rules.items()}

    def _terms(self, rules: Rules) -> object:
        modes = sorted(mode for role, mode in self.rules if role == rules.role and mode is not None)
        low, high = (self.ladder.index(tier) for tier in rules.range)
        span = self.ladder[low : high + 1]
        served = replace(rules, shadow=None, graders=())  # neither serves anybody
        return served, modes, [(tier, self.file.tiers.get(tier)) for tier in span]

    @property
    def table(self) -> Mapping[Key, Route]:
        """Every route by (role, mode, dialect); steps without one are denied."""
        return self._table

    async def close(self) -> None:
        """Give back what checks hold, once no step uses this policy any more."""
        for checks in (*self._checks.values(), *self._graders.values()):
            await close_checks(checks)
        for function in self._functions.values():
            if function is not None:
                function.close()

    def targets(self, tier: str, dialect: Dialect) -> tuple[Target, ...]:
        """Return the models of ``tier`` that speak ``dialect``, in order of failover."""
        return self._targets[tier, dialect]

    def models(self, tier: str) -> tuple[str, ...]:
        """Return the models that ``tier`` lists; none on the tier `code`."""
        return () if tier == CODE else self.file.tiers[tier].models

    def target(self, model: str) -> Target:
        """Return ``model``, as provider/name; raise KeyError when no tier lists it."""
        return self._models[model]

    def find_model(self, name: str) -> str | None:
        """Return the policy's model called ``name``, or None.

        Both provider/name and the provider's own name are understood; the latter only where one
        model has it.
        """
        return self._names.get(name)

    def role_of(self, shape: Shape) -> str | None:
        """Return the role of the first shape rule that matches, or None."""
        return next((rule.role for rule in self.shapes if matches(rule, shape)), None)

    def route(self, context: Context) -> Route:
        """Return what ``context`` is allowed.

        Raises:
            PolicyDenied: when no tier in range speaks the dialect, or the caller may not pin.
            InvalidRequest: when the caller pins a model that the policy does not have.
        """
        role = context.role if context.role in self.roles else DEFAULT
        mode = context.mode if (role, context.mode) in self.rules else None
        key = (role, mode, context.dialect)
        route = self._table.get(key)
        if context.caller_pin is not None and self.rules[role, mode].pin is None:
            return self._caller_pin(context.caller_pin, self.rules[role, mode], context.dialect)
        if route is None:
            raise PolicyDenied(
                "no_arm_for_dialect", self._denied[key], hint=_dialect_hint(context.dialect)
            )
        return route

    def observed(self, role: str, mode: str | None, dialect: Dialect) -> bool:
        """Say whether outcomes of such steps teach a learner, so that their shape matters."""
        rules_mode = mode if (role, mode) in self.rules else None
        route = self._table.get((role, rules_mode, dialect))
        return route is not None and route.observed

    def decide(
        self,
        context: Context,
        *,
        decision_id: str,
        at_ns: int,
        learner: Learner,
        pin: Arm | None = None,
    ) -> Decision:
        """Choose an arm for one step; the same id draws the same arm from the same probabilities.

        ``pin`` is what people fixed for the role while the collector runs: it is certain where it
        is offered, else the declared arm is. A learner that raises or whose probabilities are
        wrong gives the declared arm and the reason FALLBACK. Raises what ``route`` raises.
        """
        route = self.route(context)
        arm, propensity, reason, revision = route.declared, 1.0, route.reason, DECLARED
        if pin is not None and route.pin is None:
            held = sensible(pin, route.tiers) if pin.tier in route.tiers else None
            arm, reason = (route.declared, reason) if held is None else (held, Reason.PINNED)
        elif route.learns and context.role_unknown is None:
            try:
                given = learner.probabilities(context, route.arms, route.declared)
                open_ = given.get(route.declared) != 1.0  # then it was learned, without asking
                if open_ or learner.decides(context, route.arms, route.declared):
                    arm, propensity = draw(given, route.arms, name=drawn_by(context, decision_id))
                    revision = learner.revision
                    if arm is not route.declared or propensity < 1.0:
                        likeliest = propensity >= max(given.values())
                        reason = Reason.LEARNED if likeliest else Reason.EXPLORED
            except Exception:  # noqa: BLE001 - a broken learner must never cost a step
                arm, propensity, revision = route.declared, 1.0, DECLARED
                reason = Reason.FALLBACK
        return Decision(
            decision_id=decision_id,
            at_ns=at_ns,
            context=context,
            offered=route.arms,
            arm=arm,
            propensity=propensity,
            policy_hash=self.hash,
            revision=revision,
            reason=reason,
            cell=cell(context) if route.observed and context.role_unknown is None else None,
        )

    def warnings(self, today: date) -> tuple[str, ...]:
        """Return what a person should look at although everything works: pins past their day."""
        return tuple(
            f"{rules.where}.pin: {rules.pin.model} was pinned until {rules.pin.until} "
            f"({rules.pin.reason}); it still holds; {rules.pin.owner} should renew or remove it"
            for rules in self.rules.values()
            if rules.pin is not None and expired(rules.pin, today)
        )

    def _compile(self, rules: Rules, dialect: Dialect) -> None:
        key = (rules.role, rules.mode, dialect)
        if rules.pin is not None:
            target = self._pinned(rules.pin.model, dialect)
            if target is None:
                self._denied[key] = (
                    f"role {rules.role!r} is pinned to {rules.pin.model}, "
                    f"which does not speak {dialect}"
                )
            else:
                self._table[key] = self._pin_route(
                    rules, dialect, target=target, reason=Reason.PINNED
                )
            return
        low, high = (self.ladder.index(tier) for tier in rules.range)
        span = self.ladder[low : high + 1]
        models = {tier: self._asked(rules, tier, dialect) for tier in span}
        tiers = tuple(tier for tier in span if models[tier])
        if not tiers:
            self._denied[key] = (
                f"role {rules.role!r} may use {', '.join(span)}, and no model there speaks "
                f"{dialect}"
            )
            return
        start = nearest(rules.tier, span=span, speaking=tiers)
        declared = sensible(Arm(tier=start, on_fail=rules.on_fail), tiers)
        arms = arms_over(tiers)
        self._table[key] = Route(
            role=rules.role,
            mode=rules.mode,
            dialect=dialect,
            tiers=tiers,
            declared=arms[arms.index(declared)],
            arms=arms,
            reason=Reason.DECLARED if start == rules.tier else Reason.DIALECT,
            learn=rules.learn,
            quality_floor=rules.quality_floor,
            pin=None,
            checks=self._checks[rules.role, rules.mode],
            graders=self._graders[rules.role, rules.mode],
            rules=rules,
            code=self._functions[rules.role, rules.mode],
            models={tier: models[tier] for tier in tiers},
            fields=self._fields(tiers, dialect),
        )

    def _asked(self, rules: Rules, tier: str, dialect: Dialect) -> tuple[Target, ...]:
        """Return whom a role's steps ask on a tier, in order of failover."""
        if tier != CODE:
            return self._targets[tier, dialect]
        target = target_of(rules)
        return (target,) if target is not None and dialect in target.dialects else ()

    def _caller_pin(self, model: str, rules: Rules, dialect: Dialect) -> Route:
        known = self.find_model(model)
        if known is None:
            raise InvalidRequest(
                "unknown_model",
                f"the policy has no model {model!r}",
                hint="name tierwise/auto, tierwise/<role> or a model of GET /v1/models",
            )
        if not rules.caller_pins:
            raise PolicyDenied(
                "pin_not_allowed",
                f"the policy does not let callers name models for role {rules.role!r}",
                hint=f"name tierwise/auto or tierwise/{rules.role} instead of {model!r}, or have "
                f"caller_pins = true set for the role in policy.toml",
            )
        target = self._pinned(known, dialect)
        if target is None:
            raise PolicyDenied(
                "no_arm_for_dialect",
                f"model {known} does not speak {dialect}",
                hint=_dialect_hint(dialect),
            )
        return self._pin_route(rules, dialect, target=target, reason=Reason.CALLER_PIN)

    def _pin_route(
        self, rules: Rules, dialect: Dialect, *, target: Target, reason: Reason
    ) -> Route:
        tier = self.tier_of(target.model, preferred=rules.tier)
        arm = Arm(tier=tier, on_fail=OnFail.ACCEPT)
        return Route(
            role=rules.role,
            mode=rules.mode,
            dialect=dialect,
            tiers=(tier,),
            declared=arm,
            arms=(arm,),
            reason=reason,
            learn="off",
            quality_floor=rules.quality_floor,
            pin=target,
            checks=self._checks[rules.role, rules.mode],
            graders=self._graders[rules.role, rules.mode],
            rules=rules,
            code=None,
            models={tier: (target,)},
            fields=self._fields((tier,), dialect),
        )

    def tier_of(self, model: str, *, preferred: str) -> str:
        """Return the tier that lists ``model``: ``preferred`` if it does, else the lowest."""
        holding = [tier for tier in self.ladder if model in self.models(tier)]
        return preferred if preferred in holding else holding[0]

    def _pinned(self, model: str, dialect: Dialect) -> Target | None:
        for tier in self.ladder:
            for target in self._targets[tier, dialect]:
                if target.model == model:
                    return target
        return None

    def _fields(self, tiers: tuple[str, ...], dialect: Dialect) -> dict[str, Mapping[str, Any]]:
        return {
            tier: self.file.tiers[tier].params[dialect]
            for tier in tiers
            if tier != CODE and dialect in self.file.tiers[tier].params
        }


def hash_of(file: PolicyFile) -> str:
    """Return 12 hex digits that change with the policy's meaning, not with its wording.

    Comments and the order of keys do not count.
    """
    content = file.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()[:12]


def target_faults(file: PolicyFile, targets: Targets) -> list[Fault]:
    """Return one fault for each model that cannot be called."""
    faults = []
    for tier, config in file.tiers.items():
        for model in config.models:
            try:
                targets.target(model)
            except ConfigError as error:
                faults.append(
                    Fault(where=f"tiers.{tier}.models", message=error.message, remedy=error.hint)
                )
    return faults


def expired(pin: PinConfig, today: date) -> bool:
    """Say whether the pin's last day is over."""
    return pin.until is not None and pin.until < today


def _model_names(file: PolicyFile) -> dict[str, str]:
    """Return each model under its own name and, where no other shares it, its bare name."""
    models = {model for tier in file.tiers.values() for model in tier.models}
    bare = Counter(model.partition("/")[2] for model in models)
    shorter = {
        model.partition("/")[2]: model for model in models if bare[model.partition("/")[2]] == 1
    }
    return shorter | {model: model for model in models}


def _speaking(
    file: PolicyFile, targets: Targets, *, tier: str, dialect: Dialect
) -> tuple[Target, ...]:
    if tier == CODE:
        return ()
    found = (targets.target(model, dialect) for model in file.tiers[tier].models)
    return tuple(target for target in found if dialect in target.dialects)


def _dialect_hint(dialect: Dialect) -> str:
    return (
        f"use another API of the gateway, or add a model whose provider speaks {dialect} "
        "to one of these tiers in policy.toml"
    )

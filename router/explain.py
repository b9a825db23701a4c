"""Why a request would go where it would: the decision, with everything that was passed over."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from learning.standing import Standing
from router import body as bodies
from router.allowance import applying, bound, size_of
from router.budget import dollars
from router.ladder import first
from router.policy import Policy, expired
from router.request import SESSION_HEADERS
from router.roles import Asked, alias_of, resolve
from router.route import Route
from router.rules import Rules
from router.served import Served, likeliest
from router.shape import shape_of
from router.shaperule import matches
from telemetry.errors import InvalidRequest, StepError
from telemetry.propagation import parse_baggage, parse_traceparent
from telemetry.records import Context, Decision, Dialect, Reason, RoleSource, Shape

AGENT = "gen_ai.agent.name"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A request that somebody wonders about."""

    dialect: Dialect
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"  # a JSON object
    key_role: str | None = None  # default role of the client key that it would be sent with
    key: str | None = None  # that key's name
    key_budget: str | None = None  # whose spend that key's steps count towards, if not its own


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """Who asks, and how that was found out."""

    role: str
    source: RoleSource
    unknown: str | None  # the name asked for, when the policy has no such role
    named: Mapping[str, str]  # every source that named a role, in order of precedence
    shape: Shape
    shape_rule: int | None  # index in ``shapes`` of the rule that gave the role
    mode: str | None  # the mode whose rules hold; None: the role's own
    rules: str  # the table of policy.toml that they come from


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What became of one model of the policy."""

    tier: str
    model: str
    lost: str | None  # why it is not the first to be tried; None for the one that is
    usd_per_1k_input: float
    usd_per_1k_output: float | None
    price_source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The arm that would be chosen, or is the likeliest one, and what follows from it."""

    arm: str
    reason: Reason
    revision: str
    propensity: float
    offered: tuple[str, ...]
    models: tuple[str, ...]  # of the arm's tier, in order of failover
    addresses: tuple[str, ...]
    after_fail: str | None  # the tier that a failed check leads to; None: the answer stands
    params: Mapping[str, Any]  # fields set on the request's body


@dataclass(frozen=True, kw_only=True, slots=True)
class PinNote:
    """Who holds the role to one model."""

    model: str
    reason: str
    owner: str
    until: date | None
    expired: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetNote:
    """One budget that the step would count towards."""

    scope: str
    subject: str | None  # whose: a role, a key, a session; None where there is nobody to name
    usd: float
    on_exhausted: str
    held_usd: float  # the most that the first call can cost: so much is held back for it
    fits: bool  # as long as nothing is spent yet


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """One request's way through the policy: a choice, or the error that its caller would get."""

    policy_hash: str
    dialect: Dialect
    asker: Asker
    learn: str
    candidates: tuple[Candidate, ...]
    served: tuple[Served, ...]  # the one that decides most such steps first
    choice: Choice | None
    refused: str | None
    pin: PinNote | None
    held: str | None  # the arm that people fixed for the role while the collector runs
    outdated: bool  # the revision in force was derived under another version of the policy
    budgets: tuple[BudgetNote, ...]


def explain(policy: Policy, question: Question, *, standing: Standing, today: date) -> Explanation:
    """Return where a request would go under ``standing``, and why. Nothing is sent anywhere.

    A body without a model is taken as tierwise/auto. What a session has seen, what budgets have
    spent and which circuits are open is not known here.

    Raises:
        InvalidRequest: when the body is no JSON object or names an odd model.
    """
    dialect = question.dialect
    parsed = bodies.parse(question.body)
    model = parsed.get("model", str) or "tierwise/auto"
    named = {name.lower(): value for name, value in question.headers.items()}
    metadata = parsed.get("metadata", dict) or {}
    in_body = metadata.get("role")
    asked = Asked(
        header_role=named.get("x-tierwise-role"),
        alias=alias_of(model),
        metadata_role=in_body if isinstance(in_body, str) else None,
        baggage_agent=parse_baggage(named.get("baggage", "")).get(AGENT),
        key_role=question.key_role,
    )
    shape = shape_of(parsed.fields, dialect, len(question.body))
    session = _session(named, metadata)
    asker, rules = _asker(policy, asked, shape=shape, mode=named.get("x-tierwise-mode"))
    context = _context(question, asker, named, session=session)
    route, choice, refused = None, None, None
    served: tuple[Served, ...] = ()
    budgets: tuple[BudgetNote, ...] = ()
    try:
        context = replace(context, caller_pin=_caller_pin(policy, model, rules))
        route = policy.route(context)
        decision, served = likeliest(policy, context, standing)
        choice = _choice(route, decision)
        budgets = tuple(_budgets(policy, parsed, route=route, decision=decision, session=session))
    except StepError as error:
        refused = f"{error.type} ({error.code}): {error}"
    return Explanation(
        policy_hash=policy.hash,
        dialect=dialect,
        asker=asker,
        learn=rules.learn,
        candidates=tuple(_candidates(policy, rules, route=route, choice=choice, dialect=dialect)),
        served=served,
        choice=choice,
        refused=refused,
        pin=_pin_note(rules, today),
        held=str(standing.pins[asker.role]) if asker.role in standing.pins else None,
        outdated=standing.revision is not None and standing.revision.policy_hash != policy.hash,
        budgets=budgets,
    )


def _context(
    question: Question, asker: Asker, named: Mapping[str, str], *, session: str | None
) -> Context:
    return Context(
        role=asker.role,
        role_source=asker.source,
        role_unknown=asker.unknown,
        dialect=question.dialect,
        session=session or _trace(named),
        mode=named.get("x-tierwise-mode"),
        plan=named.get("x-tierwise-plan"),
        key=question.key,
        budget=question.key_budget,
        shape=asker.shape,
    )


def _session(named: Mapping[str, str], metadata: Mapping[str, Any]) -> str | None:
    for header in SESSION_HEADERS:
        if found := named.get(header.decode()):
            return found
    stated = metadata.get("session_id")
    return stated if isinstance(stated, str) and stated else None


def _trace(named: Mapping[str, str]) -> str | None:
    parent = parse_traceparent(named.get("traceparent", "").encode())
    return parent.trace_id if parent else None


def _budgets(
    policy: Policy, body: bodies.Body, *, route: Route, decision: Decision, session: str | None
) -> Iterator[BudgetNote]:
    size = size_of(
        body, route.dialect, output_tokens_default=policy.file.reservations.output_tokens
    )
    held_usd = dollars(bound(route, first(route, decision.arm), size))
    for budget, subject in applying(policy.file.budgets, decision.context, session=session):
        yield BudgetNote(
            scope=budget.scope,
            subject=subject or None,
            usd=budget.usd,
            on_exhausted=budget.on_exhausted,
            held_usd=held_usd,
            fits=held_usd <= budget.usd,
        )


def _asker(policy: Policy, asked: Asked, *, shape: Shape, mode: str | None) -> tuple[Asker, Rules]:
    role, source, unknown = resolve(asked, policy, lambda: shape)
    rules = policy.rules.get((role, mode)) or policy.rules[role, None]
    named = {
        "x-tierwise-role": asked.header_role,
        "model": asked.alias,
        "metadata.role": asked.metadata_role,
        f"baggage {AGENT}": asked.baggage_agent,
        "client key": asked.key_role,
    }
    matching = (index for index, rule in enumerate(policy.shapes) if matches(rule, shape))
    asker = Asker(
        role=role,
        source=source,
        unknown=unknown,
        named={where: name for where, name in named.items() if name},
        shape=shape,
        shape_rule=next(matching, None) if source is RoleSource.SHAPE else None,
        mode=rules.mode,
        rules=rules.where,
    )
    return asker, rules


def _caller_pin(policy: Policy, model: str, rules: Rules) -> str | None:
    """Return the model that the caller would be held to, as the gateway reads it."""
    if alias_of(model) is not None:
        return None
    known = policy.find_model(model)
    if known is None:
        raise InvalidRequest(
            "unknown_model",
            f"model {model[:100]!r} is neither an alias nor a model of the policy",
            hint="send tierwise/auto, tierwise/<role> or a model of the policy",
        )
    return known if rules.caller_pins else None


def _choice(route: Route, decision: Decision) -> Choice:
    tier = decision.arm.tier
    targets = route.targets(tier)
    return Choice(
        arm=str(decision.arm),
        reason=decision.reason,
        revision=decision.revision,
        propensity=decision.propensity,
        offered=tuple(str(arm) for arm in decision.offered),
        models=tuple(target.model for target in targets),
        addresses=tuple(f"{target.server_address}:{target.server_port}" for target in targets),
        after_fail=route.after_fail(decision.arm, tier),
        params=route.params(tier),
    )


def _candidates(
    policy: Policy, rules: Rules, *, route: Route | None, choice: Choice | None, dialect: Dialect
) -> Iterator[Candidate]:
    low, high = (policy.ladder.index(tier) for tier in rules.range)
    for rung, tier in enumerate(policy.ladder):
        for model in policy.models(tier):
            target = policy.target(model)
            if dialect not in target.dialects:
                lost: str | None = f"its provider does not speak {dialect}"
            elif route is not None and route.pin is not None:
                held = route.pin.model == model and tier == route.tiers[0]
                lost = None if held else f"the step is pinned to {route.pin.model}"
            elif not low <= rung <= high:
                lost = f"its tier is outside {rules.where}: {rules.range[0]} to {rules.range[1]}"
            else:
                lost = _order(policy, tier, model=model, choice=choice)
            price_in, price_out = target.price.per_thousand()
            yield Candidate(
                tier=tier,
                model=model,
                lost=lost,
                usd_per_1k_input=price_in,
                usd_per_1k_output=price_out,
                price_source=target.price.source,
            )


def _order(policy: Policy, tier: str, *, model: str, choice: Choice | None) -> str | None:
    """Return why a model that may answer is not tried first; None for the one that is."""
    if choice is None:
        return "the step is refused"
    start = choice.arm.partition("/")[0]
    if tier == start:
        first = choice.models[0]
        return None if model == first else f"tried when {first} and those before it are down"
    above = policy.ladder.index(tier) > policy.ladder.index(start)
    if above and choice.after_fail is not None:
        return f"above the start {start!r}: reached when checks or models there fail"
    return f"the arm starts at {start!r}" + (" and accepts" if above else ", which is above it")


def _pin_note(rules: Rules, today: date) -> PinNote | None:
    pin = rules.pin
    if pin is None:
        return None
    return PinNote(
        model=pin.model,
        reason=pin.reason,
        owner=pin.owner,
        until=pin.until,
        expired=expired(pin, today),
    )

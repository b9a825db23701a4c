"""policy.toml: the table that people declare and review. Only its form is checked here."""

import json
import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from router.config import Name
from telemetry.alerting import AlertsConfig
from telemetry.configfile import Section
from telemetry.evaluators import EvaluatorConfig
from telemetry.learnconfig import LearningConfig
from telemetry.records import Dialect, OnFail

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}/[!#-~]{1,200}")

# What a tier may not set on a request: the gateway or the caller decides these.
_FIELDS_REFUSED = frozenset({
    "model", "stream", "stream_options", "messages", "input", "system", "instructions", "prompt",
    "tools", "metadata",
})  # fmt: skip


def _model_name(value: str) -> str:
    if not _MODEL_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not provider/model, such as openai/gpt-5.5")
    return value


ModelName = Annotated[str, AfterValidator(_model_name)]
Params = dict[str, JsonValue]


class TierConfig(Section):
    """One rung of the ladder."""

    models: tuple[ModelName, ...] = Field(
        description="as provider/model; each is tried when the one before it is down",
        min_length=1,
        max_length=16,
    )
    params: dict[Dialect, Params] = Field(
        default_factory=dict,
        description="request fields set on this tier, per dialect, in place of the caller's; "
        "for example reasoning_effort",
    )

    @field_validator("models")
    @classmethod
    def _once_each(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for index, model in enumerate(models):
            if model in models[:index]:
                raise ValueError(f"{model!r} stands twice")
        return models

    @field_validator("params")
    @classmethod
    def _settable(cls, params: dict[Dialect, Params]) -> dict[Dialect, Params]:
        for dialect, fields in params.items():
            for name in fields:
                if name in _FIELDS_REFUSED:
                    raise ValueError(f"{dialect}.{name} is not a tier's to set")
            try:
                json.dumps(fields, allow_nan=False)
            except ValueError:
                raise ValueError(f"{dialect} holds nan or inf, which JSON has not") from None
        return params


class PinConfig(Section):
    """A role held to one model, by somebody who answers for it."""

    model: ModelName = Field(description="the only model that may answer")
    reason: str = Field(min_length=3, max_length=500, description="why")
    owner: str = Field(min_length=3, max_length=200, description="who answers for it")
    until: date | None = Field(
        None, description="last day; afterwards the pin still holds, and warns until renewed"
    )


class RoleRules(Section):
    """What may be said of a role, and said again for one collaboration mode."""

    tier: Name | None = Field(
        None,
        description="where its steps start and what they fall back to; "
        "the top of the ladder when absent",
    )
    range: tuple[Name, Name] | None = Field(
        None,
        description="lowest and highest tier that learning and escalation may reach; "
        "from its tier to the top of the ladder when absent",
    )
    on_fail: OnFail | None = Field(
        None,
        description="what follows a failed check: accept the answer, step one tier up, or go "
        "straight to the top of the range; step when absent",
    )
    quality_floor: Share | None = Field(
        None, description="mean quality the role must keep; every role that learns needs one"
    )
    learn: Literal["off", "observe", "propose", "bounded"] | None = Field(
        None,
        description="what the learner may do: nothing, watch, propose moves, "
        "or move within limits; off when absent",
    )
    pin: PinConfig | None = Field(None, description="hold the role to one model")
    checks: tuple[str | dict[str, JsonValue], ...] | None = Field(
        None,
        description="tests that an answer must pass before it is accepted: names, or tables with "
        "the name under `check` and its parameters; none when absent",
        max_length=32,
    )
    graders: tuple[str | dict[str, JsonValue], ...] | None = Field(
        None,
        description="tests, written as `checks`, that judge a share of the answers after the "
        "caller has them and decide nothing; the share is `alerts.quality.sample`; none when "
        "absent",
        max_length=8,
    )
    code: str | None = Field(
        None,
        max_length=200,
        description="module:function that answers on the tier `code`, or abstains and the next "
        "tier is asked; looked for beside this file, then among what is installed",
    )
    stream: Literal["pass", "hold"] | None = Field(
        None,
        description="relay a stream as it comes and check it afterwards, or hold it until it has "
        "passed; pass when absent",
    )
    unpassed: Literal["answer", "refuse"] | None = Field(
        None,
        description="what the caller gets when no answer passed: the best one, or error 422; "
        "answer when absent",
    )
    side_effects: bool | None = Field(
        None,
        description="asking a model may itself change something, so no step that may have reached "
        "one is sent again; false when absent",
    )
    attempts_max: int | None = Field(
        None, ge=1, le=16, description="most model calls for one step; 4 when absent"
    )


class ShadowConfig(Section):
    """Answered steps that are run again on another tier, to compare; callers never see these."""

    tier: Name = Field(description="where the same step is asked again")
    share: Share = Field(description="of the role's answered steps, drawn at random")
    usd_per_day: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        description="US dollars that its shadow runs may cost in a UTC day, over all gateways"
    )


class RoleConfig(RoleRules):
    """One role."""

    description: str = Field("", max_length=500, description="for people")
    caller_pins: bool | None = Field(
        None, description="may callers pick its model by name; as `callers.pins` when absent"
    )
    overhead: bool = Field(
        False,
        description="its steps exist only because of routing, as a judge's or a classifier's do; "
        "savings count their cost against routing",
    )
    shadow: ShadowConfig | None = Field(
        None, description="run a share of its steps again on another tier; never when absent"
    )
    mode: dict[Name, RoleRules] = Field(
        default_factory=dict, description="what differs in a collaboration mode"
    )


class ShapeRule(Section):
    """A role for steps of a certain shape; every condition given must hold."""

    role: Name = Field(description="the role such steps get")
    schema_: bool | None = Field(
        None, alias="schema", description="asks (or does not ask) for a JSON schema"
    )
    choices_max: int | None = Field(
        None, ge=1, description="the answer is one of at most so many values"
    )
    tools: bool | None = Field(None, description="offers (or does not offer) tools")
    tools_max: int | None = Field(
        None, ge=0, description="offers at most so many tools, perhaps none"
    )
    tool_choice_forced: bool | None = Field(None, description="a tool must be called")
    body_kb_min: int | None = Field(None, ge=1, description="the request is at least this large")
    body_kb_max: int | None = Field(None, ge=1, description="the request is at most this large")
    messages_max: int | None = Field(None, ge=1, description="at most so many messages")
    images: bool | None = Field(None, description="holds (or does not hold) images")
    code: bool | None = Field(None, description="the last user text holds code or a diff")
    output_tokens_max: int | None = Field(
        None, ge=1, description="the caller wants at most so many output tokens"
    )

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not (self.model_fields_set - {"role"}):
            raise ValueError(
                f"the rule for role {self.role!r} has no condition and would match all"
            )
        return self


class PlansConfig(Section):
    """Plans of plan-and-execute agents, as `x-tierwise-plan` names them."""

    escalations_max: int = Field(
        5,
        ge=0,
        le=1_000,
        description="escalations a plan may cost before it should be revised; once they are spent "
        "its steps stay where they are and replies carry `x-tierwise-replan: true`",
    )


class BudgetConfig(Section):
    """What may be spent, and what happens to a step that would spend more."""

    scope: Literal["request", "task", "session", "role", "key", "day"] = Field(
        description="whose spend counts together: one step's, a task's, a session's, or in one UTC "
        "day a role's, a client key's, everybody's"
    )
    name: Name | None = Field(
        None,
        description="the role, or the client key or its `budget`; without it every role or key "
        "has such a budget of its own",
    )
    usd: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = Field(
        description="US dollars; exactly so many may be spent"
    )
    on_exhausted: Literal["cheapest", "refuse"] = Field(
        "refuse",
        description="start at the cheapest tier of the role's range and stay there, or error 402",
    )


class ReservationsConfig(Section):
    """What is held back for a step against `[[budgets]]` before it is sent."""

    output_tokens: int = Field(
        8_192,
        ge=1,
        le=10_000_000,
        description="output that a step is taken to have when it states no limit of its own",
    )


class CallersConfig(Section):
    """What callers may do beyond naming a role."""

    pins: bool = Field(
        False,
        description="may a caller who names a model of the policy have it; "
        "where not, the step goes by its role",
    )


class PolicyFile(Section):
    """policy.toml, whole."""

    schema_: Literal[1] = Field(alias="schema", description="version of the file's format")
    ladder: tuple[Name, ...] = Field(
        description="tiers, cheapest first", min_length=1, max_length=16
    )
    tiers: dict[Name, TierConfig] = Field(description="the models of each tier")
    roles: dict[Name, RoleConfig] = Field(
        default_factory=dict, description="tables of roles; `default` serves all others"
    )
    shapes: tuple[ShapeRule, ...] = Field(
        (), description="roles by shape of the request, first match wins", max_length=100
    )
    plans: PlansConfig = Field(
        default_factory=PlansConfig, description="what one plan may cost in escalations"
    )
    budgets: tuple[BudgetConfig, ...] = Field(
        (), description="limits of spend; all that apply to a step must hold", max_length=100
    )
    reservations: ReservationsConfig = Field(default_factory=ReservationsConfig)
    callers: CallersConfig = Field(default_factory=CallersConfig)
    evaluators: dict[Name, EvaluatorConfig] = Field(
        default_factory=dict,
        description="scale and labels of evaluators whose words on quality come in as spans or "
        "feedback",
    )
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    learning: LearningConfig = Field(default_factory=LearningConfig)

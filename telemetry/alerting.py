"""The `[alerts]` tables of policy.toml: what may alarm whom."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from telemetry.configfile import EnvName, Section

Usd = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Of a share: at 1 nothing can be above it, at 0 nothing below it.
Inner = Annotated[float, Field(gt=0, lt=1)]
Arl = Annotated[int, Field(ge=50, le=10_000_000)]
Enough = Annotated[int, Field(ge=5, le=1_000)]
SectionT = TypeVar("SectionT", bound=Section)


class CostAlertConfig(Section):
    """The alert on spend."""

    budget_usd_per_day: Usd = Field(description="planned spend")
    increase: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        0.25, description="rise of the mean cost per task over its baseline that is put up with"
    )
    arl: Arl = Field(
        2_600,
        description="tasks that pass on average before a false alarm of `CostHigh`, at least",
    )
    baseline_tasks: int = Field(
        200,
        ge=50,
        le=5_000,
        description="first tasks under the same terms and prices: the baseline",
    )
    horizon_seconds: float = Field(
        600.0, ge=0, le=604_800, description="time after its first call when a task is added up"
    )
    tasks_min: Enough = Field(
        20, description="tasks of known cost within a week without which the alert is not armed"
    )
    task_usd_max: Usd | None = Field(None, description="what one task may cost (`TaskCap`)")
    escalated_share_max: Inner = Field(
        0.5, description="share of a role's steps, under 1, that may escalate (`EscalationHigh`)"
    )


class QualityAlertConfig(Section):
    """The alert on quality."""

    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of answers that a role's `graders` judge; all while `QualityWarn` or "
        "`QualityLow` fires",
    )
    arl: Arl = Field(
        2_600,
        description="graded steps that pass on average before a false alarm of `QualityLow`, "
        "at least",
    )
    warn_arl: Arl = Field(200, description="the same for `QualityWarn`, which pages nobody")
    recovery_arl: Arl = Field(
        100, description="the same for a false all-clear, at a quality exactly at the floor"
    )
    delay_steps_max: int = Field(
        500,
        ge=5,
        le=100_000,
        description="failed steps in a row after which the alarm must have come, or the policy "
        "is refused",
    )
    horizon_seconds: float = Field(
        300.0, ge=0, le=604_800, description="time that a step waits for its grade"
    )
    stale_seconds: float = Field(
        86_400.0,
        gt=0,
        le=2_592_000,
        description="time served without any grade after which the signal is stale",
    )
    graded_min: Enough = Field(
        20, description="graded steps within a week without which the alert is not armed"
    )
    graded_share_min: Inner = Field(
        0.05, description="share of steps, under 1, that must get a grade (`FeedbackMissing`)"
    )
    feedback_per_hour_max: int = Field(
        1_000, ge=1, le=1_000_000, description="words of one source that are plausible in an hour"
    )

    @model_validator(mode="after")
    def _can_be_fresh(self) -> Self:
        if self.stale_seconds <= self.horizon_seconds:
            raise ValueError(
                f"can never be armed: a grade is looked at {self.horizon_seconds:g} s after its "
                f"step and counts as stale from {self.stale_seconds:g} s; make stale_seconds "
                "larger than horizon_seconds"
            )
        if self.warn_arl > self.arl:
            raise ValueError(
                f"QualityWarn at {self.warn_arl} would come after QualityLow at {self.arl}: "
                "make warn_arl the smaller one"
            )
        return self


class RoleAlertConfig(Section):
    """What one role has otherwise; absent keys are as in the tables above."""

    arl: Arl | None = Field(None, description="of `QualityLow`")
    sample: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of answers that the role's `graders` judge"
    )
    warn_arl: Arl | None = Field(None, description="of `QualityWarn`")
    cost_arl: Arl | None = Field(None, description="of `CostHigh`")
    increase: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        None, description="of the mean cost per task"
    )
    graded_min: Enough | None = Field(None, description="graded steps needed to be armed")
    graded_share_min: Inner | None = Field(None, description="of `FeedbackMissing`")
    escalated_share_max: Inner | None = Field(None, description="of `EscalationHigh`")
    task_usd_max: Usd | None = Field(None, description="of `TaskCap`")


class NotifyConfig(Section):
    """Where alerts go."""

    kind: Literal["webhook", "alertmanager", "pagerduty", "chat", "otel"] = Field(
        description="what is called; `chat` is any address that apprise knows, e-mail too"
    )
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")] | None = Field(
        None, description="what it is called in metrics, tests and logs; its kind when absent"
    )
    url_env: EnvName | None = Field(None, description="environment variable that holds its address")
    secret_env: EnvName | None = Field(
        None,
        description="environment variable with the signing secret (webhook), the routing key "
        "(pagerduty) or the bearer token (alertmanager)",
    )
    allow_private: bool = Field(
        False, description="may be called at a private, link-local or loopback address"
    )
    severities: tuple[Literal["page", "ticket", "info"], ...] | None = Field(
        None,
        description="which alerts go here; all when absent, on pagerduty those that are not `info`",
    )
    watchdog: bool = Field(
        False,
        description="send the Watchdog, which always fires, here too; alertmanager and otel get it "
        "anyway",
    )
    group_by: tuple[Literal["alertname", "role", "severity"], ...] = Field(
        ("alertname",), description="labels whose alerts share a message (webhook, chat)"
    )
    group_wait_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        30.0, description="wait for more alerts of a new group before its first message"
    )
    group_interval_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        300.0, description="shortest time between two messages of a group that changed"
    )
    repeat_hours: Annotated[float, Field(ge=0.05, le=168)] = Field(
        4.0, description="say again what still fires after so long"
    )
    prove_hours: Annotated[float, Field(ge=0, le=168)] = Field(
        20.0,
        description="send a test when nothing was acknowledged for so long, so that the alerts "
        "stay armed; 0 never does",
    )
    drift_report: bool = Field(
        False, description="send the weekly drift report here (webhook, chat, otel)"
    )
    console_url: str | None = Field(
        None, description="where people reach the console; stands in messages as a link"
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if self.kind in ("webhook", "alertmanager", "chat") and self.url_env is None:
            raise ValueError(f"kind {self.kind!r} needs url_env")
        if self.kind == "pagerduty" and self.secret_env is None:
            raise ValueError("kind 'pagerduty' needs secret_env, which names its routing key")
        if self.drift_report and self.kind in ("alertmanager", "pagerduty"):
            raise ValueError(f"kind {self.kind!r} cannot carry the drift report")
        return self


class AlertsConfig(Section):
    """Both alerts; a policy that learns needs both."""

    silence_days_max: Annotated[float, Field(gt=0, le=7)] = Field(
        7.0, description="longest silence; it mutes notices, never the safety action"
    )
    cost: CostAlertConfig | None = Field(None, description="cost alert")
    quality: QualityAlertConfig | None = Field(None, description="quality alert")
    roles: dict[str, RoleAlertConfig] = Field(
        default_factory=dict, description="what single roles have otherwise"
    )
    notify: tuple[NotifyConfig, ...] = Field((), description="sinks", max_length=16)

    @model_validator(mode="after")
    def _roles_fit(self) -> Self:
        for role in self.roles:
            self.quality_of(role)
        return self

    def quality_of(self, role: str | None) -> QualityAlertConfig | None:
        """Return the quality alert as it holds for ``role`` (None: over all roles)."""
        own = self.roles.get(role) if role is not None else None
        if self.quality is None or own is None:
            return self.quality
        names = ("arl", "sample", "warn_arl", "graded_min", "graded_share_min")
        return _with(self.quality, {name: getattr(own, name) for name in names})

    def cost_of(self, role: str | None) -> CostAlertConfig | None:
        """Return the cost alert as it holds for ``role`` (None: over all roles)."""
        own = self.roles.get(role) if role is not None else None
        if self.cost is None or own is None:
            return self.cost
        names = ("increase", "task_usd_max", "escalated_share_max")
        return _with(
            self.cost, {"arl": own.cost_arl} | {name: getattr(own, name) for name in names}
        )


def _with(whole: SectionT, own: dict[str, object]) -> SectionT:
    said = {name: value for name, value in own.items() if value is not None}
    return type(whole).model_validate(whole.model_dump() | said)

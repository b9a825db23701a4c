"""The `[alerts]` tables of policy.toml: what may alarm whom."""

from typing import Annotated, Literal

from pydantic import Field

from telemetry.configfile import EnvName, Section


class CostAlertConfig(Section):
    """The alert on spend."""

    budget_usd_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="planned spend"
    )


class QualityAlertConfig(Section):
    """The alert on quality."""

    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of answers that are judged"
    )


class NotifyConfig(Section):
    """Where alerts go."""

    kind: Literal["webhook"] = Field(description="what is called")
    url_env: EnvName = Field(description="environment variable that holds its address")


class AlertsConfig(Section):
    """Both alerts; a policy that learns needs both."""

    cost: CostAlertConfig | None = Field(None, description="cost alert")
    quality: QualityAlertConfig | None = Field(None, description="quality alert")
    notify: tuple[NotifyConfig, ...] = Field((), description="sinks", max_length=16)

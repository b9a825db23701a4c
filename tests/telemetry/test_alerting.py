"""The `[alerts]` tables: defaults, what one role has otherwise, and what could never fire."""

from typing import Any

import pytest

from telemetry.alerting import AlertsConfig
from telemetry.configfile import parse
from telemetry.errors import ConfigError


def alerts(text: str) -> AlertsConfig:
    return parse(text.encode(), AlertsConfig, name="policy.toml")


def test_a_role_s_own_numbers_come_before_the_common_ones() -> None:
    made = alerts(
        "[cost]\nbudget_usd_per_day = 5\nincrease = 0.5\n[quality]\ngraded_min = 30\n"
        "[roles.worker]\narl = 900\ncost_arl = 800\ntask_usd_max = 2\n"
    )
    quality, cost = made.quality_of("worker"), made.cost_of("worker")
    assert quality is not None
    assert cost is not None
    assert (quality.arl, quality.graded_min) == (900, 30)
    assert (cost.arl, cost.increase, cost.task_usd_max) == (800, 0.5, 2.0)
    assert made.quality_of("critic") == made.quality_of(None) == made.quality
    assert made.cost_of("critic") == made.cost


def test_a_role_s_numbers_alone_make_no_alert() -> None:
    made = alerts("[roles.worker]\narl = 900\n")
    assert made.quality_of("worker") is None
    assert made.cost_of("worker") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[quality]\nhorizon_seconds = 600\nstale_seconds = 300\n",
            "can never be armed: a grade is looked at 600 s after its step and counts as stale "
            "from 300 s",
        ),
        ("[quality]\nwarn_arl = 5000\n", "QualityWarn at 5000 would come after QualityLow at 2600"),
        ("[quality]\n[roles.worker]\narl = 100\n", "QualityWarn at 200 would come after"),
        ("[quality]\ngraded_share_min = 0\n", "greater than 0"),
        ("[quality]\ngraded_share_min = 1\n", "less than 1"),
        ("[cost]\nbudget_usd_per_day = 1\nescalated_share_max = 1.0\n", "less than 1"),
        ("[cost]\nbudget_usd_per_day = inf\n", "finite"),
        ("[quality]\narl = 10\n", "greater than or equal to 50"),
        ("silence_days_max = 8\n", "less than or equal to 7"),
        ("[quality]\narll = 500\n", "did you mean 'arl'?"),
    ],
)
def test_a_threshold_that_can_never_fire_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.toml") as caught:
        alerts(text)
    assert said in str(caught.value)


def test_the_defaults_are_alive() -> None:
    made: Any = alerts("[cost]\nbudget_usd_per_day = 5\n[quality]\n")
    assert made.quality.arl == made.cost.arl == 2_600

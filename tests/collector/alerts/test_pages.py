"""docs/alerts.md says what the code does."""

import re

from collector.alerts import page
from collector.alerts.catalogue import RULES
from telemetry.alerting import CostAlertConfig, QualityAlertConfig


def test_every_alert_is_described_with_its_question_and_its_remedy() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^### `(\w+)`", text, re.M)) == set(RULES)
    for rule in RULES.values():
        assert rule.meaning in text
        assert f"First question: {rule.question}" in text
        assert f"Remedy: {rule.remedy}" in text


def test_the_made_parts_are_fresh() -> None:
    """`python -m collector.alerts.page` renews them."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.refreshed(text) == text


def test_the_alerts_that_were_asked_for_are_there() -> None:
    assert set(RULES) == {
        "QualityWarn", "QualityLow", "CostHigh", "SpendPace", "TaskCap", "EscalationHigh",
        "FeedbackMissing", "QualitySignalStale", "FeedbackAnomaly", "PropensityMismatch",
        "PriceChanged", "ModelChanged", "StoreDegraded", "TelemetryDropped", "PinExpired",
        "ProviderOutage", "Watchdog",
    }  # fmt: skip


def test_the_keys_that_are_named_are_keys() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for key in ("increase", "baseline_tasks", "tasks_min", "task_usd_max"):
        assert key in CostAlertConfig.model_fields
        assert key in text
    for key in (
        "arl", "warn_arl", "recovery_arl", "delay_steps_max", "horizon_seconds", "stale_seconds",
        "graded_min", "sample",
    ):  # fmt: skip
        assert key in QualityAlertConfig.model_fields
        assert key in text

"""The parts of docs/alerts.md that are made from the code.

``python -m collector.alerts.page`` writes them into the page again; a test fails while it is stale.
"""

import tempfile
from pathlib import Path
from typing import Final

from collector.alerts.catalogue import RULES, Rule
from collector.alerts.explaining import explain
from collector.desk import Desk
from collector.duckdb_store import DuckDBStore
from telemetry.alerting import AlertsConfig
from telemetry.filling import filled
from telemetry.records import Arm, OnFail
from telemetry.terms import RoleTerms, Terms

PAGE: Final = Path(__file__).parents[2] / "docs" / "alerts.md"
FLOOR: Final = 0.85
ROLE: Final = "worker"
_SEVERITIES: Final = {
    "page": "wakes somebody", "ticket": "can wait for the day", "info": "is only shown",
}  # fmt: skip


def refreshed(page: str) -> str:
    """Return ``page`` with its made parts as they should be.

    Raises:
        ValueError: a part's place, between its two comments, is not in the page.
    """
    return filled(page, {"alerts": catalogue(), "errors": errors()})


def catalogue() -> str:
    """Return every alert with its meaning, its first question and its remedy."""
    return "".join(_section(rule) for rule in RULES.values())


def _section(rule: Rule) -> str:
    errors = {
        "sequential": "see [the table](#how-often-they-are-wrong-and-how-late)",
        "exact": "a comparison: fires exactly when the condition holds, within a tick",
        "always": "fires for ever",
    }[rule.kind]
    return (
        f"### `{rule.name}`\n\n{rule.meaning} It {_SEVERITIES[rule.severity]}.\n\n"
        f"- First question: {rule.question}\n- Remedy: {rule.remedy}\n- Errors: {errors}.\n\n"
    )


def errors() -> str:
    """Return the table of run lengths and delays at the default thresholds, for made-up traffic."""
    rows = [
        "| alert | run length, at least | false alarms | median delay (missed within 1,000) |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = DuckDBStore(Path(folder) / "t.duckdb", now_ns=0)
        desk = Desk(Path(folder) / "t.desk")
        for rule in RULES.values():
            if rule.kind == "sequential":
                rows.append(_row(explain(store, desk, _terms(), name=rule.name, role=ROLE)))
        store.close()
        desk.close()
    return "\n".join(rows) + "\n"


def _row(found: dict[str, object]) -> str:
    simulated, delays = found["false_alarm_simulated"], found["delays"]
    assert isinstance(simulated, dict)
    assert isinstance(delays, list)
    late = "; ".join(
        f"{one['effect']}: {one['median']:.0f} ({one['missed']:.1%})"
        if one["median"] is not None
        else f"{one['effect']}: over 1,000 ({one['missed']:.1%})"
        for one in delays
    )
    return (
        f"| `{found['name']}` | {found['arl']:,.0f} | {simulated['share']:.1%} of "
        f"{simulated['outcomes']:,} outcomes | {late} |"
    )


def _terms() -> Terms:
    arm = Arm(tier="mid", on_fail=OnFail.ACCEPT)
    role = RoleTerms(
        role=ROLE, mode=None, tiers=("mid",), declared=arm, floor=FLOOR, learn="bounded",
        checked=True, pin=None,
    )  # fmt: skip
    alerts = AlertsConfig.model_validate({"cost": {"budget_usd_per_day": 100}, "quality": {}})
    return Terms(policy_hash="", ladder=("mid",), tiers={}, roles=(role,), alerts=alerts)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

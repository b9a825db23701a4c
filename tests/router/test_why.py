"""Decisions as the store has them, explained."""

from typing import Any

import pytest

from router.why import why
from telemetry.records import Reason

REVISION = {
    "shares": {
        "worker||": {"small/step": 0.3, "mid/step": 0.6, "frontier/accept": 0.1},
        "worker|debate|": {"frontier/accept": 1.0},
    },
    "evidence": {"worker||": {"labels": 120.0}},
}
DECISION = {
    "revision": "r1",
    "reason": "learned",
    "cell": "worker||tools",
    "tier_start": "mid",
    "on_fail": "step",
    "propensity": 0.6,
    "offered": ["small/step", "mid/step", "frontier/accept"],
}


def test_the_share_the_cell_and_the_evidence_are_named() -> None:
    found = why(DECISION, REVISION)
    assert found.words == (
        "drawn from revision r1: its cell worker|| gives mid/step 0.6 "
        "(it has none of its own for worker||tools)"
    )
    assert found.cell == "worker||"
    assert found.shares == REVISION["shares"]["worker||"]
    assert found.evidence == {"labels": 120.0}


def test_the_nearest_cell_is_the_one_that_decided() -> None:
    changed = {"cell": "worker|debate|plain", "tier_start": "frontier", "on_fail": "accept"}
    found = why(DECISION | changed | {"propensity": 1.0}, REVISION)
    assert found.cell == "worker|debate|"
    assert "frontier/accept 1 (" in found.words


def test_a_share_that_grew_by_what_was_not_offered_says_so() -> None:
    changed = {"propensity": 0.7, "offered": ["small/step", "mid/step"]}
    words = why(DECISION | changed, REVISION).words
    assert "mid/step 0.6" in words
    assert "and 0.7 with what this step was not offered as such (frontier/accept)" in words


def test_what_is_unknown_is_called_unknown() -> None:
    assert "unknown" in why(DECISION, None).words
    assert "no shares for cell None" in why(DECISION | {"cell": None}, REVISION).words


@pytest.mark.parametrize("reason", [r for r in Reason if r not in ("learned", "explored")])
def test_every_certain_decision_says_why_it_was(reason: Reason) -> None:
    decision: dict[str, Any] = {**DECISION, "revision": "declared", "reason": reason}
    found = why(decision, None)
    assert "certain" in found.words
    assert (found.cell, found.shares) == (None, {})

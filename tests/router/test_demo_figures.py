"""The demo's figures, from spans and ledgers made by hand."""

from dataclasses import replace
from typing import Any

import pytest

from evals.workloads.steps import Said, StepResult
from router.demo import ledgers, report, spend
from router.demo.files import PRICES
from router.demo.ledgers import Bill, Check
from router.demo.store import Attempt, Chain
from router.demo.telling import Told

ENTRY: dict[str, Any] = {
    "status": 200, "model": "standin-mid", "response_id": "chatcmpl-1", "right": True,
    "input": 1_000, "cache_read": 600, "cache_write": 100, "output": 50,
}  # fmt: skip
# 300 fresh at 1.00, 600 read at 0.10, 100 written at 1.25, 50 out at 5.00, per million.
ENTRY_USD = 300e-6 + 60e-6 + 125e-6 + 250e-6
MID = Attempt(
    decision_id="d1", number=1, role="writer", tier="mid", model="cloud/standin-mid", plan=None,
    operation="chat", cause="start", error_type=None, response_id="chatcmpl-1",
    input_tokens=1_000, output_tokens=50, cost_usd=ENTRY_USD, failed=(),
)  # fmt: skip
FRONTIER = replace(
    MID, number=2, tier="frontier", cause="escalation", response_id="chatcmpl-2", cost_usd=0.5
)
CODE = replace(
    MID, tier="code", model="code/desk_rules:look_up", operation="code", response_id=None,
    input_tokens=None, output_tokens=None, cost_usd=0.0,
)  # fmt: skip
ABSTAINED = replace(CODE, error_type="abstained")
HOLD = [True] * 6


def chain_of(*attempts: Attempt, plan: str | None = None, decision_id: str = "d1") -> Chain:
    known = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return Chain(
        decision_id=decision_id,
        role=attempts[0].role,
        plan=plan,
        attempts_count=len(attempts),
        cost_usd=sum(known) if len(known) == len(attempts) else None,
        attempts=attempts,
    )


def step_of(chain: Chain, *, right: bool = True, step: str = "draft", replan: bool = False) -> Told:
    headers = {"decision": chain.decision_id, "tier": chain.attempts[-1].tier, "model": "m"}
    if replan:
        headers["replan"] = "true"
    said = Said(text="", input_tokens=7, output_tokens=3, headers=headers)
    result = StepResult(role=chain.role, step=step, session="s", right=right, said=said)
    return Told(result=result, chain=chain)


def test_a_bill_counts_each_kind_of_token_at_its_own_price() -> None:
    assert ledgers.price_of(ENTRY, PRICES["mid"]) == pytest.approx(ENTRY_USD, abs=1e-15)
    refused = {**ENTRY, "status": 503, "model": ""}
    bill = ledgers.routed([ENTRY, refused], [True, False, None])
    assert bill.usd == pytest.approx(ENTRY_USD, abs=1e-15)
    assert (bill.calls_count, bill.steps_count, bill.right_count) == (1, 3, 1)


@pytest.mark.parametrize(
    ("chains", "broken"),
    [
        ([chain_of(MID)], set()),
        ([chain_of(ABSTAINED, replace(MID, number=2))], set()),
        ([], {0, 1, 2, 3}),
        ([chain_of(MID), chain_of(MID)], {0, 1, 2, 3}),
        ([chain_of(replace(MID, cost_usd=ENTRY_USD + 2e-9))], {0}),
        ([chain_of(replace(MID, cost_usd=None))], {0, 4}),
        ([chain_of(replace(MID, response_id="chatcmpl-2"))], {1}),
        ([chain_of(replace(MID, output_tokens=51))], {2}),
        ([replace(chain_of(MID), decision_id="d2")], {3}),
        ([replace(chain_of(MID), cost_usd=ENTRY_USD / 2)], {4}),
        ([replace(chain_of(MID), attempts_count=2)], {4}),
        ([chain_of(replace(ABSTAINED, cost_usd=1e-6), replace(MID, number=2))], {0, 5}),
        ([chain_of(replace(ABSTAINED, operation="chat"), replace(MID, number=2))], {5}),
    ],
)
def test_each_check_breaks_on_what_it_is_there_for(chains: list[Chain], broken: set[int]) -> None:
    found = ledgers.checks(chains, [ENTRY], ["d1"])
    assert {number for number, check in enumerate(found) if not check.holds} == broken


@pytest.mark.parametrize(
    ("calls", "spend_usd", "holds"),
    [(1, ENTRY_USD, True), (2, ENTRY_USD, False), (1, ENTRY_USD + 2e-9, False)],
)
def test_the_consoles_table_must_come_to_the_same_sums(
    calls: int, spend_usd: float, holds: bool
) -> None:
    found = ledgers.board_check([chain_of(MID)], calls=calls, spend_usd=spend_usd)
    assert found.holds is holds


def test_a_chain_waits_for_the_reason_of_each_move() -> None:
    assert not chain_of(MID, FRONTIER).complete
    assert chain_of(replace(MID, failed=("one_of",)), FRONTIER).complete
    assert chain_of(replace(MID, error_type="http_503"), FRONTIER).complete


def test_spend_counts_every_attempt_but_judges_only_the_answer_that_was_delivered() -> None:
    step = step_of(chain_of(replace(MID, failed=("contains",)), FRONTIER))
    rows = spend.spend_of([step])
    assert [(row.tier, row.calls, row.steps_right, row.steps_judged) for row in rows] == [
        ("frontier", 1, 1, 1),
        ("mid", 1, 0, 0),
    ]


def test_an_abstention_is_no_escalation_and_the_next_answer_is_the_first() -> None:
    abstained = chain_of(ABSTAINED, replace(MID, number=2, cause="escalation"))
    (row,) = spend.quality_of([step_of(abstained)], {"chatcmpl-1": True})
    assert (row.escalations, row.abstained, row.first_passed) == (0, 1, 1)
    assert (row.first_right, row.right) == (1, 1)
    assert row.first_cost_usd == row.cost_usd == pytest.approx(ENTRY_USD)


def test_a_first_answer_is_judged_although_nobody_got_it() -> None:
    moved = chain_of(replace(MID, failed=("contains",)), FRONTIER)
    (row,) = spend.quality_of([step_of(moved)], {"chatcmpl-1": False, "chatcmpl-2": True})
    assert (row.escalations, row.first_passed, row.first_right, row.right) == (1, 0, 0, 1)
    assert row.first_cost_usd == pytest.approx(ENTRY_USD)
    assert row.cost_usd == pytest.approx(ENTRY_USD + 0.5)


def test_what_code_answered_is_judged_where_it_was_delivered() -> None:
    rows = spend.quality_of([step_of(chain_of(CODE)), step_of(chain_of(CODE), right=False)], {})
    assert [(row.steps, row.first_right, row.right) for row in rows] == [(2, 1, 1)]


def test_a_line_tells_each_attempt_with_what_it_failed_and_what_it_cost() -> None:
    moved = chain_of(replace(MID, failed=("promises_nothing", "json")), FRONTIER)
    line, below = report.step_lines(4, step_of(moved, right=False))
    assert line.startswith("   4 writer          draft          frontier ")
    assert line.endswith(f"${ENTRY_USD + 0.5:.6f}   WRONG, stream held until checked")
    assert below.strip() == (
        f"mid x promises_nothing, json ${ENTRY_USD:.6f} -> frontier ok $0.500000"
    )
    assert len(report.step_lines(1, step_of(chain_of(MID)))) == 1
    abstained = chain_of(ABSTAINED, replace(MID, number=2))
    lines = report.step_lines(1, step_of(abstained, replan=True))
    assert lines[1].strip() == f"code abstained $0 -> mid ok ${ENTRY_USD:.6f}"
    assert lines[2].strip() == "x-tierwise-replan: true"


def test_a_revision_is_told_with_what_each_plan_cost() -> None:
    def under(plan: str, *attempts: Attempt) -> Chain:
        return chain_of(*attempts, plan=plan)

    moved = (replace(MID, failed=("grounded",)), FRONTIER)
    steps = [
        step_of(under("p", MID), step="plan"),
        step_of(under("p", *moved), replan=True),
        step_of(under("p.2", MID), step="replan"),
        step_of(under("p.2", *moved)),
        step_of(under("p.2", MID)),
    ]
    assert report.revisions_of(steps) == [
        report.Revision(plan="p", escalations=1, revised="p.2", steps_after=2, escalations_after=1)
    ]
    assert report.revisions_of(steps[:2]) == []


def refused_step() -> Told:
    chain = replace(chain_of(MID), attempts=(), attempts_count=0, cost_usd=0.0)
    said = Said(
        text="", headers={"decision": "d1"}, error="APIStatusError: Error code: 402 - spent"
    )
    result = StepResult(role="writer", step="draft", session="s", right=False, said=said)
    return Told(result=result, chain=chain)


def test_a_refused_step_is_told_and_counts_as_no_answer() -> None:
    step = refused_step()
    assert report.refused(step)
    assert not report.refused(step_of(chain_of(MID)))
    assert spend.quality_of([step], {}) == []
    line, below = report.step_lines(9, step)
    assert line.split()[3:] == ["-", "-", "nobody", "asked", "$0.000000", "FAILED"]
    assert below.strip() == "APIStatusError: Error code: 402 - spent"


def test_what_the_demo_shows_must_have_happened() -> None:
    moved = step_of(chain_of(replace(MID, failed=("contains",)), FRONTIER))
    abstained = step_of(chain_of(ABSTAINED, MID))
    all_of_it = [moved, step_of(chain_of(CODE)), abstained, refused_step()]
    revision = report.Revision(
        plan="p", escalations=6, revised="p.2", steps_after=2, escalations_after=0
    )
    assert report.shown_check(all_of_it, [revision]).holds
    assert not report.shown_check(all_of_it, []).holds
    for missing in range(4):
        rest = [step for number, step in enumerate(all_of_it) if number != missing]
        assert not report.shown_check(rest, [revision]).holds


def findings_of(routed: Bill, frontier: Bill, *checks: Check) -> report.Findings:
    return report.Findings(
        spend=[], quality=[], revisions=[], checks=checks, routed=routed, frontier=frontier,
        seconds=1.0,
    )  # fmt: skip


def test_a_dearer_routing_shows_as_a_negative_saving() -> None:
    dear = Bill(usd=3.0, calls_count=2, steps_count=2, right_count=2)
    cheap = Bill(usd=2.0, calls_count=2, steps_count=2, right_count=1)
    findings = findings_of(dear, cheap)
    assert findings.saved_share == pytest.approx(-0.5)
    assert "-50.0%" in "\n".join(report.comparison(findings))


def test_no_saving_is_claimed_when_a_check_is_broken() -> None:
    bill = Bill(usd=1.0, calls_count=1, steps_count=1, right_count=1)
    findings = findings_of(bill, bill, Check(name="c", holds=False, found=""))
    assert findings.saved_share is None
    assert "unknown" in "\n".join(report.comparison(findings))

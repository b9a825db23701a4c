"""What `tierwise bench` times is a real decision."""

from router.cli.onedecision import SHARES, decider
from telemetry.records import Decision, Reason


def test_the_decision_that_is_timed_is_whole_and_new_each_time() -> None:
    decide = decider()
    first, second = decide(), decide()
    assert isinstance(first, Decision)
    assert isinstance(second, Decision)
    assert first.decision_id != second.decision_id
    assert (first.context.role, first.cell) == ("worker", "worker||tools")
    assert first.reason in (Reason.LEARNED, Reason.EXPLORED)
    assert first.propensity == SHARES[str(first.arm)]
    assert first.revision == second.revision != "declared"

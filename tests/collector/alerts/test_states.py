"""The life of one alert, look by look."""

import pytest

from collector.alerts.states import SHOWN_NS, Look, Patience, Standing, State, advance

SECOND = 1_000_000_000


def run(
    looks: list[Look], patience: Patience, *, passed: int = 10 * SECOND
) -> list[tuple[str, int | None]]:
    standing, now, states = Standing(), 0, []
    for look in looks:
        now += 10 * SECOND
        standing = advance(standing, look, patience=patience, now_ns=now, passed_ns=passed)
        states.append((standing.state.value, standing.ends_ns))
    return states


def names(looks: str, patience: Patience, *, passed: int = 10 * SECOND) -> list[str]:
    holds = {"1": True, "0": False, "?": None}
    return [
        state
        for state, _ in run([Look(holds=holds[each]) for each in looks], patience, passed=passed)
    ]


def test_without_patience_it_fires_and_resolves_at_once() -> None:
    assert names("0110", Patience()) == ["inactive", "firing", "firing", "resolved"]


def test_it_waits_before_it_fires_and_before_it_resolves() -> None:
    patience = Patience(for_ns=20 * SECOND, keep_ns=20 * SECOND)
    assert names("111000", patience) == [
        "pending", "pending", "firing", "keep_firing", "keep_firing", "resolved",
    ]  # fmt: skip


def test_what_comes_back_while_it_keeps_firing_is_the_same_alert() -> None:
    patience = Patience(keep_ns=30 * SECOND)
    looks = [Look(holds=True), Look(holds=False), Look(holds=True)]
    assert run(looks, patience) == [("firing", None), ("keep_firing", None), ("firing", None)]


def test_a_condition_that_passes_while_pending_never_fires() -> None:
    assert names("1010", Patience(for_ns=20 * SECOND)) == [
        "pending", "inactive", "pending", "inactive",
    ]  # fmt: skip


def test_data_that_stops_neither_fires_nor_resolves() -> None:
    assert names("1???", Patience()) == ["firing"] * 4
    assert (
        names("10??", Patience(keep_ns=SECOND)) == ["firing", "keep_firing"] + ["keep_firing"] * 2
    )
    assert names("??", Patience()) == ["no_data", "no_data"]


def test_a_held_alert_does_not_resolve() -> None:
    looks = [Look(holds=True), Look(holds=False, held=True), Look(holds=False)]
    assert [state for state, _ in run(looks, Patience())] == ["firing", "keep_firing", "resolved"]


def test_waiting_can_be_counted_in_outcomes() -> None:
    patience = Patience(for_steps=10, keep_steps=5)
    looks = [Look(holds=True, steps=n) for n in (3, 4, 4, 4)] + [
        Look(holds=False, steps=n) for n in (9, 2, 3)
    ]
    states = [state for state, _ in run(looks, patience)]
    # steps of the look that begins a wait do not count into it
    assert states == [
        "pending", "pending", "pending", "firing", "keep_firing", "keep_firing", "resolved",
    ]  # fmt: skip


@pytest.mark.parametrize("jump", [-(10**18), 10**18])
def test_a_clock_that_jumps_is_worth_at_most_a_minute(jump: int) -> None:
    patience = Patience(for_ns=90 * SECOND)
    assert names("11", patience, passed=jump) == ["pending", "pending"]


def test_a_resolved_alert_is_shown_for_a_while_and_then_forgotten() -> None:
    standing = Standing(state=State.RESOLVED, ends_ns=1)
    count = SHOWN_NS // (60 * SECOND)
    for _ in range(count - 1):
        standing = advance(
            standing, Look(holds=False), patience=Patience(), now_ns=2, passed_ns=60 * SECOND
        )
    assert standing.state is State.RESOLVED
    standing = advance(
        standing, Look(holds=False), patience=Patience(), now_ns=2, passed_ns=60 * SECOND
    )
    assert standing.state is State.INACTIVE

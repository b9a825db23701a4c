"""When a model is left alone, and how many extra calls a bad hour may cause."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.breaker import (
    FAILURES_TO_OPEN,
    MODELS_MAX,
    OPEN_SECONDS_MAX,
    OPEN_SECONDS_MIN,
    RETRIES_SAVED_MAX,
    RETRY_FLOOR_PER_SECOND,
    Breakers,
    Leave,
    RetryBudget,
)
from telemetry.clock import ManualClock

MODEL = "p/m"


def breakers() -> tuple[Breakers, ManualClock]:
    clock = ManualClock()
    return Breakers(clock=clock, rng=random.Random(1)), clock


def opened() -> tuple[Breakers, ManualClock]:
    found, clock = breakers()
    for _ in range(FAILURES_TO_OPEN):
        found.failed(found.enter(MODEL))
    return found, clock


def test_a_circuit_opens_at_the_fifth_failure_in_a_row_and_not_before() -> None:
    found, _ = breakers()
    for _ in range(4):
        found.failed(found.enter(MODEL))
        assert found.allows(MODEL)
    found.answered(found.enter(MODEL))
    for _ in range(4):
        found.failed(found.enter(MODEL))
        assert found.allows(MODEL)
    found.failed(found.enter(MODEL))
    assert not found.allows(MODEL)
    assert found.allows("p/other")


def test_a_failure_that_is_certain_to_come_again_opens_a_circuit_at_once() -> None:
    found, clock = breakers()
    found.failed(found.enter(MODEL), certain=True)
    assert not found.allows(MODEL)
    clock.advance(OPEN_SECONDS_MIN)
    found.answered(found.enter(MODEL))
    assert found.allows(MODEL)


def test_an_open_circuit_lets_one_probe_through_after_its_time() -> None:
    found, clock = opened()
    clock.advance(OPEN_SECONDS_MIN * 0.49)
    assert not found.allows(MODEL)
    clock.advance(OPEN_SECONDS_MIN * 0.52)
    assert found.allows(MODEL)
    assert found.enter(MODEL) == Leave(MODEL, True)
    assert not found.allows(MODEL)
    assert found.enter(MODEL) == Leave(MODEL, False)


def test_a_probe_that_answers_closes_and_one_that_fails_opens_for_longer() -> None:
    found, clock = opened()
    clock.advance(OPEN_SECONDS_MIN)
    found.failed(found.enter(MODEL))
    clock.advance(OPEN_SECONDS_MIN * 0.99)  # the second time takes 1 to 2 seconds
    assert not found.allows(MODEL)
    clock.advance(OPEN_SECONDS_MIN * 1.02)
    found.answered(found.enter(MODEL))
    assert found.allows(MODEL)
    for _ in range(FAILURES_TO_OPEN - 1):
        found.failed(found.enter(MODEL))
    assert found.allows(MODEL), "an answer wipes the slate clean"


def test_a_probe_that_is_called_off_lets_another_one_through() -> None:
    found, clock = opened()
    clock.advance(OPEN_SECONDS_MIN)
    probe = found.enter(MODEL)
    found.gave_up(Leave(MODEL, False))
    assert not found.allows(MODEL), "only the probe itself ends the probing"
    found.gave_up(probe)
    assert found.allows(MODEL)


def test_a_hundred_calls_that_fail_together_open_the_circuit_once() -> None:
    found, clock = breakers()
    leaves = [found.enter(MODEL) for _ in range(100)]
    for leave in leaves:
        found.failed(leave)
    clock.advance(OPEN_SECONDS_MIN)
    assert found.allows(MODEL)


def test_however_often_a_probe_fails_the_wait_stays_bounded() -> None:
    found, clock = opened()
    for _ in range(40):
        clock.advance(OPEN_SECONDS_MAX)
        assert found.allows(MODEL)
        found.failed(found.enter(MODEL))


def test_more_models_than_fit_are_never_kept_away() -> None:
    found, _ = breakers()
    for number in range(MODELS_MAX):
        found.failed(found.enter(f"p/{number}"))
    for _ in range(FAILURES_TO_OPEN):
        found.failed(found.enter(MODEL))
    assert found.allows(MODEL)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["ask", "force", "answer", "fail", "leave", "wait"]), st.floats(0, 3)
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(MOVES)
def test_no_two_probes_are_ever_under_way(moves: list[tuple[str, float]]) -> None:
    found, clock = breakers()
    running: list[Leave] = []
    for move, amount in moves:
        if move == "wait":
            clock.advance(amount)
        elif move == "force" or (move == "ask" and found.allows(MODEL)):
            running.append(found.enter(MODEL))
        elif move != "ask" and running:
            leave = running.pop(int(amount * 1_000) % len(running))
            end = {"answer": found.answered, "fail": found.failed, "leave": found.gave_up}[move]
            end(leave)
            if move == "answer":
                # A closed circuit has no probe; what still runs is an ordinary call.
                running = [Leave(MODEL, False) for _ in running]
                assert found.allows(MODEL)
        assert sum(leave.probe for leave in running) <= 1


# The retry budget ------------------------------------------------------------------------------


def test_a_fifth_of_an_extra_call_is_earned_by_each_request() -> None:
    budget = RetryBudget(clock=ManualClock())
    taken = 0
    for _ in range(10_000):
        budget.request()
        taken += budget.take()
    # Three to begin with, and 2,000 for 10,000 requests; sums of 0.2 are a hair under a whole.
    assert 2_001 <= taken <= 2_003


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 2)), min_size=5, max_size=60))
def test_extra_calls_never_exceed_the_share_and_the_floor(bursts: list[tuple[int, float]]) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock=clock)
    requests, taken, passed = 0, 0, 0.0
    for count, pause in bursts:
        for _ in range(count):
            budget.request()
            requests += 1
            while budget.take():
                taken += 1
        clock.advance(pause)
        passed += pause
        assert taken <= 3.0 + 0.2 * requests + RETRY_FLOOR_PER_SECOND * passed + 1e-6


def test_one_lonely_request_may_still_retry_after_a_while() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock=clock)
    while budget.take():
        pass
    assert not budget.take()
    clock.advance(1.0 / RETRY_FLOOR_PER_SECOND)
    assert budget.take()
    assert not budget.take()


@pytest.mark.parametrize("quiet_seconds", [3_600.0, 1e6])
def test_what_is_saved_in_good_times_is_bounded(quiet_seconds: float) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock=clock)
    budget.request()
    clock.advance(quiet_seconds)
    taken = 0
    while budget.take():
        taken += 1
    assert taken == RETRIES_SAVED_MAX

"""What is remembered of sessions and plans, for how long, and how much of it."""

from router.sessions import IDLE_SECONDS_MAX, REMEMBERED_MAX, Memory, Notes
from telemetry.clock import ManualClock
from telemetry.records import History


def test_a_session_is_only_ever_raised_and_only_for_its_role() -> None:
    memory = Memory(clock=ManualClock())
    assert memory.tier_floor("s", "worker") == 0
    memory.raise_to("s", "worker", tier=2)
    memory.raise_to("s", "worker", tier=1)
    assert memory.tier_floor("s", "worker") == 2
    assert memory.tier_floor("s", "planner") == 0
    assert memory.tier_floor("t", "worker") == 0


def test_what_a_sessions_steps_came_to_is_told_by_role() -> None:
    memory = Memory(clock=ManualClock())
    assert memory.history("s", "worker") == History()
    for passed, fails in ((False, 1), (False, 2), (True, 0), (False, 1)):
        memory.judged("s", "worker", passed=passed)
        assert memory.history("s", "worker") == History(fails=fails)
    memory.raise_to("s", "worker", tier=2)
    assert memory.history("s", "worker") == History(raised=2, fails=1)
    assert memory.history("s", "critic") == History()


def test_a_plans_escalations_are_counted_from_one() -> None:
    memory = Memory(clock=ManualClock())
    assert memory.escalations("p") == 0
    assert [memory.escalated("p") for _ in range(3)] == [1, 2, 3]
    assert memory.escalations("p") == 3
    assert memory.escalations("q") == 0


def test_what_nobody_asks_about_for_a_day_is_forgotten() -> None:
    clock = ManualClock()
    memory = Memory(clock=clock)
    memory.raise_to("s", "worker", tier=1)
    clock.advance(IDLE_SECONDS_MAX + 1)
    assert memory.tier_floor("s", "worker") == 0


def test_what_is_asked_about_is_kept() -> None:
    clock = ManualClock()
    memory = Memory(clock=clock)
    memory.raise_to("s", "worker", tier=1)
    for _ in range(10):
        clock.advance(IDLE_SECONDS_MAX * 0.9)
        assert memory.tier_floor("s", "worker") == 1


def test_only_so_much_is_kept_and_the_least_recently_used_goes_first() -> None:
    notes: Notes[int] = Notes(clock=ManualClock())
    for number in range(REMEMBERED_MAX):
        notes.put(f"n{number}", 1)
    assert notes.get("n0") == 1
    notes.put("one more", 1)
    assert notes.get("n0") == 1
    assert notes.get("n1") is None
    assert notes.get("n2") == 1
    assert len(notes._notes) == REMEMBERED_MAX

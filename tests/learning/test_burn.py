"""Burn rates over pairs of windows, by hand."""

import pytest

from learning.burn import LONGEST, WINDOWS, burns


def over(spent: dict[int, float], *, now: int = 10_000) -> list[float]:
    return [burn.window.factor for burn in burns(spent, now=now, usd_per_day=24.0) if burn.over]


def test_an_hour_at_fourteen_times_the_plan_pages() -> None:
    # 24 USD a day is 1 an hour: 14.55 within the hour, of which 1.25 within the last five minutes
    assert over({9_950: 13.3, 9_998: 1.25}) == [14.4]


def test_a_burst_that_is_over_does_not() -> None:
    # over 6 h that is 2.4 times the plan, within the last half hour nothing
    assert over({9_950: 14.4}) == []


def test_three_days_a_little_over_plan_are_told_too() -> None:
    steady = {minute: 24.5 / 1_440 for minute in range(10_000 - LONGEST + 1, 10_001)}
    assert over(steady) == [1.0]


def test_as_planned_is_quiet() -> None:
    steady = {minute: 23.9 / 1_440 for minute in range(10_000 - LONGEST + 1, 10_001)}
    assert over(steady) == []


def test_short_windows_are_a_twelfth_of_the_long_ones() -> None:
    assert [window.long / window.short for window in WINDOWS] == [12, 12, 12, 12]


def test_spend_of_the_future_and_of_long_ago_counts_for_nothing() -> None:
    found = burns({10_001: 1e6, 10_000 - LONGEST: 1e6}, now=10_000, usd_per_day=1.0)
    assert [burn.long for burn in found] == pytest.approx([0, 0, 0, 0])

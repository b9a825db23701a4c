"""Silences: what one must have, what it matches, and when it is over."""

from typing import Any

import pytest

from collector.desk import Desk
from collector.silences import (
    DAY_NS,
    SILENCES_MAX,
    Asked,
    BadSilence,
    Matcher,
    all_of,
    checked,
    end,
    muting,
    put,
)
from tests.collector.alerts.world import T0, World

LABELS = {"alertname": "CostHigh", "role": "worker", "severity": "page"}


def asked(**more: Any) -> Asked:
    given: dict[str, Any] = {
        "matchers": {"alertname": "CostHigh"}, "starts_ns": T0, "ends_ns": T0 + DAY_NS,
        "author": "ann", "comment": "load test",
    }  # fmt: skip
    return Asked(**(given | more))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"author": " "}, "author and a comment"),
        ({"comment": ""}, "author and a comment"),
        ({"matchers": {}}, "1 to 16 matchers"),
        ({"matchers": {"alertname": "*"}}, "mute every alert"),
        ({"matchers": {"a b": "c"}}, "is no matcher"),
        ({"matchers": {"role": "*a*b*"}}, "is no matcher"),
        ({"matchers": {"role": "x" * 201}}, "is no matcher"),
        ({"ends_ns": T0}, "must end after it starts"),
        ({"starts_ns": T0 - DAY_NS, "ends_ns": T0 - 1}, "later than now"),
        ({"ends_ns": T0 + 7 * DAY_NS + 1}, "at most 7 days"),
        ({"starts_ns": T0 + 13 * DAY_NS, "ends_ns": T0 + 15 * DAY_NS}, "at most 7 days"),
    ],
)
def test_a_silence_that_lacks_something_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSilence, match=said):
        checked(asked(**more), now_ns=T0, days_max=7)


@pytest.mark.parametrize(
    ("name", "value", "matches"),
    [
        ("alertname", "CostHigh", True),
        ("alertname", "Cost*", True),
        ("alertname", "Cost", False),
        ("alertname", "cost*", False),
        ("role", "work.r", False),
        ("provider", "", True),
        ("provider", "openai", False),
    ],
)
def test_a_matcher_takes_the_whole_value(name: str, value: str, matches: bool) -> None:
    assert Matcher(name=name, value=value).matches(LABELS) is matches


def test_all_matchers_must_match_and_only_between_start_and_end(world: World) -> None:
    silence = checked(
        asked(matchers={"alertname": "CostHigh", "role": "critic"}), now_ns=T0, days_max=7
    )
    assert not silence.mutes(LABELS, T0)
    silence = checked(asked(), now_ns=T0, days_max=7)
    assert [silence.mutes(LABELS, at) for at in (T0 - 1, T0, T0 + DAY_NS - 1, T0 + DAY_NS)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_a_silence_comes_back_as_it_was_put_and_can_be_ended(world: World) -> None:
    desk: Desk = world.desk
    silence = checked(asked(), now_ns=T0, days_max=7)
    with desk.transaction() as change:
        put(change, silence)
    assert all_of(desk) == (silence,)
    assert muting(all_of(desk), LABELS, T0 + 1) == silence.id
    with desk.transaction() as change:
        assert end(change, silence.id, T0 + 2)
        assert not end(change, silence.id, T0 + 2)
        assert not end(change, "no such", T0 + 2)
    assert muting(all_of(desk), LABELS, T0 + 3) is None
    assert all_of(desk)[0].plain(T0 + 3)["status"] == "expired"


def test_the_number_of_silences_is_bounded(world: World) -> None:
    silences = [checked(asked(), now_ns=T0, days_max=7) for _ in range(SILENCES_MAX + 1)]
    with world.desk.transaction() as change:
        for silence in silences[:-1]:
            put(change, silence)
        with pytest.raises(BadSilence, match="already"):
            put(change, silences[-1])

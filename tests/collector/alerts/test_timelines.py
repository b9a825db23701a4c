"""Timelines as data: series of traffic, and the state that each alert must have at each tick.

A file's ``[[traffic]]`` tables follow one another; each lasts ``ticks`` of ``tick_seconds`` and
brings ``scores`` (one character a step: 0 to 9 are tenths, P is 1, - is no grade) at ``usd`` a
task. ``[[expect]]`` names a tick, counted from 1, an alert and its state; ``told`` is what sinks
hear in all.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.collector.alerts.world import World, pin, role_terms, terms

FILES = sorted((Path(__file__).parent / "timelines").glob("*.toml"))


def scores(text: str) -> list[float | None]:
    return [None if each == "-" else 1.0 if each == "P" else int(each) / 10 for each in text]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_alert_has_the_states_that_its_timeline_says(path: Path, tmp_path: Path) -> None:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    own: dict[str, Any] = {key: told[key] for key in ("floor", "checked") if key in told}
    if "pin_until" in told:
        own["pin"] = pin(told["pin_until"])
    world = World(folder=tmp_path, terms=terms(role_terms(**own), alerts=told.get("alerts")))
    expected: dict[int, list[dict[str, Any]]] = {}
    for each in told["expect"]:
        expected.setdefault(each["tick"], []).append(each)
    number = 0
    for part in told["traffic"]:
        for _ in range(part["ticks"]):
            number += 1
            if part.get("scores"):
                rest = {key: part[key] for key in ("escalated_from",) if key in part}
                world.put(scores(part["scores"]), usd=part.get("usd"), **rest)
            world.tick(part.get("tick_seconds", told["tick_seconds"]))
            for each in expected.pop(number, []):
                state = world.state(each["alert"], each.get("role", "worker") or None)
                assert (number, each["alert"], state) == (number, each["alert"], each["state"])
    assert expected == {}, "the timeline is over before these"
    heard = [f"{name} {status}" for name, role, status in world.told() if role is not None]
    assert heard == told["told"]
    world.close()


def test_there_are_timelines() -> None:
    assert len(FILES) >= 8

import json
from typing import Any

import numpy as np
import pytest

from learning.drift import Detector
from learning.snapshot import State, dump, load
from learning.watch import Watch
from tests.learning.observations import Observation, Seen, tally_attempts, tally_labels


def state() -> State:
    rows = [
        Observation(cell="a", attempts=(Seen(tier="small", flagged=False),), label=1 / 3),
        Observation(cell="b", attempts=(Seen(tier="small", flagged=True),), label=0.1),
    ]
    moved, _ = Detector().watch(
        np.array([0.0, 1.0]), means=np.array([0.9, 0.9]), kinds=np.array([0, 2])
    )
    return State(
        epoch=7,
        tally=tally_attempts(rows, epoch=6) + tally_labels(rows, epoch=7),
        since={"small": 5},
        demoted=frozenset({"small"}),
        watches={"small": Watch(worse=moved)},
    )


def test_a_snapshot_gives_back_the_same_state_to_the_last_digit() -> None:
    found = load(dump(state()))
    assert dump(found) == dump(state())
    assert (found.epoch, found.since, found.demoted) == (
        7,
        {"small": 5},
        frozenset({"small"}),
    )
    for epoch, sums in state().tally.epochs.items():
        assert (found.tally.epochs[epoch] == sums).all()


@pytest.mark.parametrize("cut", [0, 1, 50, -1])
def test_a_torn_snapshot_is_refused(cut: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load(dump(state())[:cut])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 9),
        ("cells", None),
        ("epochs", {"x": []}),
        ("epochs", {"6": [[[0.0]]]}),
        ("watches", {"small": {"worse": [1.0], "better": []}}),
        ("since", []),
    ],
)
def test_a_state_of_another_shape_is_refused(key: Any, value: Any) -> None:
    content = json.loads(dump(state()))
    content[key] = value
    with pytest.raises(ValueError, match=r".+"):
        load(json.dumps(content))


def test_impossible_sums_are_refused() -> None:
    content = json.loads(dump(state()))
    content["epochs"]["6"][0][0][0] = -1.0
    with pytest.raises(ValueError, match="below 0"):
        load(json.dumps(content))

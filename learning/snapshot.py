"""The learner's whole state as text and back: tallies, alarms, detectors.

A snapshot saves time, never truth: the state can always be rebuilt from stored outcomes. Whoever
cannot read one starts from the declared policy.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from learning.drift import GAINS, LOSSES, Detector, Stories
from learning.tally import STATS, Tally
from learning.watch import Watch

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class State:
    """What a learner carries from tick to tick.

    ``since`` is the first epoch that counts for each model, ``demoted`` the models whose last alarm
    was a loss, ``watches`` the detectors of each model.
    """

    epoch: int
    tally: Tally
    since: Mapping[str, int] = field(default_factory=dict)
    demoted: frozenset[str] = frozenset()
    watches: Mapping[str, Watch] = field(default_factory=dict)


def dump(state: State) -> str:
    """Canonical JSON of the state; floats keep every digit."""
    content = {
        "format": FORMAT,
        "epoch": state.epoch,
        "cells": list(state.tally.cells),
        "prefixes": [list(prefix) for prefix in state.tally.prefixes],
        "epochs": {str(number): sums.tolist() for number, sums in state.tally.epochs.items()},
        "since": dict(state.since),
        "demoted": sorted(state.demoted),
        "watches": {
            model: {"worse": list(watch.worse.wealth), "better": list(watch.better.wealth)}
            for model, watch in state.watches.items()
        },
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def load(text: str) -> State:
    """The state that ``text`` holds; ValueError says what is wrong, impossible sums included."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r} is not {FORMAT}")
        cells = tuple(str(cell) for cell in content["cells"])
        prefixes = tuple(tuple(str(tier) for tier in prefix) for prefix in content["prefixes"])
        shape = (len(cells), len(prefixes), STATS)
        epochs = {}
        for number, rows in content["epochs"].items():
            sums = np.array(rows, dtype=np.float64).reshape(shape)
            if not np.isfinite(sums).all() or (sums < 0).any():
                raise ValueError(f"epoch {number} holds a sum below 0 or no number")
            epochs[int(number)] = sums
        return State(
            epoch=int(content["epoch"]),
            tally=Tally(cells=cells, prefixes=prefixes, epochs=epochs),
            since={str(model): int(epoch) for model, epoch in content["since"].items()},
            demoted=frozenset(str(model) for model in content["demoted"]),
            watches={
                str(model): Watch(
                    worse=_detector(wealth["worse"], stories=LOSSES),
                    better=_detector(wealth["better"], stories=GAINS),
                )
                for model, wealth in content["watches"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a learner's state: {error!r}") from error


def _detector(values: list[float], *, stories: Stories) -> Detector:
    wealth = tuple(float(value) for value in values)
    count = len(stories.weights)
    if len(wealth) != count or not all(math.isfinite(w) and w >= 0 for w in wealth):
        raise ValueError(f"a detector's evidence is {values}")
    return Detector(stories=stories, wealth=wealth)

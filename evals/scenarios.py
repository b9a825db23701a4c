"""What happens to a world during a run: named stage lists for the replay."""

from typing import Literal, get_args

import numpy as np

from evals.baselines.oracle import constrained
from evals.replay import Floors
from evals.simulate import Check, Labels, Setting, Stage
from telemetry.errors import ConfigError

Name = Literal[
    "stationary", "drop", "gradual", "recover", "verbose", "price", "mix", "newmodel", "removed",
    "outage", "bias", "spam", "broken",
]  # fmt: skip
NAMES: tuple[str, ...] = get_args(Name)

HALF = 0.5
DROP = 0.25  # share of the tier's answers that become wrong
BIAS = 0.08  # by which a biased judge grades the tier's answers better than they are


def busiest_tier(setting: Setting, *, floor: float) -> int:
    """The tier below the top at which the constrained oracle starts most requests."""
    floors = Floors(overall=floor * setting.world.top_quality)
    shares, _, _ = constrained(setting, stage=Stage(), floors=floors)
    by_arm = setting.world.role_weights() @ shares
    tiers = setting.world.tiers
    starts = [tiers.index(path[0]) for path in setting.arms.chains]
    used = np.bincount(starts, weights=by_arm, minlength=len(tiers))
    return int(used[:-1].argmax())


def stages(name: str, *, setting: Setting, floor: float, labels: Labels) -> tuple[Stage, ...]:
    """The stages of a scenario on the tier that matters most in this world.

    drop: a quarter of its answers become wrong at half time; gradual: the same in five steps;
    recover: the drop from one third to two thirds; verbose: twice the tokens; price: five times the
    price; mix: the role weights in reverse order; newmodel: the tier is absent in the first third,
    removed: in the second half; outage: no labels in the second quarter; bias: its labels are
    ``BIAS`` points too high from half time on, spam: they all say right; broken: the check flags
    nothing from half time on. Raises ConfigError on an unknown name.
    """
    tier = busiest_tier(setting, floor=floor)
    tiers = len(setting.world.tiers)

    def only(value: float, *, other: float) -> tuple[float, ...]:
        return tuple(value if index == tier else other for index in range(tiers))

    plain = Stage(labels=labels)
    lowered = only(DROP, other=0.0)
    weights = tuple(setting.world.role_weights()[::-1].tolist())
    silent = Labels(rate=0.0, delay=labels.delay, bias=labels.bias)
    gone = tuple(index == tier for index in range(tiers))
    flattered, praised = (
        Labels(rate=labels.rate, delay=labels.delay, bias=only(points, other=0.0))
        for points in (BIAS, 1.0)
    )
    known: dict[str, tuple[Stage, ...]] = {
        "stationary": (plain,),
        "drop": (plain, Stage(since=HALF, drop=lowered, labels=labels)),
        "gradual": (
            plain,
            *(
                Stage(since=HALF + step / 20, drop=only(DROP * step / 5, other=0.0), labels=labels)
                for step in range(1, 6)
            ),
        ),
        "recover": (
            plain,
            Stage(since=1 / 3, drop=lowered, labels=labels),
            Stage(since=2 / 3, labels=labels),
        ),
        "verbose": (plain, Stage(since=HALF, verbose=only(2.0, other=1.0), labels=labels)),
        "price": (plain, Stage(since=HALF, price=only(5.0, other=1.0), labels=labels)),
        "mix": (plain, Stage(since=HALF, role_weights=weights, labels=labels)),
        "newmodel": (Stage(absent=gone, labels=labels), Stage(since=1 / 3, labels=labels)),
        "removed": (plain, Stage(since=HALF, absent=gone, labels=labels)),
        "bias": (plain, Stage(since=HALF, labels=flattered)),
        "spam": (plain, Stage(since=HALF, labels=praised)),
        "broken": (plain, Stage(since=HALF, check=Check(), labels=labels)),
        "outage": (plain, Stage(since=0.25, labels=silent), Stage(since=HALF, labels=labels)),
    }
    if name not in known:
        raise ConfigError(f"no scenario {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]

"""How well off-policy estimates hold where the truth is known: `python -m evals.coverage FILE`.

The log sends nine requests in ten to the top tier and spends a tenth on a slice: one that follows
the target, or one spread over all arms. The target is the constrained oracle.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.baselines.oracle import constrained
from evals.ope import Estimate, Log, evaluate
from evals.replay import Floors
from evals.simulate import Check, Setting, Stage, serve, truth
from evals.worlds import Floats, load_worlds, role_means
from learning.arms import distinct_arms, ladder_arms
from telemetry.records import Arm, OnFail

SLICE = 0.1
FLOOR = 0.97
NINETY = 1.6449 / 1.9600  # of the 95 % half width
PLAYED = 20_000  # requests an arm, for the variance of its rewards


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What many logs amount to: of those not refused, how many 95 % intervals hold the truth."""

    refused: float  # share of the logs
    covered: float
    half_width: float  # mean, at 90 %, in 0..1
    error: float  # 90 % of the estimates are nearer to the truth than this, in 0..1


def covering(
    setting: Setting, *, target: Floats, logging: Floats, rows: int, repeats: int, seed: int
) -> Held:
    """Draw ``repeats`` logs of ``rows`` requests and hold DR against the truth.

    ``target`` and ``logging`` are shares (roles, arms).
    """
    world = setting.world
    known = truth(setting, stage=Stage())
    true = float(known.weights @ (target * known.role_quality).sum(axis=1))
    rng = np.random.default_rng(seed)
    found: list[Estimate] = []
    for _ in range(repeats):
        items = rng.integers(0, world.items_count, rows)
        served, _ = serve(
            setting,
            rng,
            stage=Stage(),
            items=items,
            numbers=np.arange(rows),
            probabilities=logging[world.roles[items]],
        )
        log = Log(
            cell=served.role,
            arm=served.arm,
            propensity=served.propensity,
            reward=served.label,
            weight=np.ones(rows),
            pinned=np.zeros(rows, dtype=bool),
        )
        found.append(evaluate(log, target)[2])
    sure = [one for one in found if one.refused is None]
    nan = float("nan")
    return Held(
        refused=1 - len(sure) / repeats,
        covered=float(np.mean([one.low <= true <= one.high for one in sure])) if sure else nan,
        half_width=float(np.mean([one.high - one.low for one in sure])) / 2 * NINETY
        if sure
        else nan,
        error=float(np.quantile([abs(one.value - true) for one in sure], 0.9)) if sure else nan,
    )


def bound(setting: Setting, *, target: Floats, logging: Floats, rows: int) -> float:
    """The least half width at 90 % that any estimator can have from such logs, in 0..1.

    The semiparametric bound: with shares t of the target and l of the log, role means V of the
    target and s² the variance of an arm's reward in a role,

        n variance = sum_r w_r (sum_a t² / l s²  +  (V_r - V)²)

    It holds for estimators that are right whatever the rewards are, tell arms apart and know the
    role of a request, not more. Variances are those of ``PLAYED`` requests or more an arm.
    Source: Hahn 1998.
    """
    world, arms = setting.world, len(setting.arms.chains)
    items = np.tile(np.arange(world.items_count), -(-PLAYED // world.items_count))
    roles, rng = world.roles[items], np.random.default_rng(0)
    mean, variance = np.zeros(target.shape), np.zeros(target.shape)
    for arm in range(arms):
        only = np.zeros((len(items), arms))
        only[:, arm] = 1.0
        served, _ = serve(
            setting, rng, stage=Stage(), items=items, numbers=items, probabilities=only
        )
        rewards = np.stack([served.label, served.label**2], axis=1)
        found = role_means(rewards, roles=roles, count=len(target))
        mean[:, arm], variance[:, arm] = found[:, 0], found[:, 1] - found[:, 0] ** 2
    value = (target * mean).sum(axis=1)
    weights = world.role_weights()
    ratio = np.divide(target**2, logging, out=np.zeros_like(target), where=target > 0)
    within = (ratio * variance).sum(axis=1)
    total = float(weights @ (within + (value - weights @ value) ** 2))
    return 1.6449 * math.sqrt(total / rows)


def beside_top(shares: Floats) -> Floats:
    """A log that spends the slice on ``shares`` (roles, arms) and the rest on the top tier."""
    logging = SLICE * shares
    logging[:, -1] += 1 - SLICE
    return logging


def main(arguments: Sequence[str]) -> None:
    """Write a table for every world of a file: rows and repeats may follow its name."""
    if not 1 <= len(arguments) <= 3:
        sys.exit("usage: python -m evals.coverage FILE [ROWS [REPEATS]]")
    path, rows, repeats = (*arguments, *("10000", "300")[len(arguments) - 1 :])
    sys.stdout.write(
        "world, arms, slice: refused, coverage, half width at 90 %, its bound, error at 90 %\n"
    )
    for world in load_worlds(Path(path)):
        single = [Arm(tier=tier, on_fail=OnFail.ACCEPT) for tier in world.tiers]
        plain = Setting(world=world, arms=distinct_arms(single, tiers=world.tiers), check=Check())
        checked = Setting(
            world=world,
            arms=ladder_arms(world.tiers),
            check=Check(sensitivity=0.8, false_alarm=0.1),
        )
        floors = Floors(overall=FLOOR * world.top_quality)
        for name, setting in (("tiers", plain), ("chains", checked)):
            target = constrained(setting, stage=Stage(), floors=floors)[0]
            spread = np.full(target.shape, 1 / target.shape[1])
            for kind, shares in (("follows", target), ("spread", spread)):
                logging = beside_top(shares)
                least = bound(setting, target=target, logging=logging, rows=int(rows))
                held = covering(
                    setting,
                    target=target,
                    logging=logging,
                    rows=int(rows),
                    repeats=int(repeats),
                    seed=1,
                )
                sys.stdout.write(
                    f"{world.name}, {name}, {kind}: {held.refused:.2f}, {held.covered:.3f}, "
                    f"{100 * held.half_width:.2f}, {100 * least:.2f}, {100 * held.error:.2f}\n"
                )


if __name__ == "__main__":
    main(sys.argv[1:])

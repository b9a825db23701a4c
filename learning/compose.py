"""Arms put together from components: quality, usage and how each component's doubt enters.

Along a chain of prefixes p1, p2 ... with flag rate P, quality U when unflagged and B when flagged,

    V(p) = (1 - P) U + P V(next),     V(last) = D, the quality of whatever is delivered
    cost = c(p1) + P(p1) (c(p2) + P(p2) (...))

A prefix that some arm continues and another accepts has D = (1 - P) U + P B. The derivative of V
with respect to each component carries that component's doubt into every arm that contains it, so
two arms that share an attempt also share its error.
Fails when a flag says something about later tiers that the prefix does not hold; prefixes hold the
whole path, so that does not happen within one ladder.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from learning.arms import Arms, Chain
from learning.components import Estimate
from learning.tally import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One component: a prefix and which of its numbers, one of P, U, B or D."""

    prefix: Chain
    kind: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The components that a set of arms needs, in a fixed order."""

    arms: Arms

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """P, U and B of every prefix that some arm continues; D of those where all end."""
        continued = {path[:end] for path in self.arms.chains for end in range(1, len(path))}
        return tuple(
            Part(prefix=prefix, kind=kind)
            for prefix in self.arms.prefixes
            for kind in ("PUB" if prefix in continued else "D")
        )

    @cached_property
    def index(self) -> dict[tuple[Chain, str], int]:
        """Where each component stands."""
        return {(part.prefix, part.kind): number for number, part in enumerate(self.parts)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """Arms as estimated; r roles, a arms, c components.

    ``quality`` and ``cost`` are (r, a); ``own`` and ``common`` are (r, c, a): how far one deviation
    of a component's doubt moves an arm, for doubt of the role alone and doubt that roles share.
    """

    quality: Floats
    cost: Floats
    own: Floats
    common: Floats

    @property
    def deviation(self) -> Floats:
        """Standard deviation of every arm's quality, (r, a)."""
        return np.asarray(np.sqrt((self.own**2).sum(axis=1) + (self.common**2).sum(axis=1)))


def compose(
    layout: Layout,
    *,
    estimates: list[Estimate],
    attempt_cost: Floats,
    switching: Floats | None = None,
) -> Composed:
    """Put the arms together; ``attempt_cost`` is (roles, prefixes), expected USD of an attempt.

    ``switching`` (roles, arms) is what each arm loses to changes of model inside a conversation,
    expected USD a step; None for nothing.
    """
    roles = attempt_cost.shape[0]
    mean = np.stack([estimate.mean for estimate in estimates], axis=1)
    chains = layout.arms.chains
    quality, cost = np.zeros((roles, len(chains))), np.zeros((roles, len(chains)))
    slope = np.zeros((roles, len(layout.parts), len(chains)))
    for arm, path in enumerate(chains):
        reach = [np.ones(roles)]
        for end in range(1, len(path)):
            flag = mean[:, layout.index[path[:end], "P"]]
            reach.append(reach[-1] * np.clip(flag, 0.0, 1.0))
        worth = np.zeros(roles)
        for end in range(len(path), 0, -1):
            prefix, arrived = path[:end], reach[end - 1]
            cost[:, arm] += arrived * attempt_cost[:, layout.arms.prefix_index[prefix]]
            if (prefix, "D") in layout.index:
                part = layout.index[prefix, "D"]
                slope[:, part, arm] = arrived
                worth = mean[:, part]
                continue
            flag_at, good_at = layout.index[prefix, "P"], layout.index[prefix, "U"]
            flag = np.clip(mean[:, flag_at], 0.0, 1.0)
            if end == len(path):
                bad_at = layout.index[prefix, "B"]
                slope[:, bad_at, arm] = arrived * flag
                worth = mean[:, bad_at]
            slope[:, good_at, arm] = arrived * (1 - flag)
            slope[:, flag_at, arm] = arrived * (worth - mean[:, good_at])
            worth = (1 - flag) * mean[:, good_at] + flag * worth
        quality[:, arm] = worth
    if switching is not None:
        cost += switching
    own = np.stack([estimate.own for estimate in estimates], axis=1)
    common = np.stack([estimate.common for estimate in estimates], axis=1)
    return Composed(
        quality=quality,
        cost=cost,
        own=slope * own[:, :, None],
        common=slope * common[:, :, None],
    )

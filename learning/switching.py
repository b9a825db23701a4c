"""What it costs to change model inside a conversation: tokens that the last model had cached.

A step that goes on with a conversation brings a prefix that the tier which answered last reads at
its cached price; any other tier reads it at its full price, once, and has it cached from then on:

    lost_a = warm (input price of a's start tier - its cached price)
    switching_ra = continues_r (1 - share of a's start tier in r) lost_a / left_r

In words: of the steps that go on, those whose conversation stands elsewhere pay once what the
steps that are left of it share. The mix in force stands for where conversations are: under a
mix that has settled on one tier, staying costs nothing and moving there costs all of it, so a gain
below the loss moves nothing.
Fails (too small) where one tier's models lie at several providers, each with a cache of its own;
(too large) under a mix of several start tiers, whose conversations stick to one each and are
charged alike whether they stay or go. What a chain loses when it escalates is no part: those tokens
are seen in the attempts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arms import Chain
from learning.tally import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversations:
    """How a role's steps hang together, (roles,) each.

    ``continues`` is the share of steps, 0..1, that go on with a conversation; ``warm`` how many
    input tokens of such a step its last model has cached, at least 0; ``left`` how many steps a
    conversation goes on after a change, that step included, at least 1.
    """

    continues: Floats
    warm: Floats
    left: Floats

    def __post_init__(self) -> None:
        assert bool(((self.continues >= 0) & (self.continues <= 1)).all()), "a share is not in 0..1"
        assert bool((self.warm >= 0).all()), "warm tokens are below 0"
        assert bool((self.left >= 1).all()), "a conversation has less than one step left"


def lost_usd(warm: float, price: Floats) -> float:
    """USD that one change of model loses: ``warm`` tokens at full instead of cached price.

    ``price`` is USD per input, output and cached input token of the tier that is changed to, (3,).
    A tier without a cheaper cached price loses nothing.

    >>> round(lost_usd(10_000, np.array([3e-6, 15e-6, 3e-7])), 6)
    0.027
    """
    return warm * max(0.0, float(price[0] - price[2]))


def switching(
    conversations: Conversations,
    *,
    chains: Sequence[Chain],
    shares: Floats,
    price: Mapping[str, Floats],
) -> Floats:
    """Expected USD a step that each arm loses to changes of model, (roles, arms).

    ``shares`` (roles, arms) is the mix in force.
    """
    starts = [path[0] for path in chains]
    held = {tier: shares[:, [start == tier for start in starts]].sum(axis=1) for tier in starts}
    each = {tier: lost_usd(1.0, price[tier]) for tier in starts}
    per_change = conversations.continues * conversations.warm / conversations.left
    away = np.stack([(1.0 - held[tier]).clip(0.0, 1.0) * each[tier] for tier in starts], axis=1)
    return np.asarray(per_change[:, None] * away)

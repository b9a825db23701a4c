"""What it costs to change model inside a conversation: tokens that the last model had cached.

A step that goes on with a conversation brings a prefix that the tier where it stands reads at its
cached price; any other tier reads it at its full price, once, and has it cached from then on:

    lost_ta = warm_t max(0, input price - cached price of a's start tier)
    switching_ra = continues_r / left_r  sum over tiers t but a's start tier of stands_rt lost_ta

In words: of the steps that go on, those whose conversation stands elsewhere pay once what the
steps that are left of it share. Where conversations stand is measured, not taken from the mix in
force: before a move all of it is to be paid, once conversations have followed nothing, and then the
way back has the price. So a gain below the loss moves nothing, in either direction.
Fails (too small) where one tier's models lie at several providers, each with a cache of its own;
(too large) under a mix of several start tiers, whose conversations stick to one each and are
charged alike whether they stay or go, and in the long run, since conversations that begin after a
move lose nothing. What a chain loses when it escalates is no part: those tokens are seen in the
attempts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from learning.arms import Chain
from learning.tally import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversations:
    """How a role's steps hang together, (roles,) each, by start tier where it says so.

    ``continues`` is the share of steps, 0..1, that go on with a conversation; ``left`` how many
    steps a conversation goes on after a change, that step included, at least 1; ``stands`` the
    share of the steps that go on whose conversation stands at a tier, summing to 1 at most;
    ``warm`` how many input tokens of such a step that tier has cached, at least 0.
    """

    continues: Floats
    left: Floats
    stands: Mapping[str, Floats]
    warm: Mapping[str, Floats]

    def __post_init__(self) -> None:
        assert bool(((self.continues >= 0) & (self.continues <= 1)).all()), "a share is not in 0..1"
        assert bool((self.left >= 1).all()), "a conversation has less than one step left"
        assert self.stands.keys() == self.warm.keys(), "stands and warm name different tiers"
        assert all(bool((each >= 0).all()) for each in self.stands.values()), "a share is below 0"
        assert all(bool((each >= 0).all()) for each in self.warm.values()), "tokens are below 0"


def lost_usd(warm: float, price: Floats) -> float:
    """USD that one change of model loses: ``warm`` tokens at full instead of cached price.

    ``price`` is USD per input, output and cached input token of the tier that is changed to, (3,).
    A tier without a cheaper cached price loses nothing.

    >>> round(lost_usd(10_000, np.array([3e-6, 15e-6, 3e-7])), 6)
    0.027
    """
    return warm * max(0.0, float(price[0] - price[2]))


def switching(
    conversations: Conversations, *, chains: Sequence[Chain], price: Mapping[str, Floats]
) -> Floats:
    """Expected USD a step that each arm loses to changes of model, (roles, arms)."""
    per_change = conversations.continues / conversations.left
    lost = np.zeros((len(per_change), len(chains)))
    for arm, path in enumerate(chains):
        for tier, share in conversations.stands.items():
            if tier != path[0]:
                lost[:, arm] += share * conversations.warm[tier] * lost_usd(1.0, price[path[0]])
    return np.asarray(per_change[:, None] * lost)

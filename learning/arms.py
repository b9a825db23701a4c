"""Arms as chains of tiers: what a decision may choose and which prefixes its attempts share.

An arm starts at a tier and, when a check flags the answer, accepts it, goes one tier up, or goes
straight to the top. The answer of an arm's last tier is accepted whatever a check says. Two arms
that walk the same tiers are one arm. A *prefix* is the beginning of a chain: the attempts made so
far. Everything that is learned is kept per prefix, so an attempt informs every arm that shares it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from telemetry.records import Arm, OnFail

Chain = tuple[str, ...]


def chain(arm: Arm, *, tiers: Sequence[str]) -> Chain:
    """The tiers that ``arm`` walks while every answer is flagged, within the ladder ``tiers``.

    >>> chain(Arm(tier="small", on_fail=OnFail.TOP), tiers=["small", "mid", "frontier"])
    ('small', 'frontier')
    """
    start = tiers.index(arm.tier)
    if arm.on_fail is OnFail.ACCEPT:
        return (arm.tier,)
    if arm.on_fail is OnFail.STEP:
        return tuple(tiers[start:])
    return (arm.tier,) if start == len(tiers) - 1 else (arm.tier, tiers[-1])


@dataclass(frozen=True, kw_only=True)
class Arms:
    """The arms of one ladder, in a fixed order, with the prefixes that their chains share.

    ``tiers`` is the ladder, ``arms`` one arm per distinct chain, ``chains`` those chains.
    """

    tiers: tuple[str, ...]
    arms: tuple[Arm, ...]
    chains: tuple[Chain, ...]

    @cached_property
    def prefixes(self) -> tuple[Chain, ...]:
        """Every beginning of a chain, short ones first."""
        found = {path[:end] for path in self.chains for end in range(1, len(path) + 1)}
        return tuple(sorted(found, key=lambda path: (len(path), self.tiers.index(path[0]), path)))

    @cached_property
    def prefix_index(self) -> dict[Chain, int]:
        """Where each prefix stands."""
        return {prefix: index for index, prefix in enumerate(self.prefixes)}

    def index_of(self, arm: Arm) -> int:
        """Where the arm that walks ``arm``'s chain stands; KeyError when none does."""
        path = chain(arm, tiers=self.tiers)
        if path not in self.chains:
            raise KeyError(str(arm))
        return self.chains.index(path)


def ladder_arms(tiers: Sequence[str]) -> Arms:
    """All distinct arms of a ladder: for n tiers, n chains that accept and those that escalate.

    >>> [str(arm) for arm in ladder_arms(["small", "frontier"]).arms]
    ['small/accept', 'small/step', 'frontier/accept']
    """
    return distinct_arms(
        [Arm(tier=tier, on_fail=on_fail) for tier in tiers for on_fail in OnFail], tiers=tiers
    )


def distinct_arms(arms: Sequence[Arm], *, tiers: Sequence[str]) -> Arms:
    """The first arm of each distinct chain among ``arms``, in their order."""
    by_chain: dict[Chain, Arm] = {}
    order = {OnFail.ACCEPT: 0, OnFail.STEP: 1, OnFail.TOP: 2}
    for arm in sorted(arms, key=lambda arm: (tiers.index(arm.tier), order[arm.on_fail])):
        by_chain.setdefault(chain(arm, tiers=tiers), arm)
    return Arms(tiers=tuple(tiers), arms=tuple(by_chain.values()), chains=tuple(by_chain))

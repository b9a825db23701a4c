"""A revision: the probabilities that the learner derived, immutable and named by their content.

A revision knows *cells* (see ``features.cell``): exact ones, ``role|mode|`` for all kinds of step
of a role in one mode, and ``role||`` for the whole role. A step is decided by the first of these
three that the revision knows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from learning.arms import chain
from learning.features import cell, cells
from learning.learner import Declared
from telemetry.records import Arm, Context, OnFail

FORMAT = 1
CLOSE = 1e-9
UNSERVED_MAX = 0.15  # a little more than a role may spend on exploration
CELLS_MAX = 4_096  # remembered; callers choose the modes, so there is no end of cells
OFFERS_MAX = 16  # remembered for one cell: dialects, and policies that overlap in a reload

_Fit = tuple[tuple[Arm, ...], Arm, Mapping[Arm, float] | None]  # offered, declared, their shares
Terms = tuple[str, str | None]  # role and mode that policy.toml has terms for; None: all modes


@dataclass(frozen=True, kw_only=True)
class Revision:
    """Shares per cell and arm, where they come from and why they changed.

    ``shares[cell][arm]`` are probabilities that sum to 1 in each cell, arms as tier/on_fail;
    ``evidence[cell]`` says in figures what the shares rest on. ``parent`` is the revision before,
    None for the first.
    """

    policy_hash: str
    parent: str | None
    shares: Mapping[str, Mapping[str, float]]
    evidence: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        for name, arms in self.shares.items():
            if name.count("|") < 2:
                raise ValueError(f"{name!r} is not a cell, role|mode|kind")
            total = sum(arms.values())
            if not all(share >= 0.0 for share in arms.values()) or not abs(total - 1.0) <= CLOSE:
                raise ValueError(f"cell {name!r}: shares {dict(arms)} are no probabilities")

    @cached_property
    def revision_id(self) -> str:
        """The first 16 hex digits of the content's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @cached_property
    def text(self) -> str:
        """Canonical JSON; equal revisions have equal texts."""
        content = {
            "format": FORMAT,
            "policy_hash": self.policy_hash,
            "parent": self.parent,
            "shares": {name: dict(arms) for name, arms in self.shares.items()},
            "evidence": {name: dict(facts) for name, facts in self.evidence.items()},
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse(text: str) -> Revision:
    """The revision that ``text`` holds; ValueError says what is wrong with it."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r} is not {FORMAT}")
        return Revision(
            policy_hash=str(content["policy_hash"]),
            parent=None if content["parent"] is None else str(content["parent"]),
            shares={
                str(name): {str(parse_arm(arm)): float(share) for arm, share in arms.items()}
                for name, arms in content["shares"].items()
            },
            evidence={
                str(name): {str(fact): float(value) for fact, value in facts.items()}
                for name, facts in content["evidence"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a revision: {error!r}") from error


def parse_arm(text: str) -> Arm:
    """The arm that ``text`` (tier/on_fail) names; ValueError for an unknown on_fail."""
    tier, _, on_fail = text.rpartition("/")
    return Arm(tier=tier, on_fail=OnFail(on_fail))


class Revised:
    """A learner that serves one revision, and where that says nothing the declared arm.

    Arms are taken for what they do on the ladder that a step is offered: of two tiers, `step` and
    `top` are one arm. What is not offered at all (a tier that does not speak the step's dialect, a
    narrower range in its mode) gives its share to the declared arm, up to ``UNSERVED_MAX`` in all.
    Beyond that the declared arm is certain: shares were proven together, and a mix that lost a
    good part of itself, perhaps the part that holds the floor, proves nothing.
    """

    def __init__(
        self, revision: Revision, *, own: Iterable[Terms] = (), changed: Iterable[Terms] = ()
    ) -> None:
        """Serve ``revision`` under a policy.

        ``own`` are modes that the policy has terms of their own for: what was learned for the
        whole role was learned under other terms and does not hold there. ``changed`` are terms
        that are not those the revision was derived under.
        """
        self._revision = revision
        self._own = frozenset(own)
        self._changed = frozenset(changed)
        self._shares = {
            name: {parse_arm(arm): share for arm, share in arms.items()}
            for name, arms in revision.shares.items()
        }
        self._fitted: dict[str, list[_Fit]] = {}  # by cell; hashing arms takes longer

    @property
    def revision(self) -> str:
        return self._revision.revision_id

    def decides(self, context: Context, arms: Sequence[Arm], declared: Arm) -> bool:
        return self._given(context, arms, declared) is not None

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        given = self._given(context, arms, declared)
        return Declared().probabilities(context, arms, declared) if given is None else given

    def _given(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float] | None:
        name = cell(context)
        for offered, its_declared, given in self._fitted.get(name, ()):
            same = offered is arms or offered == tuple(arms)
            if same and (its_declared is declared or its_declared == declared):
                return given
        given = self._fit(context, arms, declared)
        if len(self._fitted) >= CELLS_MAX or len(self._fitted.get(name, ())) >= OFFERS_MAX:
            self._fitted.clear()
        self._fitted.setdefault(name, []).append((tuple(arms), declared, given))
        return given

    def _fit(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float] | None:
        own = (context.role, context.mode) in self._own
        if (context.role, context.mode if own else None) in self._changed:
            return None
        exact, of_mode, of_role = cells(context)
        looked_up = (exact, of_mode) if own else (exact, of_mode, of_role)
        known = next((self._shares[name] for name in looked_up if name in self._shares), None)
        return None if known is None else fitted(known, arms, declared=declared)


def fitted(
    shares: Mapping[Arm, float], arms: Sequence[Arm], *, declared: Arm
) -> Mapping[Arm, float] | None:
    """The share of each of ``arms`` under ``shares``; None when too much of them is not offered.

    ``arms`` stand in the order of their ladder, ``declared`` is one of them.

    >>> mid, top = Arm(tier="mid", on_fail=OnFail.STEP), Arm(tier="top", on_fail=OnFail.ACCEPT)
    >>> shares = {Arm(tier="mid", on_fail=OnFail.TOP): 0.9, Arm(tier="low"): 0.1}
    >>> {str(arm): share for arm, share in fitted(shares, [mid, top], declared=top).items()}
    {'mid/step': 0.9, 'top/accept': 0.1}
    """
    tiers = list(dict.fromkeys(arm.tier for arm in arms))
    by_chain = {chain(arm, tiers=tiers): arm for arm in reversed(arms)}
    given = dict.fromkeys(arms, 0.0)
    unserved = 0.0
    for arm, share in shares.items():
        same = by_chain.get(chain(arm, tiers=tiers)) if arm.tier in tiers else None
        if same is None:
            unserved += share
        else:
            given[same] += share
    if unserved > UNSERVED_MAX:
        return None
    given[declared] += unserved
    total = sum(given.values())  # 1 but for rounding
    return {arm: share / total for arm, share in given.items()}

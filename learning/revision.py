"""A revision: the probabilities that the learner derived, immutable and named by their content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from telemetry.records import Arm, Context, OnFail

FORMAT = 1
CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Revision:
    """Shares per role and arm, where they come from and why they changed.

    ``shares[role][arm]`` are probabilities that sum to 1 in each role, arms as tier/on_fail;
    ``evidence[role]`` says in figures what the shares rest on. ``parent`` is the revision before,
    None for the first.
    """

    policy_hash: str
    parent: str | None
    shares: Mapping[str, Mapping[str, float]]
    evidence: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        for role, arms in self.shares.items():
            total = sum(arms.values())
            if min(arms.values(), default=0.0) < 0 or abs(total - 1.0) > CLOSE:
                raise ValueError(f"role {role!r}: shares {dict(arms)} are no probabilities")

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
            "shares": {role: dict(arms) for role, arms in self.shares.items()},
            "evidence": {role: dict(facts) for role, facts in self.evidence.items()},
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
                str(role): {str(parse_arm(arm)): float(share) for arm, share in arms.items()}
                for role, arms in content["shares"].items()
            },
            evidence={
                str(role): {str(name): float(value) for name, value in facts.items()}
                for role, facts in content["evidence"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a revision: {error!r}") from error


def parse_arm(text: str) -> Arm:
    """The arm that ``text`` (tier/on_fail) names; ValueError for an unknown on_fail."""
    tier, _, on_fail = text.rpartition("/")
    return Arm(tier=tier, on_fail=OnFail(on_fail))


class Revised:
    """A learner that serves one revision.

    A role that the revision does not know, and one none of whose arms are offered, gets the
    declared arm. Arms that a step is not offered (its dialect, its role's range) lose their share
    to the others in proportion.
    """

    def __init__(self, revision: Revision) -> None:
        self._revision = revision
        self._shares = {
            role: {parse_arm(arm): share for arm, share in arms.items()}
            for role, arms in revision.shares.items()
        }

    @property
    def revision(self) -> str:
        return self._revision.revision_id

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        known = self._shares.get(context.role)
        offered = [known.get(arm, 0.0) for arm in arms] if known else []
        total = sum(offered)
        if total <= 0.0:
            return {arm: 1.0 if arm == declared else 0.0 for arm in arms}
        return {arm: share / total for arm, share in zip(arms, offered, strict=True)}

"""Who is served by which revision: the standing policy at work.

Sessions are put on a line from 0 to 1 by a keyed hash. Those below the rollout get the new
revision, the others the one before it, and a session stays where it is: a rollout that grows only
adds sessions, and the next revision begins with the same ones. The arm is drawn by another hash,
so a propensity is exact *given the revision that served*, which each decision names. Whoever
weighs decisions by propensity does it revision by revision.
"""

from collections.abc import Iterable
from hashlib import blake2b

from learning.learner import Declared, Learner
from learning.revision import Revised, Revision, Terms
from learning.standing import Standing

BUCKET_KEY = b"tierwise: which revision"


class Serving:
    """A standing policy as learners, under one version of the declared policy."""

    def __init__(
        self,
        standing: Standing,
        *,
        own: Iterable[Terms] = (),
        changed: Iterable[Terms] = (),
        changed_before: Iterable[Terms] = (),
    ) -> None:
        """``own`` and ``changed`` are those of ``Revised``; ``changed_before`` of the previous."""
        own = frozenset(own)
        self.standing = standing
        self._new = _learner(standing.revision, own=own, changed=changed)
        self._before = _learner(standing.previous, own=own, changed=changed_before)

    def learner(self, key: str) -> Learner:
        """The learner that serves the session (or whatever stands for one) called ``key``."""
        rollout = self.standing.rollout
        if rollout >= 1.0 or (rollout > 0.0 and uniform(key, BUCKET_KEY) < rollout):
            return self._new
        return self._before


def uniform(name: str, key: bytes) -> float:
    """Return a number in [0, 1) that depends on ``name`` and ``key`` alone."""
    digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=key).digest()
    # The upper 53 bits, which a float holds exactly.
    return (int.from_bytes(digest) >> 11) * 2.0**-53


def _learner(
    revision: Revision | None, *, own: frozenset[Terms], changed: Iterable[Terms]
) -> Learner:
    return Declared() if revision is None else Revised(revision, own=own, changed=changed)

"""What every learner promises, and the one that has learned nothing yet."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from telemetry.records import Arm, Context


class Learner(Protocol):
    """Exact probabilities for the arms of one decision.

    A learner never draws: the caller does, with a keyed hash of the decision's id, so that every
    logged propensity is the probability the arm really had.
    """

    @property
    def revision(self) -> str:
        """Changes whenever a probability may change."""
        ...

    def decides(self, context: Context, arms: Sequence[Arm], declared: Arm) -> bool:
        """Say whether the probabilities are what was learned, not just the declared policy."""
        ...

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        """Return one probability in 0..1 for each of ``arms``, summing to 1.

        ``declared`` is the arm that the policy's table names; it is one of ``arms``.
        """
        ...


class Declared:
    """The declared policy: probability 1 on the arm that the table names."""

    revision = "declared"

    def decides(self, context: Context, arms: Sequence[Arm], declared: Arm) -> bool:
        return False

    def probabilities(
        self, context: Context, arms: Sequence[Arm], declared: Arm
    ) -> Mapping[Arm, float]:
        return {arm: 1.0 if arm == declared else 0.0 for arm in arms}

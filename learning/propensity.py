"""Evidence that arms are not drawn with the probabilities that were logged.

Under the logged probabilities p, any other distribution q that was fixed before the draw has
E[q(A) / p(A)] <= 1, whatever the context was. Here q is what was drawn so far, smoothed over the
arms on offer; mixed with p itself so that no draw can ruin the bet:

    M <- max(M, 1) (1 - e + e q(A) / p(A))      for each e of a grid;  alarm at the mean M >= A

The sum form of `learning.edetector` would creep up by one a draw where q equals p; the maximum
does not, is never above it, and keeps its bound: on average at least A draws to a false alarm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from learning.edetector import WEALTH_MAX

SHARES = (0.1, 0.3, 0.6)
ARMS_MAX = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Evidence per share of the bet, and how often each arm was drawn."""

    wealth: tuple[float, ...] = (1.0,) * len(SHARES)
    counts: Mapping[str, float] = field(default_factory=dict)

    @property
    def evidence(self) -> float:
        """What is compared with A; 1 before the first draw."""
        return sum(self.wealth) / len(self.wealth)

    def see(self, arm: str, *, offered: Sequence[str], propensity: float) -> "Draws":
        """Return the evidence after one draw of ``arm`` among ``offered``.

        Raises:
            ValueError: the propensity is not in (0, 1].
        """
        if not 0.0 < propensity <= 1.0:
            raise ValueError(f"propensity {propensity!r} is not in (0, 1]")
        total = sum(self.counts.get(each, 0.0) + 1.0 for each in offered)
        own = self.counts.get(arm, 0.0) + 1.0 if arm in offered else total
        ratio = own / total / propensity
        wealth = tuple(
            min(max(had, 1.0) * (1.0 - share + share * ratio), WEALTH_MAX)
            for had, share in zip(self.wealth, SHARES, strict=True)
        )
        counts = dict(self.counts)
        if arm in counts or len(counts) < ARMS_MAX:
            counts[arm] = counts.get(arm, 0.0) + 1.0
        return Draws(wealth=wealth, counts=counts)

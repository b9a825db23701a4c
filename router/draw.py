"""The draw of an arm: a keyed hash of a name, so that the same name draws the same arm."""

from collections.abc import Mapping
from typing import Final

from learning.serving import uniform
from telemetry.records import Arm, Context

DRAW_KEY: Final = b"tierwise: which arm"
SUM_TOLERANCE: Final = 1e-9


def drawn_by(context: Context, decision_id: str) -> str:
    """Return the name that draws a step's arm: its decision, or its session and role.

    A step that goes on with a conversation brings a prefix that the last step's model has cached
    and another model would have to read anew. So all such steps of one session and role draw by
    one number: they stay at their arm until its share moves, and then only as many sessions move
    as the share does. Each step's propensity is still the share of its arm. First steps draw by
    their own number, since most of them are never gone on with.
    """
    shape = context.shape
    if context.session is not None and shape is not None and shape.continues:
        return f"{context.role}\n{context.session}"
    return decision_id


def draw(
    probabilities: Mapping[Arm, float], arms: tuple[Arm, ...], *, name: str
) -> tuple[Arm, float]:
    """Return the arm that ``name`` draws, with the probability it had.

    Raises:
        ValueError: when ``probabilities`` are not one for each of ``arms``, in 0..1, summing to 1.
    """
    if len(probabilities) != len(arms):
        raise ValueError(f"{len(probabilities)} probabilities for {len(arms)} arms")
    point = uniform(name, DRAW_KEY)
    total = 0.0
    drawn: Arm | None = None
    chance = 0.0
    for arm, (known, known_share) in zip(arms, probabilities.items(), strict=True):
        # In another order they are looked up, which takes longer.
        share = known_share if known is arm else probabilities.get(arm, -1.0)
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"probability {share} of {arm}")
        if share > 0.0 and total <= point:
            drawn, chance = arm, share
        total += share
    if drawn is None or abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"probabilities sum to {total}")
    return drawn, chance

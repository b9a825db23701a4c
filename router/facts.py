"""What is noted of a step that teaches, once its answer is out: its features, how it came out."""

import logging
from typing import TYPE_CHECKING, Final

from learning.features import features
from router.shape import last_user_text

if TYPE_CHECKING:
    from router.exchange import Exchange

PASSED_MIN: Final = 0.5  # of a quality in 0..1
FAILED_STATUS_MIN: Final = 500

logger = logging.getLogger(__name__)


def noted(exchange: "Exchange", *, status: int, quality: float | None) -> tuple[float, ...]:
    """Return the step's features, none when nothing learns from it, and remember how it came out.

    Never raises: this is for learning, and the step is over.
    """
    decision, asked = exchange.decision, exchange.request
    if decision is None or decision.cell is None or asked is None:
        return ()
    context = decision.context
    try:
        found = features(context, last_user_text(asked.body.fields, context.dialect))
        failed = status >= FAILED_STATUS_MIN
        if context.session is not None and (failed or quality is not None):
            passed = not failed and quality is not None and quality >= PASSED_MIN
            exchange.gateway.memory.judged(context.session, context.role, passed=passed)
    except Exception:
        logger.exception("step %s has no features", decision.decision_id)
        return ()
    return found

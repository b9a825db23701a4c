"""Roles of which every answer is to be graded for now: something may be wrong with their quality.

More grades find out sooner, and cost no false alarm: how many answers are graded depends on what
was seen before, never on the answer itself.
"""

from typing import Final

from collector.desk import Desk, Transaction
from learning.standing import EVERY_ROLE

RAISING: Final = ("QualityWarn", "QualityLow")
_BURNING: Final = """
SELECT DISTINCT role FROM alerts
WHERE name IN ($warn, $low) AND state IN ('firing', 'keep_firing')
"""


def raised_roles(desk: Desk | Transaction) -> frozenset[str]:
    """Return the roles whose alert on quality is on, or `*` when it is on over all roles alone.

    Silences and inhibition change nothing here; acknowledging the alert ends it.

    Raises:
        StoreUnavailable: the desk cannot be read.
    """
    warn, low = RAISING
    rows = desk.rows(_BURNING, {"warn": warn, "low": low})
    own = {str(row["role"]) for row in rows if row["role"] is not None}
    return frozenset(own or ({EVERY_ROLE} if rows else ()))

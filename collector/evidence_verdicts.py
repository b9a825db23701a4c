"""What the verdicts that a step waited for cost, at today's prices, beside its attempts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from collector.store import Rows
from learning.measure import fresh
from telemetry.terms import TierTerms


def with_verdicts(attempts: Rows, verdicts: Rows, *, tiers: Mapping[str, TierTerms]) -> Rows:
    """Return sums of attempts with ``verdicts_usd``: what models asked to judge them cost.

    Verdicts are sums of tokens by the tier that gave them; a tier of which nobody knows a price
    (any more) counts with what its calls were recorded to have cost.
    """
    spent: dict[tuple[Any, ...], float] = {}
    for row in verdicts:
        spent[_key(row)] = spent.get(_key(row), 0.0) + _usd(row, tiers)
    return [{**row, "verdicts_usd": spent.get(_key(row), 0.0)} for row in attempts]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["cell"], row["path"], row["served"], row.get("epoch")


def _usd(row: Mapping[str, Any], tiers: Mapping[str, TierTerms]) -> float:
    known = tiers.get(row["tier"])
    if known is None or known.usd_per_token is None:
        return float(row["cost_usd"])
    used = fresh(np.array([row["tokens_in"], row["tokens_out"], row["tokens_cached"]]))
    return float(used @ np.array(known.usd_per_token))

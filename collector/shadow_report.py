"""The shadow runs of a window, paired with the steps that they ran again."""

from typing import Any, Final

from collector.store import Store
from evals.shadow import Compared, Pair, compared

PAIRS_MAX: Final = 20_000  # the newest; what is older adds little

# A person's word on the delivered answer has no counterpart on the shadow's, so only what checks
# say of both counts. Words of rank 3 are people's.
PAIRS: Final = """
SELECT d.role, d.tier, s.tier AS shadow_tier,
  CASE WHEN coalesce(d.quality_rank, 0) < 3 THEN d.quality END AS quality,
  CASE WHEN coalesce(s.quality_rank, 0) < 3 THEN s.quality END AS shadow_quality,
  c.cost_usd, s.cost_usd AS shadow_cost_usd, c.input_tokens, c.output_tokens,
  s.input_tokens AS shadow_input_tokens, s.output_tokens AS shadow_output_tokens,
  (c.end_ns - c.start_ns) / 1e9 AS seconds, (s.end_ns - s.start_ns) / 1e9 AS shadow_seconds,
  s.status = 2 OR s.error_type IS NOT NULL OR coalesce(s.http_status, 200) >= 400 AS failed
FROM (
  SELECT * FROM calls WHERE shadow_of IS NOT NULL AND start_ns >= $since
  ORDER BY start_ns DESC LIMIT $limit
) s
JOIN decisions d ON d.decision_id = s.shadow_of
JOIN calls c ON c.decision_id = d.decision_id AND c.tier = d.tier AND c.model = d.model
WHERE d.start_ns >= $since - 86400000000000 AND c.start_ns >= $since - 86400000000000
QUALIFY row_number() OVER (PARTITION BY s.trace_id, s.span_id ORDER BY c.attempt DESC) = 1
"""


def comparisons(store: Store, *, since_ns: int) -> list[Compared]:
    """Return what the newest ``PAIRS_MAX`` shadow runs since then say, by role and tiers."""
    rows = store.read(PAIRS, {"since": since_ns, "limit": PAIRS_MAX})
    return compared(Pair(**row) for row in rows)


def shadow_report(store: Store, *, now_ns: int, window_seconds: float) -> dict[str, Any]:
    """Return `GET /api/shadow`'s answer."""
    since = now_ns - int(window_seconds * 1e9)
    found = comparisons(store, since_ns=since)
    return {
        "from_ns": since,
        "to_ns": now_ns,
        "pairs": sum(one.pairs for one in found),
        "pairs_max": PAIRS_MAX,
        "comparisons": [one.plain() for one in found],
    }

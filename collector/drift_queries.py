"""What the drift report asks of the store; windows begin at whole hours, as old roll-ups do.

``now`` tells the span under report from the one of the same length before it.
"""

from typing import Final

_MINUTES: Final = "minute >= $from AND minute < $to"
_NS: Final = "start_ns >= $from * 60000000000 AND start_ns < $to * 60000000000"
_NS_NOW: Final = "start_ns >= $middle * 60000000000 AS now"

DECISIONS: Final = f"""
SELECT role, tier, mode, minute >= $middle AS now, sum(decisions)::BIGINT AS decisions,
  sum(escalated)::BIGINT AS escalated, sum(graded)::BIGINT AS graded,
  sum(quality_sum) AS quality_sum
FROM rollups_decisions WHERE {_MINUTES} GROUP BY ALL
"""  # noqa: S608 - constants
CALLS: Final = f"""
SELECT role, tier, model, minute >= $middle AS now, sum(calls)::BIGINT AS calls,
  sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
  sum(tokens_known)::BIGINT AS tokens_known, sum(cost_usd) AS cost_usd,
  sum(cost_known)::BIGINT AS cost_known, sum(foreign_graded)::BIGINT AS graded,
  sum(foreign_quality_sum) AS quality_sum
FROM rollups WHERE role IS NOT NULL AND {_MINUTES} GROUP BY ALL
"""  # noqa: S608 - constants
TASKS: Final = f"""
SELECT role, {_NS_NOW}, count(cost_usd) AS n, avg(cost_usd) AS mean,
  coalesce(var_samp(cost_usd), 0) AS variance
FROM tasks WHERE role IS NOT NULL AND cost_usd IS NOT NULL AND {_NS} GROUP BY ALL
"""  # noqa: S608 - constants
DIALECTS: Final = f"""
SELECT role, coalesce(dialect, 'unknown') AS dialect, {_NS_NOW}, count(*) AS n
FROM decisions WHERE {_NS} GROUP BY ALL
"""  # noqa: S608 - constants
VERSIONS: Final = f"""
SELECT role, tier, model_served, {_NS_NOW}, count(*) AS n
FROM calls WHERE counted AND role IS NOT NULL AND model_served IS NOT NULL AND {_NS} GROUP BY ALL
"""  # noqa: S608 - constants
# Two evaluators on one decision; the one whose word ranks higher stands second, as the gold.
JUDGES: Final = f"""
SELECT d.role, a.name AS judge, b.name AS gold, max(b.rank) AS gold_rank,
  count(*) FILTER (a.score >= 0.5 AND b.score >= 0.5) AS both_pass,
  count(*) FILTER (a.score >= 0.5 AND b.score < 0.5) AS judge_only,
  count(*) FILTER (a.score < 0.5 AND b.score >= 0.5) AS gold_only,
  count(*) FILTER (a.score < 0.5 AND b.score < 0.5) AS neither
FROM (SELECT decision_id, role FROM decisions WHERE {_NS}) d
JOIN evaluations a ON a.call_decision_id = d.decision_id AND a.score IS NOT NULL
JOIN evaluations b ON b.call_decision_id = d.decision_id AND b.score IS NOT NULL
  AND (b.rank > a.rank OR (b.rank = a.rank AND b.name > a.name))
GROUP BY d.role, a.name, b.name
"""  # noqa: S608 - constants
LAST_GRADED: Final = """
SELECT role, max(minute) AS minute, sum(graded)::BIGINT AS graded
FROM rollups_decisions WHERE graded > 0 GROUP BY role
"""

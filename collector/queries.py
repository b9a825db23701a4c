"""Every statement that the store runs; values are bound by name, never spliced into the text."""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

MINUTE_NS: Final = 60_000_000_000

SETTINGS: Final = (
    "SET memory_limit = $memory",
    "SET temp_directory = $spill",
    "SET threads = $threads",
    "SET enable_progress_bar = false",
    "SET checkpoint_threshold = '64MB'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allowed_directories = $exports",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)

# The ids of a commit that are stored already. A span that is sent twice has the same start twice,
# so only the stretch of time that the commit covers is looked at.
KNOWN: Final[dict[str, str]] = {
    table: f"""
SELECT trace_id, span_id FROM {table}
WHERE start_ns BETWEEN $low AND $high AND span_id IN (SELECT unnest($ids))
"""
    for table in ("calls", "decisions", "spans", "texts")
}
KNOWN_LOGS: Final = """
SELECT log_id FROM logs
WHERE time_ns BETWEEN $low AND $high AND log_id IN (SELECT unnest($ids))
"""
KNOWN_EVALUATIONS: Final = """
SELECT evaluation_id FROM evaluations WHERE evaluation_id IN (SELECT unnest($ids))
"""

# The latest time of each table, up to which a row may be stored that nobody remembers.
LATEST: Final[dict[str, str]] = {
    table: f"SELECT coalesce(max({at}), 0) FROM {table}"
    for table, at in (
        ("calls", "start_ns"), ("decisions", "start_ns"), ("spans", "start_ns"),
        ("texts", "start_ns"), ("logs", "time_ns"),
    )
}  # fmt: skip

LAST_ARRIVAL: Final = """
SELECT coalesce(max(received_ns), 0) FROM (
  SELECT max(received_ns) AS received_ns FROM calls
  UNION ALL SELECT max(received_ns) FROM decisions
  UNION ALL SELECT max(received_ns) FROM spans
  UNION ALL SELECT max(received_ns) FROM logs
  UNION ALL SELECT max(received_ns) FROM evaluations
)
"""

CORRECTIONS: Final = """
CREATE TEMP TABLE corrections (
  trace_id VARCHAR, span_id VARCHAR, role VARCHAR, role_from VARCHAR, awaits VARCHAR,
  counted BOOLEAN, uncounted_reason VARCHAR
)
"""
CORRECT: Final = """
UPDATE calls SET role = c.role, role_from = c.role_from, awaits = c.awaits, counted = c.counted,
  uncounted_reason = c.uncounted_reason
FROM temp.corrections c
WHERE calls.start_ns BETWEEN $low AND $high
  AND calls.span_id = c.span_id AND calls.trace_id = c.trace_id
"""
CLEAR_CORRECTIONS: Final = "DELETE FROM temp.corrections"

MARK_DIRTY: Final = "INSERT INTO dirty SELECT unnest($minutes)"
NOTE: Final = "INSERT INTO notes VALUES ($name, $at_ns, $amount)"

RECENT_NODES: Final = """
SELECT trace_id, span_id, parent_id, role, false AS call, received_ns FROM spans
WHERE received_ns >= $since
UNION ALL SELECT trace_id, span_id, parent_id, role, false, received_ns FROM decisions
WHERE received_ns >= $since
UNION ALL SELECT trace_id, span_id, parent_id,
  CASE WHEN role_from = 'own' THEN role END, true, received_ns FROM calls
WHERE received_ns >= $since
ORDER BY received_ns DESC LIMIT $limit
"""
OPEN_CALLS: Final = """
SELECT * EXCLUDE (quality_rank) FROM calls
WHERE received_ns >= $since AND shadow_of IS NULL ORDER BY received_ns DESC LIMIT $limit
"""

_ARRIVAL: Final = {
    "calls": ("received_ns", "trace_id || span_id"),
    "decisions": ("received_ns", "trace_id || span_id"),
    "spans": ("received_ns", "trace_id || span_id"),
    "logs": ("received_ns", "log_id"),
    "evaluations": ("received_ns", "evaluation_id"),
}
_FORMS: Final = {
    "parquet": "(FORMAT parquet, COMPRESSION zstd)",
    "ndjson": "(FORMAT json, ARRAY false)",
}
# A page ends at the last of its rows in order of arrival; ``id`` tells rows of one instant apart.
EXPORT_EDGE: Final[dict[str, str]] = {
    table: f"""
SELECT max({at}) AS received, arg_max(id, ({at}, id)) AS id FROM (
  SELECT {at}, {key} AS id FROM {table}
  WHERE {at} > $received OR ({at} = $received AND {key} > $id)
  ORDER BY {at}, {key} LIMIT $limit
)
"""
    for table, (at, key) in _ARRIVAL.items()
}
EXPORTS: Final[dict[str, dict[str, str]]] = {
    table: {
        form: f"""
COPY (
  SELECT * FROM {table}
  WHERE ({at} > $received OR ({at} = $received AND {key} > $id))
    AND ({at} < $to OR ({at} = $to AND {key} <= $to_id))
  ORDER BY {at}, {key}
) TO $path {options}
"""
        for form, options in _FORMS.items()
    }
    for table, (at, key) in _ARRIVAL.items()
}

# The scoreboard reads roll-ups only.
BOARD_CALLS: Final = """
SELECT role, tier, sum(calls)::BIGINT AS calls, sum(weighted) AS weighted,
  sum(errors)::BIGINT AS errors, sum(input_tokens)::BIGINT AS input_tokens,
  sum(output_tokens)::BIGINT AS output_tokens,
  sum(cache_read_tokens)::BIGINT AS cache_read_tokens, sum(tokens_known)::BIGINT AS tokens_known,
  sum(cost_usd) AS cost_usd, sum(cost_known)::BIGINT AS cost_known,
  sum(graded)::BIGINT AS graded, sum(quality_sum) AS quality_sum,
  sum(graded_cost_usd) AS graded_cost_usd, sum(foreign_graded)::BIGINT AS foreign_graded,
  sum(foreign_quality_sum) AS foreign_quality_sum
FROM rollups WHERE minute >= $from AND minute < $to GROUP BY role, tier
"""
BOARD_DECISIONS: Final = """
SELECT role, sum(decisions)::BIGINT AS decisions, sum(escalated)::BIGINT AS escalated,
  sum(abstained)::BIGINT AS abstained, sum(failed)::BIGINT AS failed,
  sum(explored)::BIGINT AS explored, sum(pinned)::BIGINT AS pinned,
  sum(attempts)::BIGINT AS attempts, sum(graded)::BIGINT AS graded,
  sum(quality_sum) AS quality_sum
FROM rollups_decisions WHERE minute >= $from AND minute < $to GROUP BY role
"""
BOARD_TASKS: Final = """
SELECT role, sum(tasks)::BIGINT AS tasks, sum(cost_usd) AS cost_usd, sum(costed)::BIGINT AS costed,
  sum(graded)::BIGINT AS graded, sum(passed)::BIGINT AS passed,
  sum(graded_cost_usd) AS graded_cost_usd
FROM rollups_tasks WHERE minute >= $from AND minute < $to GROUP BY role
"""
BIASED: Final = """
SELECT coalesce(sum(amount), 0)::BIGINT AS spans FROM notes
WHERE name = 'biased_sampling' AND at_ns >= $since
"""

DECISIONS: Final = """
SELECT decision_id, start_ns, role, tier_start, tier, model, attempts, escalated_from, reason,
  propensity, cost_usd, quality, quality_source, http_status, error_type, task, mode, trace_id
FROM decisions
WHERE start_ns < $before AND ($role IS NULL OR role = $role) AND ($task IS NULL OR task = $task)
ORDER BY start_ns DESC LIMIT $limit
"""
DECISION: Final = "SELECT * FROM decisions WHERE decision_id = $id ORDER BY start_ns LIMIT 1"
DECISION_CALLS: Final = """
SELECT * FROM calls WHERE decision_id = $id ORDER BY attempt, start_ns LIMIT 100
"""
DECISION_WORDS: Final = """
SELECT DISTINCT e.* FROM evaluations e
WHERE e.decision_id = $id
  OR (e.trace_id = $trace AND e.span_id IN (SELECT unnest($spans)))
  OR e.response_id IN (SELECT unnest($responses))
ORDER BY e.time_ns LIMIT 1000
"""
EVALUATION: Final = """
SELECT score_raw, label FROM evaluations WHERE evaluation_id = $id LIMIT 1
"""

# All calls by role and tier with p95, from the facts themselves; what a benchmark asks.
BY_TIER: Final = """
WITH counts AS (
  SELECT role, tier, latency_bucket AS bucket, count(*) AS calls, sum(cost_usd) AS cost_usd,
    sum(input_tokens) AS input_tokens
  FROM calls WHERE counted GROUP BY role, tier, latency_bucket
), reached AS (
  SELECT *, sum(calls) OVER (PARTITION BY role, tier ORDER BY bucket) AS below,
    sum(calls) OVER (PARTITION BY role, tier) AS total
  FROM counts
)
SELECT role, tier, sum(calls)::BIGINT AS calls, sum(cost_usd) AS cost_usd,
  sum(input_tokens)::BIGINT AS input_tokens,
  min(bucket) FILTER (below >= 0.95 * total) AS p95
FROM reached GROUP BY role, tier
"""

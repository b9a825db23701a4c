"""Every statement that the store runs; values are bound by name, never spliced into the text."""

from typing import Final

MINUTE_NS: Final = 60_000_000_000

SETTINGS: Final = (
    "SET memory_limit = $memory",
    "SET temp_directory = $spill",
    "SET threads = $threads",
    "SET preserve_insertion_order = false",
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
"""  # noqa: S608 - the table is one of three names below
    for table in ("calls", "decisions", "spans")
}
KNOWN_LOGS: Final = """
SELECT log_id FROM logs
WHERE time_ns BETWEEN $low AND $high AND log_id IN (SELECT unnest($ids))
"""
KNOWN_EVALUATIONS: Final = """
SELECT evaluation_id FROM evaluations WHERE evaluation_id IN (SELECT unnest($ids))
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
SELECT * FROM calls WHERE received_ns >= $since ORDER BY received_ns DESC LIMIT $limit
"""

DIRTY_MINUTES: Final = "SELECT count(DISTINCT minute) AS n FROM dirty"
ROLL_UP: Final[tuple[str, ...]] = (
    "CREATE OR REPLACE TEMP TABLE todo AS SELECT DISTINCT minute FROM dirty",
    "DELETE FROM dirty",
    "DELETE FROM rollups WHERE minute IN (SELECT minute FROM temp.todo)",
    "DELETE FROM rollups_latency WHERE minute IN (SELECT minute FROM temp.todo)",
    "DELETE FROM rollups_decisions WHERE minute IN (SELECT minute FROM temp.todo)",
    """
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT start_ns // 60000000000 AS minute, * FROM calls
WHERE counted
  AND start_ns >= (SELECT min(minute) * 60000000000 FROM temp.todo)
  AND start_ns < (SELECT (max(minute) + 1) * 60000000000 FROM temp.todo)
  AND start_ns // 60000000000 IN (SELECT minute FROM temp.todo)
""",
    """
INSERT INTO rollups BY NAME
SELECT minute, role, tier, model, mode,
  count(*) AS calls, sum(weight) AS weighted,
  count(*) FILTER (status = 2 OR error_type IS NOT NULL) AS errors,
  coalesce(sum(input_tokens * weight), 0)::BIGINT AS input_tokens,
  coalesce(sum(output_tokens * weight), 0)::BIGINT AS output_tokens,
  coalesce(sum(cache_read_tokens * weight), 0)::BIGINT AS cache_read_tokens,
  count(input_tokens) AS tokens_known,
  coalesce(sum(cost_usd * weight), 0) AS cost_usd, count(cost_usd) AS cost_known,
  count(quality) AS graded, coalesce(sum(quality), 0) AS quality_sum,
  coalesce(sum(quality * quality), 0) AS quality_squares,
  count(quality) FILTER (decision_id IS NULL) AS foreign_graded,
  coalesce(sum(quality) FILTER (decision_id IS NULL), 0) AS foreign_quality_sum
FROM temp.fresh GROUP BY minute, role, tier, model, mode
""",
    """
INSERT INTO rollups_latency BY NAME
SELECT minute, role, tier, latency_bucket AS bucket, sum(weight) AS calls
FROM temp.fresh GROUP BY minute, role, tier, latency_bucket
""",
    """
INSERT INTO rollups_decisions BY NAME
SELECT start_ns // 60000000000 AS minute, role, tier_start AS tier, mode,
  count(*) AS decisions, count(escalated_from) AS escalated,
  count(*) FILTER (status = 2 OR error_type IS NOT NULL) AS failed,
  count(*) FILTER (explore) AS explored, count(*) FILTER (pinned) AS pinned,
  coalesce(sum(attempts), 0)::BIGINT AS attempts,
  coalesce(sum(cost_usd), 0) AS cost_usd, count(cost_usd) AS cost_known,
  count(quality) AS graded, coalesce(sum(quality), 0) AS quality_sum
FROM decisions
WHERE start_ns >= (SELECT min(minute) * 60000000000 FROM temp.todo)
  AND start_ns < (SELECT (max(minute) + 1) * 60000000000 FROM temp.todo)
  AND start_ns // 60000000000 IN (SELECT minute FROM temp.todo)
GROUP BY ALL
""",
    # Tasks: those that were touched are summed again from their first call on.
    """
CREATE OR REPLACE TEMP TABLE touched AS
SELECT f.role, f.task, least(min(f.start_ns), min(t.start_ns)) AS start_ns
FROM temp.fresh f LEFT JOIN tasks t ON t.task = f.task AND t.role IS NOT DISTINCT FROM f.role
GROUP BY f.role, f.task
""",
    """
CREATE OR REPLACE TEMP TABLE task_minutes AS
SELECT DISTINCT t.start_ns // 60000000000 AS minute FROM tasks t
JOIN temp.touched u ON t.task = u.task AND t.role IS NOT DISTINCT FROM u.role
UNION SELECT DISTINCT start_ns // 60000000000 FROM temp.touched
""",
    """
DELETE FROM tasks USING temp.touched u
WHERE tasks.task = u.task AND tasks.role IS NOT DISTINCT FROM u.role
""",
    """
INSERT INTO tasks BY NAME
SELECT role, task, min(start_ns) AS start_ns, max(weight) AS weight, sum(calls)::BIGINT AS calls,
  CASE WHEN sum(calls) = sum(costed) THEN sum(cost_usd) END AS cost_usd,
  min(quality) >= 0.5 AS passed
FROM (
  SELECT c.role, c.task, coalesce(c.decision_id, c.span_id) AS step,
    min(c.start_ns) AS start_ns, max(c.weight) AS weight,
    count(*) AS calls, count(c.cost_usd) AS costed, sum(c.cost_usd) AS cost_usd,
    arg_max(c.quality, coalesce(c.attempt, 1)) AS quality
  FROM calls c JOIN temp.touched u ON c.task = u.task AND c.role IS NOT DISTINCT FROM u.role
  WHERE c.counted AND c.start_ns >= (SELECT min(start_ns) FROM temp.touched)
  GROUP BY ALL
) GROUP BY role, task
""",
    "DELETE FROM rollups_tasks WHERE minute IN (SELECT minute FROM temp.task_minutes)",
    """
INSERT INTO rollups_tasks BY NAME
SELECT start_ns // 60000000000 AS minute, role, count(*) AS tasks,
  coalesce(sum(cost_usd), 0) AS cost_usd, count(cost_usd) AS costed,
  count(passed) AS graded, count(*) FILTER (passed) AS passed
FROM tasks
WHERE start_ns >= (SELECT min(minute) * 60000000000 FROM temp.task_minutes)
  AND start_ns < (SELECT (max(minute) + 1) * 60000000000 FROM temp.task_minutes)
  AND start_ns // 60000000000 IN (SELECT minute FROM temp.task_minutes)
GROUP BY ALL
""",
)

UNJOINED: Final = """
SELECT count(*) AS n FROM evaluations
WHERE NOT joined AND score IS NOT NULL AND received_ns >= $since
"""
JOIN_EVALUATIONS: Final[tuple[str, ...]] = (
    """
CREATE OR REPLACE TEMP TABLE words AS
SELECT * FROM evaluations WHERE NOT joined AND score IS NOT NULL AND received_ns >= $since
""",
    # Each word finds its call by span, by response or as the answer a decision delivered.
    """
CREATE OR REPLACE TEMP TABLE found AS
SELECT e.evaluation_id, e.score, e.name, e.rank, e.time_ns,
  c.trace_id, c.span_id, c.start_ns, c.decision_id
FROM temp.words e JOIN calls c ON c.span_id = e.span_id AND c.trace_id = e.trace_id
UNION
SELECT e.evaluation_id, e.score, e.name, e.rank, e.time_ns,
  c.trace_id, c.span_id, c.start_ns, c.decision_id
FROM temp.words e JOIN calls c ON c.response_id = e.response_id
WHERE e.span_id IS NULL
UNION
SELECT e.evaluation_id, e.score, e.name, e.rank, e.time_ns,
  c.trace_id, c.span_id, c.start_ns, c.decision_id
FROM temp.words e
JOIN decisions d ON d.decision_id = e.decision_id
  OR (d.span_id = e.span_id AND d.trace_id = e.trace_id)
JOIN calls c ON c.decision_id = d.decision_id AND c.attempt = d.attempts
""",
    """
CREATE OR REPLACE TEMP TABLE found_decisions AS
SELECT e.evaluation_id, e.score, e.name, e.rank, e.time_ns, d.decision_id, d.start_ns
FROM temp.words e JOIN decisions d ON d.decision_id = e.decision_id
UNION
SELECT e.evaluation_id, e.score, e.name, e.rank, e.time_ns, d.decision_id, d.start_ns
FROM temp.words e JOIN decisions d ON d.span_id = e.span_id AND d.trace_id = e.trace_id
UNION
SELECT f.evaluation_id, f.score, f.name, f.rank, f.time_ns, d.decision_id, d.start_ns
FROM temp.found f JOIN decisions d ON d.decision_id = f.decision_id
JOIN calls c ON c.span_id = f.span_id AND c.trace_id = f.trace_id AND c.attempt = d.attempts
""",
    """
UPDATE calls SET quality = b.score, quality_source = b.name, quality_rank = b.rank
FROM (
  SELECT trace_id, span_id, arg_max(score, (rank, time_ns)) AS score,
    arg_max(name, (rank, time_ns)) AS name, max(rank) AS rank
  FROM temp.found GROUP BY trace_id, span_id
) b
WHERE calls.span_id = b.span_id AND calls.trace_id = b.trace_id
  AND b.rank >= coalesce(calls.quality_rank, 0)
""",
    """
UPDATE decisions SET quality = b.score, quality_source = b.name, quality_rank = b.rank
FROM (
  SELECT decision_id, arg_max(score, (rank, time_ns)) AS score,
    arg_max(name, (rank, time_ns)) AS name, max(rank) AS rank
  FROM temp.found_decisions GROUP BY decision_id
) b
WHERE decisions.decision_id = b.decision_id AND b.rank >= coalesce(decisions.quality_rank, 0)
""",
    """
UPDATE evaluations SET joined = true WHERE evaluation_id IN (
  SELECT evaluation_id FROM temp.found UNION SELECT evaluation_id FROM temp.found_decisions
)
""",
    """
INSERT INTO dirty
SELECT DISTINCT start_ns // 60000000000 FROM temp.found
UNION SELECT DISTINCT start_ns // 60000000000 FROM temp.found_decisions
""",
)

PRUNE: Final[tuple[str, ...]] = (
    "DELETE FROM spans WHERE start_ns < $spans_before",
    "DELETE FROM logs WHERE time_ns < $spans_before",
    "DELETE FROM calls WHERE start_ns < $calls_before",
    "DELETE FROM decisions WHERE start_ns < $calls_before",
    "DELETE FROM evaluations WHERE time_ns < $calls_before",
    "DELETE FROM tasks WHERE start_ns < $calls_before",
)

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
"""  # noqa: S608 - names from the tables above
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
"""  # noqa: S608 - names from the tables above
        for form, options in _FORMS.items()
    }
    for table, (at, key) in _ARRIVAL.items()
}

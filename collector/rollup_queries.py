"""The statements that keep roll-ups: per minute, and per hour for what lies further back.

A roll-up of a minute (or hour) is always computed again as a whole, so late, corrected and doubled
data cannot bend it. ``$edge`` is the first minute that is still kept by the minute, ``$oldest`` the
first whose facts are all there: what lies before it keeps its sums. Bounds are
bound values, not subqueries, so that the engine can skip what lies outside; rows are inserted in
order of time for the same reason.
"""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

from collector import latency_queries

NS: Final = 60_000_000_000
CHAIN_MINUTES: Final = 60  # an attempt begins at most so long after its decision


def slot(column: str) -> str:
    """Return SQL for the minute, or the hour's first minute, that a time in ns belongs to."""
    return (
        f"CASE WHEN {column} // {NS} < $edge THEN {column} // {60 * NS} * 60 "
        f"ELSE {column} // {NS} END"
    )


EDGE: Final = "SELECT value FROM state WHERE name = 'hourly_before_minute'"
# Facts before this minute were removed, at whatever retention held then; it never falls.
PRUNED: Final = "SELECT value FROM state WHERE name = 'pruned_before_minute'"
MOVE_PRUNED: Final = """
UPDATE state SET value = greatest(value, $pruned) WHERE name = 'pruned_before_minute'
"""
MOVE_EDGE: Final = "UPDATE state SET value = $edge WHERE name = 'hourly_before_minute'"
# Up to which arrival words have found their decisions.
MARK_ROLLED_UP: Final = "UPDATE state SET value = $arrival WHERE name = 'rolled_up_ns'"
DIRTY: Final = "SELECT count(*) FROM dirty"

BACKLOG: Final = """
SELECT (SELECT count(DISTINCT minute) FROM dirty), (SELECT count(*) FROM calls)
"""

_DIRTY_SLOT: Final = "CASE WHEN minute < $edge THEN minute // 60 * 60 ELSE minute END"
# A backlog is worked off in steps, newest first, so that no commit waits long behind it.
DUE: Final = (
    f"""
CREATE OR REPLACE TEMP TABLE due AS
SELECT DISTINCT {_DIRTY_SLOT} AS minute
FROM dirty WHERE minute >= $oldest ORDER BY minute DESC LIMIT $most
""",
    f"""
DELETE FROM dirty WHERE minute < $oldest OR {_DIRTY_SLOT} IN (SELECT minute FROM temp.due)
""",
)
DUE_RANGE: Final = "SELECT min(minute), max(minute) + 60, count(*) FROM temp.due"
_IN_DUE: Final = "minute >= $low AND minute < $high AND minute IN (SELECT minute FROM temp.due)"
ROLL_UP: Final[tuple[str, ...]] = (
    f"DELETE FROM rollups WHERE {_IN_DUE}",
    f"DELETE FROM rollups_latency WHERE {_IN_DUE}",
    f"DELETE FROM rollups_decisions WHERE {_IN_DUE}",
    f"""
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT t.minute, c.role, c.tier, c.model, c.mode, c.task, c.weight, c.status, c.error_type,
  c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cost_usd, c.quality, c.decision_id,
  c.latency_bucket, c.start_ns
FROM calls c JOIN temp.due t ON t.minute = {slot("c.start_ns")}
WHERE c.counted AND c.start_ns >= $low * {NS} AND c.start_ns < $high * {NS}
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
  coalesce(sum(cost_usd * weight) FILTER (quality IS NOT NULL), 0) AS graded_cost_usd,
  count(quality) FILTER (decision_id IS NULL) AS foreign_graded,
  coalesce(sum(quality) FILTER (decision_id IS NULL), 0) AS foreign_quality_sum
FROM temp.fresh GROUP BY minute, role, tier, model, mode ORDER BY minute
""",
    """
INSERT INTO rollups_latency BY NAME
SELECT minute, role, tier, latency_bucket AS bucket, sum(weight) AS calls
FROM temp.fresh GROUP BY minute, role, tier, latency_bucket ORDER BY minute
""",
    f"""
INSERT INTO rollups_decisions BY NAME
WITH handed_on AS (
  SELECT DISTINCT decision_id FROM calls
  WHERE tier = 'code' AND (error_type = 'abstained' OR starts_with(error_type, 'code_'))
    AND start_ns >= $low * {NS} AND start_ns < ($high + {CHAIN_MINUTES}) * {NS}
)
SELECT t.minute, d.role, d.tier_start AS tier, d.mode,
  count(*) AS decisions, count(h.decision_id) AS abstained,
  count(d.escalated_from) FILTER (h.decision_id IS NULL OR d.escalated_from <> 'code')
    AS escalated,
  count(*) FILTER ((d.status = 2 OR d.error_type IS NOT NULL)
    AND (d.escalated_from IS NULL OR (h.decision_id IS NOT NULL AND d.escalated_from = 'code')))
    AS failed,
  count(*) FILTER (d.explore) AS explored, count(*) FILTER (d.pinned) AS pinned,
  coalesce(sum(d.attempts), 0)::BIGINT AS attempts,
  coalesce(sum(d.cost_usd), 0) AS cost_usd, count(d.cost_usd) AS cost_known,
  count(d.quality) AS graded, coalesce(sum(d.quality), 0) AS quality_sum
FROM decisions d JOIN temp.due t ON t.minute = {slot("d.start_ns")}
  LEFT JOIN handed_on h ON h.decision_id = d.decision_id
WHERE d.start_ns >= $low * {NS} AND d.start_ns < $high * {NS}
GROUP BY t.minute, d.role, d.tier_start, d.mode ORDER BY t.minute
""",
    # A task goes on while calls of it come within ``$since`` of its first one. One that began
    # among facts that are gone stays as it was told then.
    f"""
CREATE OR REPLACE TEMP TABLE touched AS
SELECT f.role, f.task, least(min(f.start_ns), min(t.start_ns)) AS start_ns,
  min(t.start_ns) AS known_ns
FROM temp.fresh f LEFT JOIN tasks t
  ON t.task = f.task AND t.role IS NOT DISTINCT FROM f.role AND t.start_ns >= $since
GROUP BY f.role, f.task
HAVING least(min(f.start_ns), min(t.start_ns)) >= $oldest * {NS}
""",
)
TOUCHED_RANGE: Final = "SELECT min(start_ns), max(start_ns), count(*) FROM temp.touched"
ROLL_UP_TASKS: Final[tuple[str, ...]] = (
    f"""
CREATE OR REPLACE TEMP TABLE task_minutes AS
SELECT DISTINCT {slot("start_ns")} AS minute FROM temp.touched
UNION SELECT DISTINCT {slot("known_ns")} FROM temp.touched WHERE known_ns IS NOT NULL
""",
    """
DELETE FROM tasks USING temp.touched u
WHERE tasks.start_ns >= $since
  AND tasks.task = u.task AND tasks.role IS NOT DISTINCT FROM u.role
""",
    # A task passed when no step's last graded attempt fell under one half.
    """
INSERT INTO tasks BY NAME
SELECT role, task, min(start_ns) AS start_ns, sum(calls)::BIGINT AS calls,
  CASE WHEN sum(calls) = sum(costed) THEN sum(cost_usd) END AS cost_usd,
  min(quality) >= 0.5 AS passed
FROM (
  SELECT c.role, c.task, coalesce(c.decision_id, c.span_id) AS step,
    min(c.start_ns) AS start_ns,
    count(*) AS calls, count(c.cost_usd) AS costed, sum(c.cost_usd) AS cost_usd,
    arg_max(c.quality, coalesce(c.attempt, 1)) AS quality
  FROM calls c JOIN temp.touched u ON c.task = u.task AND c.role IS NOT DISTINCT FROM u.role
  WHERE c.counted AND c.start_ns >= $first
  GROUP BY ALL
) GROUP BY role, task ORDER BY min(start_ns)
""",
    """
DELETE FROM rollups_tasks
WHERE minute >= $low AND minute < $high AND minute IN (SELECT minute FROM temp.task_minutes)
""",
    f"""
INSERT INTO rollups_tasks BY NAME
SELECT m.minute, t.role, count(*) AS tasks,
  coalesce(sum(t.cost_usd), 0) AS cost_usd, count(t.cost_usd) AS costed,
  count(*) FILTER (t.passed IS NOT NULL AND t.cost_usd IS NOT NULL) AS graded,
  count(*) FILTER (t.passed AND t.cost_usd IS NOT NULL) AS passed,
  coalesce(sum(t.cost_usd) FILTER (t.passed IS NOT NULL), 0) AS graded_cost_usd
FROM tasks t JOIN temp.task_minutes m ON m.minute = {slot("t.start_ns")}
WHERE t.start_ns >= $low * {NS} AND t.start_ns < $high * {NS}
GROUP BY m.minute, t.role ORDER BY m.minute
""",
)
# These two are as large as the minutes that changed, and would wait in memory for the next ones.
FORGET: Final = ("DROP TABLE IF EXISTS temp.fresh", "DROP TABLE IF EXISTS temp.touched")
TASK_MINUTES_RANGE: Final = "SELECT min(minute), max(minute) + 60 FROM temp.task_minutes"

_SUMS: Final[dict[str, tuple[str, str]]] = {
    "rollups": (
        "role, tier, model, mode",
        "calls weighted errors input_tokens output_tokens cache_read_tokens tokens_known cost_usd "
        "cost_known graded quality_sum graded_cost_usd foreign_graded foreign_quality_sum",
    ),
    "rollups_decisions": (
        "role, tier, mode",
        "decisions escalated abstained failed explored pinned attempts cost_usd cost_known graded "
        "quality_sum",
    ),
    "rollups_tasks": ("role", "tasks cost_usd costed graded passed graded_cost_usd"),
    "learning_attempts": (
        "cell, path, served",
        "attempts flagged delivered delivered_flagged tokens_in tokens_out tokens_cached seconds",
    ),
    "learning_labels": (
        "cell, path, served, flagged, authenticated",
        "labels shared w ww wq wqq",
    ),
    "learning_excess": ("cell, source", "words"),
    "learning_verdicts": (
        "cell, path, served, tier",
        "tokens_in tokens_out tokens_cached cost_usd",
    ),
    "learning_talks": ("cell, start, before", "steps tokens_cached"),
    "rollups_savings": (
        "kind, role, mode, tier_start, on_fail, tier",
        "steps unknown cost_usd input_tokens output_tokens cache_read_tokens warm_tokens",
    ),
}


def _compact(table: str) -> tuple[str, ...]:
    keys, summed = _SUMS[table]
    sums = ", ".join(f"sum({name}) AS {name}" for name in summed.split())
    return (
        f"CREATE OR REPLACE TEMP TABLE hours AS "
        f"SELECT minute // 60 * 60 AS minute, {keys}, {sums} FROM {table} "
        f"WHERE minute >= $from AND minute < $edge GROUP BY minute // 60, {keys}",
        f"DELETE FROM {table} WHERE minute >= $from AND minute < $edge",
        f"INSERT INTO {table} BY NAME SELECT * FROM temp.hours ORDER BY minute",
    )


COMPACT: Final = (
    *(statement for table in _SUMS for statement in _compact(table)),
    latency_queries.COMPACT,
)

UNJOINED: Final = """
SELECT count(*), coalesce(max(received_ns), 0) FROM evaluations
WHERE NOT joined AND score IS NOT NULL AND received_ns >= $oldest
"""
_CALL: Final = "e.evaluation_id, c.trace_id, c.span_id, c.start_ns, c.decision_id"
# New words look at all calls that are not too old; words that found nothing, at new calls only.
_CALLS: Final = "c.start_ns >= $oldest AND c.received_ns > $seen"
_DECISIONS: Final = "d.start_ns >= $oldest AND d.received_ns > $seen"
# An answer's quality is the mean of what the highest-ranking evaluators say of it, whenever they
# said it; a quality that stood on the span itself ranks between our own checks and other judges.
_JUDGED: Final = """
SELECT {keys}, avg(score) AS score, string_agg(DISTINCT name, ', ' ORDER BY name) AS name,
  max(rank) AS rank
FROM (
  SELECT *, max(rank) OVER (PARTITION BY {keys}) AS top FROM evaluations
  WHERE score IS NOT NULL AND {last} IN (SELECT {found} FROM temp.{table})
) WHERE rank = top GROUP BY {keys}
"""
_INLINE: Final = "CASE WHEN {table}.quality IS NULL THEN 0 ELSE 2 END"
JOIN_EVALUATIONS: Final[tuple[str, ...]] = (
    """
CREATE OR REPLACE TEMP TABLE words AS
SELECT * FROM evaluations WHERE NOT joined AND score IS NOT NULL AND received_ns >= $oldest
""",
    # Each word finds its call by span, by response, or as the answer that a decision delivered.
    f"""
CREATE OR REPLACE TEMP TABLE found AS
SELECT evaluation_id, arg_min(trace_id, start_ns) AS trace_id,
  arg_min(span_id, start_ns) AS span_id, min(start_ns) AS start_ns,
  arg_min(decision_id, start_ns) AS decision_id
FROM (
  SELECT {_CALL}
  FROM temp.words e JOIN calls c ON c.span_id = e.span_id AND c.trace_id = e.trace_id
  WHERE {_CALLS}
  UNION ALL
  SELECT {_CALL}
  FROM temp.words e JOIN calls c ON c.response_id = e.response_id
  WHERE e.span_id IS NULL AND c.counted AND {_CALLS}
  UNION ALL
  SELECT {_CALL}
  FROM temp.words e JOIN decisions d ON d.decision_id = e.decision_id
  JOIN calls c ON c.decision_id = d.decision_id AND c.attempt = d.attempts
  WHERE e.span_id IS NULL AND d.start_ns >= $oldest AND c.start_ns >= $oldest
    AND (c.received_ns > $seen OR d.received_ns > $seen)
  UNION ALL
  SELECT {_CALL}
  FROM temp.words e JOIN decisions d ON d.span_id = e.span_id AND d.trace_id = e.trace_id
  JOIN calls c ON c.decision_id = d.decision_id AND c.attempt = d.attempts
  WHERE d.start_ns >= $oldest AND c.start_ns >= $oldest
    AND (c.received_ns > $seen OR d.received_ns > $seen)
) GROUP BY evaluation_id
""",
    f"""
CREATE OR REPLACE TEMP TABLE found_decisions AS
SELECT evaluation_id, arg_min(decision_id, start_ns) AS decision_id, min(start_ns) AS start_ns
FROM (
  SELECT e.evaluation_id, d.decision_id, d.start_ns
  FROM temp.words e JOIN decisions d ON d.decision_id = e.decision_id
  WHERE e.span_id IS NULL AND {_DECISIONS}
  UNION ALL
  SELECT e.evaluation_id, d.decision_id, d.start_ns
  FROM temp.words e JOIN decisions d ON d.span_id = e.span_id AND d.trace_id = e.trace_id
  WHERE {_DECISIONS}
  UNION ALL
  SELECT e.evaluation_id, d.decision_id, d.start_ns
  FROM temp.words e
  JOIN calls c ON c.span_id = coalesce(e.call_span_id, e.span_id)
    AND c.trace_id = coalesce(e.call_trace_id, e.trace_id)
  JOIN decisions d ON d.decision_id = c.decision_id AND d.attempts = c.attempt
  WHERE c.start_ns >= $oldest AND d.start_ns >= $oldest
    AND (c.received_ns > $seen OR d.received_ns > $seen)
  UNION ALL
  SELECT f.evaluation_id, d.decision_id, d.start_ns
  FROM temp.found f JOIN decisions d ON d.decision_id = f.decision_id
  JOIN calls c ON c.span_id = f.span_id AND c.trace_id = f.trace_id AND c.attempt = d.attempts
) GROUP BY evaluation_id
""",
    """
UPDATE evaluations SET call_trace_id = f.trace_id, call_span_id = f.span_id,
  joined = f.decision_id IS NULL OR f.decision_id IN (SELECT decision_id FROM decisions)
FROM temp.found f WHERE evaluations.evaluation_id = f.evaluation_id
""",
    """
UPDATE evaluations SET call_decision_id = f.decision_id,
  joined = evaluations.call_span_id IS NOT NULL
FROM temp.found_decisions f WHERE evaluations.evaluation_id = f.evaluation_id
""",
    f"""
UPDATE calls SET quality = b.score, quality_source = b.name, quality_rank = b.rank
FROM ({
        _JUDGED.format(
            keys="call_trace_id, call_span_id", last="call_span_id", found="span_id", table="found"
        )
    }) b
WHERE calls.span_id = b.call_span_id AND calls.trace_id = b.call_trace_id
  AND b.rank >= coalesce(calls.quality_rank, {_INLINE.format(table="calls")})
""",
    f"""
UPDATE decisions SET quality = b.score, quality_source = b.name, quality_rank = b.rank
FROM ({
        _JUDGED.format(
            keys="call_decision_id",
            last="call_decision_id",
            found="decision_id",
            table="found_decisions",
        )
    }) b
WHERE decisions.decision_id = b.call_decision_id
  AND b.rank >= coalesce(decisions.quality_rank, {_INLINE.format(table="decisions")})
""",
    f"""
INSERT INTO dirty
SELECT DISTINCT start_ns // {NS} FROM temp.found
UNION SELECT DISTINCT start_ns // {NS} FROM temp.found_decisions
""",
)

PRUNE: Final[tuple[str, ...]] = (
    "DELETE FROM spans WHERE start_ns < $spans_before",
    "DELETE FROM logs WHERE time_ns < $spans_before",
    "DELETE FROM texts WHERE start_ns < $spans_before",
    "DELETE FROM calls WHERE start_ns < $calls_before",
    "DELETE FROM decisions WHERE start_ns < $calls_before",
    "DELETE FROM evaluations WHERE time_ns < $words_before",
    "DELETE FROM tasks WHERE start_ns < $tasks_before",
)

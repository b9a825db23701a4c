"""What the alert rules ask of the store: what came since a cursor, and roll-ups of recent time.

No statement looks at more than a page of new rows or a fixed stretch of roll-ups, so a tick costs
the same after a year as after an hour.
"""

from typing import Final

# Steps in order of arrival: a grade never decides when its step is looked at.
STEPS: Final = """
SELECT decision_id, received_ns, start_ns, role, mode, tier_start, tier, model, on_fail, offered,
  propensity, escalated_from, quality, quality_rank, pinned, task
FROM decisions
WHERE received_ns >= $at
  AND (received_ns > $at OR (start_ns, decision_id) > ($start, $id))
ORDER BY received_ns, start_ns, decision_id LIMIT $most
"""
# With which probability answers that were judged had been chosen for it, where that was logged.
CHANCES: Final = """
SELECT call_decision_id AS decision_id, avg(chance) AS chance FROM evaluations
WHERE chance IS NOT NULL AND score IS NOT NULL AND time_ns >= $since
  AND call_decision_id IN (SELECT unnest($ids))
GROUP BY call_decision_id
"""
# The sessions of steps, and which of those had steps that were looked at before.
SESSIONS: Final = """
SELECT decision_id, min(task) AS task FROM calls
WHERE decision_id IN (SELECT unnest($ids)) AND start_ns >= $since GROUP BY decision_id
"""
KNOWN_SESSIONS: Final = """
SELECT DISTINCT role, task FROM calls
WHERE received_ns <= $at AND start_ns >= $since AND decision_id IS NOT NULL
  AND decision_id NOT IN (SELECT unnest($ids)) AND task IN (SELECT unnest($tasks))
"""
TASKS: Final = """
SELECT role, task, start_ns, cost_usd FROM tasks
WHERE start_ns >= $at AND start_ns <= $closed AND role IS NOT NULL
  AND (start_ns > $at OR (role, task) > ($role, $task))
ORDER BY start_ns, role, task LIMIT $most
"""
DEAR_TASKS: Final = """
SELECT role, task, cost_usd FROM tasks
WHERE start_ns >= $since AND role IS NOT NULL AND cost_usd > $least
ORDER BY cost_usd DESC LIMIT 100
"""
# Model versions as providers name them, of calls that came since the last look.
VERSIONS: Final = """
SELECT model, model_served AS version, max(received_ns) AS received_ns,
  string_agg(DISTINCT role, ', ' ORDER BY role) AS roles
FROM calls
WHERE received_ns > $at AND counted AND model IS NOT NULL AND model_served IS NOT NULL
GROUP BY model, model_served ORDER BY max(received_ns), version LIMIT 1000
"""
FAILURES: Final = """
SELECT role, split_part(model, '/', 1) AS provider, sum(calls)::BIGINT AS calls,
  sum(errors)::BIGINT AS errors
FROM rollups WHERE minute > $from AND minute <= $to AND role IS NOT NULL AND model LIKE '%/%'
GROUP BY role, provider HAVING sum(calls) >= $least
"""
SPENT: Final = """
SELECT minute, sum(cost_usd) AS usd FROM rollups
WHERE minute > $from AND minute <= $to GROUP BY minute
"""
SPENT_BETWEEN: Final = """
SELECT coalesce(sum(cost_usd), 0) AS usd FROM rollups WHERE minute > $from AND minute <= $to
"""
TALKERS: Final = """
SELECT source, count(*) AS words, count(*) FILTER (authenticated) AS authenticated
FROM evaluations WHERE received_ns > $since AND source LIKE 'feedback:%'
GROUP BY source HAVING count(*) > $most ORDER BY words DESC LIMIT 50
"""
# What explains a rise of cost per task: calls, tokens and dollars by tier, and how many tasks.
TIERS: Final = """
SELECT coalesce(tier, '?') AS tier, sum(calls)::DOUBLE AS calls,
  sum(input_tokens + output_tokens)::DOUBLE AS tokens, sum(cost_usd) AS usd
FROM rollups WHERE role = $role AND minute >= $from AND minute <= $to GROUP BY tier
"""
TASK_COUNT: Final = """
SELECT coalesce(sum(tasks), 0)::DOUBLE AS tasks FROM rollups_tasks
WHERE role = $role AND minute >= $from AND minute <= $to
"""
# Where the low scores of a role come from: the tiers and versions that answered.
CULPRITS: Final = """
SELECT coalesce(d.tier, '?') AS tier, coalesce(d.model, '?') AS model, d.n, d.mean,
  v.version
FROM (
  SELECT tier, model, count(*) AS n, avg(quality) AS mean FROM decisions
  WHERE role = $role AND quality IS NOT NULL AND start_ns >= $since
  GROUP BY tier, model
) d LEFT JOIN (
  SELECT model, arg_max(model_served, start_ns) AS version FROM calls
  WHERE role = $role AND start_ns >= $since AND model_served IS NOT NULL GROUP BY model
) v ON v.model = d.model
ORDER BY d.n * (1 - d.mean) DESC LIMIT 5
"""
# Outcomes of a role as they were, for working out the run lengths of its own traffic.
SCORES: Final = """
SELECT start_ns, quality FROM decisions
WHERE quality IS NOT NULL AND ($role IS NULL OR role = $role)
ORDER BY start_ns DESC LIMIT $most
"""
COSTS: Final = """
SELECT start_ns, cost_usd FROM tasks
WHERE cost_usd IS NOT NULL AND ($role IS NULL OR role = $role)
ORDER BY start_ns DESC LIMIT $most
"""

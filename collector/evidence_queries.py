"""What the learner reads: sums by epoch, which model versions answer, and outcomes as they came.

An epoch is a day, an hour within the last two days, and begins anew at each of ``$splits`` (the
minutes of alarms): so how much is read depends on time and variety, not on the number of calls.
"""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

from collector.learning_queries import (
    CELL,
    CHAINS,
    LABELS,
    OPEN_WORDS_PER_MINUTE,
    OWN_WORDS,
    PROVEN_WORDS_PER_MINUTE,
    TEACHING,
    VERDICTS,
)
from collector.rollup_queries import NS
from collector.savings_queries import CACHE_SECONDS

CELLS_READ_MAX: Final = 2_000  # the busiest; callers choose modes, so there is no end of cells
_CACHE_NS: Final = CACHE_SECONDS * 1_000_000_000
VERSION_ATTEMPTS: Final = 50  # how many of a tier's last attempts say which version answers

_EPOCH: Final = """greatest(
    CASE WHEN minute >= $recent THEN minute // 60 * 60 ELSE minute // 1440 * 1440 END,
    coalesce((SELECT max(s) FROM (SELECT unnest($splits::BIGINT[]) AS s) WHERE s <= minute), 0)
  )"""
_CELLS: Final = """
SELECT cell AS busy FROM learning_attempts WHERE minute >= $since AND NOT contains(path, '>')
GROUP BY cell ORDER BY sum(attempts) DESC, cell LIMIT $cells
"""
_FOLDED: Final = """CASE WHEN busy IS NULL THEN split_part(cell, '|', 1) || '||' ELSE cell END"""

ATTEMPTS: Final = f"""
SELECT {_FOLDED} AS cell, path, served, {_EPOCH} AS epoch, sum(attempts)::DOUBLE AS attempts,
  sum(flagged)::DOUBLE AS flagged, sum(delivered)::DOUBLE AS delivered,
  sum(delivered_flagged)::DOUBLE AS delivered_flagged, sum(tokens_in)::DOUBLE AS tokens_in,
  sum(tokens_out)::DOUBLE AS tokens_out, sum(tokens_cached)::DOUBLE AS tokens_cached,
  sum(seconds) AS seconds
FROM learning_attempts LEFT JOIN ({_CELLS}) ON cell = busy
WHERE minute >= $since AND minute < $until GROUP BY ALL ORDER BY ALL
"""
LABELLED: Final = f"""
SELECT {_FOLDED} AS cell, path, served, {_EPOCH} AS epoch, flagged, authenticated,
  sum(labels)::DOUBLE AS labels, sum(shared)::DOUBLE AS shared, sum(w) AS w, sum(ww) AS ww,
  sum(wq) AS wq, sum(wqq) AS wqq
FROM learning_labels LEFT JOIN ({_CELLS}) ON cell = busy
WHERE minute >= $since AND minute < $until GROUP BY ALL ORDER BY ALL
"""
PAID_VERDICTS: Final = f"""
SELECT {_FOLDED} AS cell, path, served, {_EPOCH} AS epoch, tier,
  sum(tokens_in)::DOUBLE AS tokens_in, sum(tokens_out)::DOUBLE AS tokens_out,
  sum(tokens_cached)::DOUBLE AS tokens_cached, sum(cost_usd) AS cost_usd
FROM learning_verdicts LEFT JOIN ({_CELLS}) ON cell = busy
WHERE minute >= $since AND minute < $until GROUP BY ALL ORDER BY ALL
"""
TALKS: Final = f"""
SELECT {_FOLDED} AS cell, start, before, minute // 60 * 60 AS epoch, sum(steps)::DOUBLE AS steps,
  sum(tokens_cached)::DOUBLE AS tokens_cached
FROM learning_talks LEFT JOIN ({_CELLS}) ON cell = busy
WHERE minute >= $recent AND minute < $until GROUP BY ALL ORDER BY ALL
"""
# How many steps came before each that goes on with a conversation, of about the last ``$steps``. A
# conversation that began before these is left out.
AGES: Final = f"""
WITH counted AS (
  SELECT minute, sum(steps) AS steps FROM learning_talks
  WHERE minute >= $recent AND minute < $until GROUP BY minute
), begun AS (
  SELECT coalesce(min(minute), $until) * {NS} AS ns FROM (
    SELECT minute, sum(steps) OVER (ORDER BY minute DESC) - steps AS later FROM counted
  ) WHERE later < $steps
), made AS MATERIALIZED (
  SELECT d.decision_id, d.start_ns, d.end_ns, d.task, d.role, {CELL} AS cell,
    {TEACHING} AS teaches
  FROM decisions d
  WHERE d.start_ns >= (SELECT ns FROM begun) - {_CACHE_NS} AND d.start_ns < $until * {NS}
    AND d.tier_start IS NOT NULL
), told AS (
  SELECT *, start_ns - lag(end_ns) OVER talk <= {_CACHE_NS} AS continues
  FROM made WINDOW talk AS (PARTITION BY task, role ORDER BY start_ns, decision_id)
), parted AS (
  SELECT *, count(*) FILTER (continues IS NOT TRUE) OVER (
    PARTITION BY task, role ORDER BY start_ns, decision_id ROWS UNBOUNDED PRECEDING) AS part
  FROM told
), placed AS (
  SELECT cell, teaches, min(start_ns) OVER part AS first_ns,
    row_number() OVER (part ORDER BY start_ns, decision_id) - 1 AS age
  FROM parted WINDOW part AS (PARTITION BY task, role, part)
)
SELECT cell, count(*)::DOUBLE AS steps, sum(age)::DOUBLE AS ages FROM placed
WHERE age > 0 AND teaches AND first_ns >= (SELECT ns FROM begun) GROUP BY cell ORDER BY cell
"""
# The same sums of one role's decisions within a part of one minute, from the facts; words on whole
# tasks are left out.
_REST: Final = f"""
WITH made AS MATERIALIZED (
  SELECT d.decision_id, d.trace_id, d.span_id, d.attempts, d.start_ns, {CELL} AS cell
  FROM decisions d
  WHERE d.start_ns > $from AND d.start_ns < $to AND d.role = $role AND {TEACHING}
), {CHAINS}, taught AS (
  SELECT m.cell, m.trace_id, m.span_id, k.* FROM taken k JOIN made m USING (decision_id)
)"""
REST_ATTEMPTS: Final = f"""{_REST}
SELECT cell, path, served, count(*)::DOUBLE AS attempts,
  count(*) FILTER (flagged)::DOUBLE AS flagged, count(*) FILTER (last)::DOUBLE AS delivered,
  count(*) FILTER (last AND flagged)::DOUBLE AS delivered_flagged,
  sum(tokens_in)::DOUBLE AS tokens_in, sum(tokens_out)::DOUBLE AS tokens_out,
  sum(tokens_cached)::DOUBLE AS tokens_cached, sum(seconds) AS seconds
FROM taught GROUP BY ALL ORDER BY ALL
"""
REST_VERDICTS: Final = f"""{_REST}
{VERDICTS.format(keys="t.cell, t.path, t.served", taught="taught")}
"""
REST_LABELLED: Final = f"""{_REST}, heard AS (
  SELECT w.*, row_number() OVER (
      PARTITION BY t.cell, w.source, w.authenticated ORDER BY w.evaluation_id
    ) <= CASE WHEN w.authenticated THEN {PROVEN_WORDS_PER_MINUTE} ELSE {OPEN_WORDS_PER_MINUTE} END
    AS counted
  FROM ({OWN_WORDS}) w JOIN taught t ON t.decision_id = w.decision_id AND t.last
), labels AS ({LABELS.format(words="heard WHERE counted")})
SELECT t.cell, t.path, t.served, t.flagged, l.authenticated, count(*)::DOUBLE AS labels,
  0::DOUBLE AS shared, sum(l.weight) AS w, sum(l.weight * l.weight) AS ww,
  sum(l.weight * l.score) AS wq, sum(l.weight * l.score * l.score) AS wqq
FROM labels l JOIN taught t ON t.decision_id = l.decision_id AND t.last
GROUP BY ALL ORDER BY ALL
"""
EXCESS: Final = """
SELECT cell, source, sum(words)::BIGINT AS words FROM learning_excess
WHERE minute >= $since GROUP BY cell, source ORDER BY words DESC, cell, source LIMIT 20
"""
# Of each role and tier's last attempts, how many each version answered.
VERSIONS: Final = f"""
WITH seen AS (
  SELECT split_part(cell, '|', 1) AS role, split_part(path, '>', -1) AS tier,
    split_part(served, '>', -1) AS version, minute, sum(attempts) AS attempts
  FROM learning_attempts WHERE minute >= $since AND minute < $until GROUP BY ALL
), counted AS (
  SELECT *, sum(attempts) OVER (PARTITION BY role, tier ORDER BY minute DESC) AS reached,
    sum(attempts) OVER (PARTITION BY role, tier, minute) AS within
  FROM seen
)
SELECT role, tier, version, sum(attempts)::BIGINT AS attempts FROM counted
WHERE reached - within < {VERSION_ATTEMPTS} GROUP BY role, tier, version ORDER BY ALL
"""

ROLLED_UP: Final = "SELECT value FROM state WHERE name = 'rolled_up_ns'"
# The next stretch of arrivals: at most an hour, at most so many decisions, gaps left out.
NEXT_ARRIVAL: Final = """
SELECT min(received_ns) AS at FROM (
  SELECT min(received_ns) AS received_ns FROM decisions
  WHERE received_ns > $from AND received_ns <= $to
  UNION ALL SELECT min(received_ns) FROM evaluations
  WHERE received_ns > $from AND received_ns <= $to AND source <> 'check'
)
"""
LAST_OF_BLOCK: Final = """
SELECT received_ns AS at FROM decisions WHERE received_ns > $from AND received_ns <= $to
ORDER BY received_ns LIMIT 1 OFFSET $most
"""
_ARRIVED: Final = f"""
SELECT d.decision_id, d.attempts, d.start_ns, d.received_ns, {CELL} AS cell
FROM decisions d
WHERE {TEACHING} AND d.received_ns <= $to AND d.start_ns >= $oldest AND d.decision_id IN (
  SELECT decision_id FROM decisions WHERE received_ns > $from AND received_ns <= $to
  UNION SELECT call_decision_id FROM evaluations
  WHERE received_ns > $from AND received_ns <= $to AND source <> 'check'
    AND call_decision_id IS NOT NULL
)"""
ARRIVED_RANGE: Final = f"""
SELECT min(start_ns) AS low, max(start_ns) AS high FROM ({_ARRIVED})
"""
# What each step and each label showed, once, in the order in which it could first be known.
OUTCOMES: Final = f"""
WITH made AS MATERIALIZED (SELECT * FROM ({_ARRIVED})), {CHAINS}, words AS (
  SELECT * FROM ({OWN_WORDS}) w
  WHERE (authenticated OR $anyone) AND decision_id IN (SELECT decision_id FROM made)
), labels AS ({LABELS.format(words="words")}), known AS (
  SELECT m.*, l.score, greatest(m.received_ns, l.received_ns) AS heard_ns
  FROM made m LEFT JOIN labels l USING (decision_id)
)
SELECT k.cell, k.start_ns, t.path, t.served, t.flagged,
  k.received_ns > $from AS fresh,
  CASE WHEN t.last AND k.heard_ns > $from AND k.heard_ns <= $to THEN k.score END AS label
FROM taken t JOIN known k USING (decision_id)
WHERE fresh OR label IS NOT NULL
ORDER BY coalesce(k.heard_ns, k.received_ns), k.start_ns, decision_id, t.step
"""

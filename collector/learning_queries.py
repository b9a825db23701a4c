"""The statements that turn decisions into evidence: sums that only ever add up.

A minute (or hour, further back) is always summed again as a whole, like every roll-up: late,
doubled and reordered data cannot bend it, and two stores' sums merge by addition. What a decision
teaches is told by its chain of tiers:

- A *step* is all attempts of one tier in a row. Where a tier gave no answer at all the chain ends,
  for evidence: what came after says nothing of the tiers before.
- A step is flagged when one of our checks failed its answer, or when another tier was asked next.
- A *label* is what others than our checks say of the delivered answer, the highest rank deciding.
  Words that came without proof of who said them are kept apart (``open``). A word on the root span
  of a trace speaks of the whole task: each step without a label of its own gets it as one
  ``1 / steps`` of a label.
- Of one source only so many words count in a minute of a cell, whichever their ids pick: few of
  one without proof, many of one that showed it (a grader may grade every step). How many more
  there were is kept.
- Verdicts of a model that a step waited for are counted with the attempts that they judge: their
  tokens by tier. They are no steps of the task.
- Steps are counted by where they started and where the step of their conversation before them did,
  with the cached tokens that they read: a change of model inside a conversation loses these.

Decisions that a budget, a session's history, a missing dialect or a fault of ours forced are left
out: they are not drawn from the steps that shares are about. So are unknown roles and embeddings.
"""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

from collector.rollup_queries import NS, slot
from collector.savings_queries import CACHE_SECONDS

CHAIN_MINUTES: Final = 60  # a chain of attempts takes no longer
OPEN_WORDS_PER_MINUTE: Final = 100
PROVEN_WORDS_PER_MINUTE: Final = 6_000
CHANCE_MIN: Final = 0.01  # a label with a smaller chance counts as one of this

TEACHING: Final = """d.role_unknown IS NULL AND d.dialect IS DISTINCT FROM 'embeddings'
    AND d.reason IN ('declared', 'learned', 'explored', 'pinned', 'caller_pin')"""
CELL: Final = "coalesce(d.cell, d.role || '|' || coalesce(d.mode, '') || '|')"

# From ``made`` (decision_id, attempts) to one row per decision and step. ``$calls_from`` and
# ``$calls_to`` (ns) bound when attempts began and verdicts on them fell.
CHAINS: Final = """
tries AS (
  SELECT m.decision_id, m.attempts, c.attempt, c.tier,
    coalesce(c.model, '') || '@' || coalesce(c.model_served, c.model_requested, '') AS version,
    coalesce(c.error_type = 'abstained' OR starts_with(c.error_type, 'code_'), false) AS abstained,
    c.error_type IS NULL AND coalesce(c.http_status, 200) < 400 AS spoke,
    f.span_id IS NOT NULL AS failed,
    coalesce(c.input_tokens, 0) AS tokens_in, coalesce(c.output_tokens, 0) AS tokens_out,
    coalesce(c.cache_read_tokens, 0) AS tokens_cached, (c.end_ns - c.start_ns) / 1e9 AS seconds,
    c.start_ns AS began_ns, c.end_ns AS ended_ns,
    lag(c.tier) OVER (PARTITION BY m.decision_id ORDER BY c.attempt) AS before,
    count(*) OVER (PARTITION BY m.decision_id) AS found
  FROM made m JOIN calls c ON c.decision_id = m.decision_id
  LEFT JOIN (
    SELECT DISTINCT trace_id, span_id FROM evaluations
    WHERE source = 'check' AND label = 'fail' AND time_ns >= $calls_from AND time_ns < $calls_to
  ) f ON f.trace_id = c.trace_id AND f.span_id = c.span_id
  WHERE c.start_ns >= $calls_from AND c.start_ns < $calls_to AND c.tier IS NOT NULL
    AND c.attempt IS NOT NULL
), numbered AS (
  SELECT *, count(*) FILTER (tier IS DISTINCT FROM before)
    OVER (PARTITION BY decision_id ORDER BY attempt) AS step
  FROM tries WHERE found = attempts
), steps AS (
  SELECT decision_id, step, arg_max(version, attempt) FILTER (spoke OR abstained) AS version,
    any_value(tier) AS tier, bool_or(spoke OR abstained) AS answered,
    coalesce(arg_max(failed OR abstained, attempt) FILTER (spoke OR abstained), false) AS failed,
    sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
    sum(tokens_cached) AS tokens_cached, sum(seconds) AS seconds,
    min(began_ns) AS began_ns, max(ended_ns) AS ended_ns
  FROM numbered GROUP BY decision_id, step
), chained AS (
  SELECT *, string_agg(tier, '>') OVER so_far AS path,
    string_agg(coalesce(version, ''), '>') OVER so_far AS served,
    bool_and(answered) OVER so_far AS sound,
    step = max(step) OVER (PARTITION BY decision_id) AS last
  FROM steps WINDOW so_far AS (PARTITION BY decision_id ORDER BY step)
), taken AS (
  SELECT decision_id, step, path, served, last, failed OR NOT last AS flagged, tokens_in,
    tokens_out, tokens_cached, seconds, began_ns, ended_ns
  FROM chained WHERE sound
)"""

# What verdicts on the way of a step cost: the attempts of decisions that were made, under another
# role, as children of a decision and while one of its steps ran. Over {taught} with ``trace_id``
# and ``span_id`` of the decision.
VERDICTS: Final = """
SELECT {keys}, c.tier, sum(coalesce(c.input_tokens, 0))::BIGINT AS tokens_in,
  sum(coalesce(c.output_tokens, 0))::BIGINT AS tokens_out,
  sum(coalesce(c.cache_read_tokens, 0))::BIGINT AS tokens_cached,
  sum(coalesce(c.cost_usd, 0)) AS cost_usd
FROM decisions j
  JOIN {taught} t ON j.trace_id = t.trace_id AND j.parent_id = t.span_id
    AND j.start_ns >= t.began_ns AND j.start_ns < t.ended_ns
  JOIN calls c ON c.decision_id = j.decision_id
WHERE j.parent_id IS NOT NULL AND j.role <> split_part(t.cell, '|', 1) AND c.tier IS NOT NULL
  AND j.start_ns >= $calls_from AND j.start_ns < $calls_to
  AND c.start_ns >= $calls_from AND c.start_ns < $calls_to
GROUP BY ALL ORDER BY ALL
"""

# Words of others than our own checks; ``task`` says that a word is on a whole trace.
OWN_WORDS: Final = f"""
SELECT e.evaluation_id, e.call_decision_id AS decision_id, e.source, e.score, e.rank,
  e.authenticated, e.received_ns, true AS own, 1.0 AS part,
  1.0 / greatest(coalesce(e.chance, 1.0), {CHANCE_MIN}) AS weight
FROM evaluations e
WHERE e.source <> 'check' AND e.score IS NOT NULL AND e.call_decision_id IS NOT NULL
  AND e.received_ns >= $words_from"""
# Of a decision's words those with proof decide, among them its own before those on its task, and
# among these the highest rank.
LABELS: Final = """
SELECT decision_id, avg(score) AS score, avg(weight) AS weight, any_value(part) AS part,
  any_value(own) AS own, any_value(authenticated) AS authenticated,
  min(received_ns) AS received_ns
FROM (
  SELECT *, authenticated::INTEGER * 1000 + own::INTEGER * 100 + rank AS weighs,
    max(weighs) OVER (PARTITION BY decision_id) AS best
  FROM {words}
) WHERE weighs = best GROUP BY decision_id"""

_IN_LEARNED: Final = (
    "minute >= $low AND minute < $high AND minute IN (SELECT minute FROM temp.learned)"
)
# Which minutes' evidence may have changed: those that changed, those of decisions whose attempts
# began in them, and those that share a trace, and so a task's label, with one of them.
LEARNED: Final[tuple[str, ...]] = (
    f"""
CREATE OR REPLACE TEMP TABLE task_words AS
SELECT evaluation_id, source, score, rank, authenticated, received_ns, call_trace_id AS trace_id,
  1.0 / greatest(coalesce(chance, 1.0), {CHANCE_MIN}) AS weight
FROM evaluations
WHERE source <> 'check' AND score IS NOT NULL AND call_trace_id IS NOT NULL
  AND call_span_id IS NULL AND call_decision_id IS NULL AND received_ns >= $since
""",
    f"""
CREATE OR REPLACE TEMP TABLE learned AS
SELECT minute FROM temp.due
UNION
SELECT DISTINCT {slot("d.start_ns")}
FROM temp.fresh f JOIN decisions d ON d.decision_id = f.decision_id
WHERE d.start_ns >= ($low - {CHAIN_MINUTES}) * {NS} AND d.start_ns < $high * {NS}
UNION
SELECT DISTINCT {slot("o.start_ns")}
FROM temp.task_words w JOIN decisions o ON o.trace_id = w.trace_id
WHERE o.start_ns >= $since AND w.trace_id IN (
  SELECT d.trace_id FROM decisions d JOIN temp.due t ON t.minute = {slot("d.start_ns")}
  WHERE d.start_ns >= $low * {NS} AND d.start_ns < $high * {NS}
)
""",
    # A verdict's evidence is that of the step which waited for it.
    f"""
INSERT INTO temp.learned
SELECT DISTINCT {slot("d.start_ns")} AS minute
FROM decisions j JOIN temp.learned l ON l.minute = {slot("j.start_ns")}
  JOIN decisions d ON d.trace_id = j.trace_id AND d.span_id = j.parent_id
WHERE j.parent_id IS NOT NULL
  AND j.start_ns >= ($low - {CHAIN_MINUTES}) * {NS} AND j.start_ns < $high * {NS}
  AND d.start_ns >= ($low - {CHAIN_MINUTES}) * {NS} AND d.start_ns < $high * {NS}
EXCEPT SELECT minute FROM temp.learned
""",
    "DELETE FROM temp.learned WHERE minute < $oldest",
)
LEARNED_RANGE: Final = "SELECT min(minute), max(minute) + 60, count(*) FROM temp.learned"
EVIDENCE: Final[tuple[str, ...]] = (
    f"DELETE FROM learning_attempts WHERE {_IN_LEARNED}",
    f"DELETE FROM learning_labels WHERE {_IN_LEARNED}",
    f"DELETE FROM learning_excess WHERE {_IN_LEARNED}",
    f"DELETE FROM learning_verdicts WHERE {_IN_LEARNED}",
    f"""
CREATE OR REPLACE TEMP TABLE taught AS
WITH made AS MATERIALIZED (
  SELECT d.decision_id, d.trace_id, d.span_id, d.attempts, d.start_ns, {CELL} AS cell, t.minute
  FROM decisions d JOIN temp.learned t ON t.minute = {slot("d.start_ns")}
  WHERE d.start_ns >= $low * {NS} AND d.start_ns < $high * {NS} AND {TEACHING}
), {CHAINS}
SELECT m.minute, m.cell, m.trace_id, m.span_id, m.start_ns, k.*
FROM taken k JOIN made m USING (decision_id)
""",
    """
INSERT INTO learning_attempts BY NAME
SELECT minute, cell, path, served, count(*) AS attempts,
  count(*) FILTER (flagged) AS flagged, count(*) FILTER (last) AS delivered,
  count(*) FILTER (last AND flagged) AS delivered_flagged,
  sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out,
  sum(tokens_cached)::BIGINT AS tokens_cached, sum(seconds) AS seconds
FROM temp.taught GROUP BY minute, cell, path, served ORDER BY minute
""",
    f"""
INSERT INTO learning_verdicts BY NAME
{VERDICTS.format(keys="t.minute, t.cell, t.path, t.served", taught="temp.taught")}
""",
    f"""
CREATE OR REPLACE TEMP TABLE words_taught AS
WITH said AS (
  SELECT w.*, t.minute, t.cell, t.start_ns
  FROM ({OWN_WORDS}) w JOIN temp.taught t ON t.decision_id = w.decision_id AND t.last
  UNION ALL BY NAME
  SELECT w.evaluation_id, d.decision_id, w.source, w.score, w.rank, w.authenticated, w.received_ns,
    false AS own, 1.0 / d.steps AS part, w.weight, t.minute, t.cell, t.start_ns
  FROM temp.task_words w
  JOIN (
    SELECT o.decision_id, o.trace_id, count(*) OVER (PARTITION BY o.trace_id) AS steps
    FROM decisions o ANTI JOIN (
      SELECT trace_id, span_id, role, start_ns, end_ns FROM decisions
      WHERE start_ns >= $since AND trace_id IN (SELECT trace_id FROM temp.task_words)
    ) p ON p.trace_id = o.trace_id AND p.span_id = o.parent_id AND p.role <> o.role
      AND o.start_ns >= p.start_ns AND o.start_ns < p.end_ns  -- a verdict on p is no step
    WHERE o.start_ns >= $since AND o.trace_id IN (SELECT trace_id FROM temp.task_words)
  ) d ON d.trace_id = w.trace_id
  JOIN temp.taught t ON t.decision_id = d.decision_id AND t.last
)
SELECT *, row_number() OVER (
    PARTITION BY start_ns // {NS}, cell, source, authenticated ORDER BY evaluation_id
  ) > CASE WHEN authenticated THEN {PROVEN_WORDS_PER_MINUTE} ELSE {OPEN_WORDS_PER_MINUTE} END
  AS excess
FROM said
""",
    """
INSERT INTO learning_excess BY NAME
SELECT minute, cell, source, count(*) AS words FROM temp.words_taught WHERE excess
GROUP BY minute, cell, source ORDER BY minute
""",
    f"""
INSERT INTO learning_labels BY NAME
WITH labels AS ({LABELS.format(words="temp.words_taught WHERE NOT excess")})
SELECT t.minute, t.cell, t.path, t.served, t.flagged, l.authenticated,
  count(*) AS labels, count(*) FILTER (NOT l.own) AS shared,
  sum(l.weight * l.part) AS w, sum(l.weight * l.weight * l.part) AS ww,
  sum(l.weight * l.part * l.score) AS wq, sum(l.weight * l.part * l.score * l.score) AS wqq
FROM labels l JOIN temp.taught t ON t.decision_id = l.decision_id AND t.last
GROUP BY t.minute, t.cell, t.path, t.served, t.flagged, l.authenticated ORDER BY t.minute
""",
)

_BEFORE: Final = CACHE_SECONDS // 60
_IN_TALKED: Final = (
    "minute >= $low AND minute < $talked AND minute IN (SELECT minute FROM temp.talked)"
)
# A step goes on with a conversation when one of the same conversation and role came at most
# ``CACHE_SECONDS`` before it: so long providers keep a prefix. What came late says so of the
# minutes after it too.
TALKS: Final[tuple[str, ...]] = (
    f"""
CREATE OR REPLACE TEMP TABLE talked AS
SELECT DISTINCT CASE WHEN minute < $edge THEN minute // 60 * 60 ELSE minute END AS minute
FROM (SELECT unnest(generate_series(
  minute, minute + {_BEFORE} + CASE WHEN minute < $edge THEN 59 ELSE 0 END)) AS minute
  FROM temp.learned)
""",
    f"DELETE FROM learning_talks WHERE {_IN_TALKED}",
    f"""
INSERT INTO learning_talks BY NAME
WITH near AS (
  SELECT DISTINCT unnest(generate_series(
    minute - {_BEFORE}, minute + CASE WHEN minute < $edge THEN 59 ELSE 0 END)) AS minute
  FROM temp.talked
), made AS MATERIALIZED (
  SELECT d.decision_id, d.start_ns, d.end_ns, d.tier_start, d.task, d.role, {CELL} AS cell,
    {TEACHING} AS teaches
  FROM decisions d JOIN near n ON n.minute = d.start_ns // {NS}
  WHERE d.start_ns >= ($low - {_BEFORE}) * {NS} AND d.start_ns < $talked * {NS}
    AND d.tier_start IS NOT NULL
), cached AS (
  SELECT m.decision_id, max(c.cache_read_tokens) AS tokens
  FROM made m JOIN calls c ON c.decision_id = m.decision_id AND c.tier = m.tier_start
  WHERE c.start_ns >= ($low - {_BEFORE}) * {NS}
    AND c.start_ns < ($talked + {CHAIN_MINUTES}) * {NS}
  GROUP BY m.decision_id
), told AS (
  SELECT *, lag(tier_start) OVER talk AS before, lag(end_ns) OVER talk AS before_ns FROM made
  WINDOW talk AS (PARTITION BY task, role ORDER BY start_ns, decision_id)
)
SELECT t.minute, o.cell, o.tier_start AS start,
  CASE WHEN o.start_ns - o.before_ns <= {CACHE_SECONDS * 1_000_000_000} THEN o.before ELSE '' END
    AS before,
  count(*) AS steps, coalesce(sum(c.tokens), 0)::BIGINT AS tokens_cached
FROM told o JOIN temp.talked t ON t.minute = {slot("o.start_ns")}
  LEFT JOIN cached c ON c.decision_id = o.decision_id
WHERE o.teaches GROUP BY ALL ORDER BY t.minute
""",
)

# A word on a trace's root span that is no call and no decision speaks of the whole task.
JOIN_TASKS: Final[tuple[str, ...]] = (
    """
CREATE OR REPLACE TEMP TABLE found_tasks AS
SELECT w.evaluation_id, w.trace_id
FROM temp.words w JOIN spans s ON s.trace_id = w.trace_id AND s.span_id = w.span_id
WHERE s.parent_id IS NULL AND s.start_ns >= $oldest AND s.received_ns > $seen
""",
    """
UPDATE evaluations SET call_trace_id = f.trace_id, joined = true
FROM temp.found_tasks f WHERE evaluations.evaluation_id = f.evaluation_id
""",
    f"""
INSERT INTO dirty
SELECT DISTINCT d.start_ns // {NS}
FROM temp.found_tasks f JOIN decisions d ON d.trace_id = f.trace_id
WHERE d.start_ns >= $oldest
""",
)

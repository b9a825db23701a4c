"""The statements behind savings: a roll-up of decisions by how they began and were answered.

Summed per minute (per hour further back) as a whole, like every roll-up. A step's usage is that of
the attempt whose answer was delivered; its cost is that of all attempts. *Warm* tokens are the
input that a single model would have had in its cache: the conversation's previous step of the same
role was answered by another model, at most ``CACHE_SECONDS`` earlier, and its input (at least
``CACHE_TOKENS_MIN``) is taken for a prefix of this one's.
"""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

from collector.rollup_queries import NS, slot

CACHE_SECONDS: Final = 300  # how long providers keep a prefix that nobody asks for
_CACHE_NS: Final = CACHE_SECONDS * 1_000_000_000
CACHE_TOKENS_MIN: Final = 1_024  # the shortest prefix that providers cache
CHAIN_MINUTES: Final = 60
_BEFORE: Final = CACHE_SECONDS // 60

MIGRATION: Final = """
ALTER TABLE calls ADD COLUMN IF NOT EXISTS shadow_of VARCHAR;
CREATE TABLE IF NOT EXISTS rollups_savings (
  minute BIGINT NOT NULL, kind VARCHAR NOT NULL, role VARCHAR NOT NULL, mode VARCHAR,
  tier_start VARCHAR, on_fail VARCHAR, tier VARCHAR, steps BIGINT NOT NULL,
  unknown BIGINT NOT NULL, cost_usd DOUBLE NOT NULL, input_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL, warm_tokens BIGINT NOT NULL
);
INSERT INTO dirty SELECT DISTINCT start_ns // 60000000000 FROM decisions;
"""

# A span that failed without having cost anything counts as a step of no tokens.
ROLL_UP: Final[tuple[str, ...]] = (
    """
DELETE FROM rollups_savings
WHERE minute >= $low AND minute < $high AND minute IN (SELECT minute FROM temp.due)
""",
    f"""
INSERT INTO rollups_savings BY NAME
WITH near AS (
  SELECT DISTINCT unnest(generate_series(
    minute - {_BEFORE}, minute + CASE WHEN minute < $edge THEN 59 ELSE 0 END)) AS minute
  FROM temp.due
), made AS MATERIALIZED (
  SELECT d.decision_id, d.start_ns, d.end_ns, d.role, d.mode, d.tier_start, d.on_fail, d.tier,
    d.model, d.task, d.cost_usd, d.dialect, d.reason
  FROM decisions d JOIN near n ON n.minute = d.start_ns // {NS}
  WHERE d.start_ns >= ($low - {_BEFORE}) * {NS} AND d.start_ns < $high * {NS}
), answered AS (
  SELECT m.decision_id, max_by(struct_pack(i := c.input_tokens, o := c.output_tokens,
    r := coalesce(c.cache_read_tokens, 0)), c.attempt) AS used
  FROM made m JOIN calls c ON c.decision_id = m.decision_id
    AND c.tier IS NOT DISTINCT FROM m.tier AND c.model IS NOT DISTINCT FROM m.model
  WHERE c.start_ns >= ($low - {_BEFORE}) * {NS} AND c.start_ns < ($high + {CHAIN_MINUTES}) * {NS}
  GROUP BY m.decision_id
), used AS (
  SELECT m.*, a.used.i AS tokens_in, a.used.o AS tokens_out, coalesce(a.used.r, 0) AS tokens_read,
    lag(m.model) OVER talk AS before_model, lag(m.end_ns) OVER talk AS before_ns,
    lag(a.used.i) OVER talk AS before_in
  FROM made m LEFT JOIN answered a USING (decision_id)
  WINDOW talk AS (PARTITION BY m.task, m.role ORDER BY m.start_ns, m.decision_id)
), told AS (
  SELECT t.minute, u.*,
    CASE WHEN u.tier = 'code' THEN 'code' WHEN u.dialect = 'embeddings' THEN 'embeddings'
      WHEN u.reason = 'caller_pin' THEN 'caller' ELSE 'step' END AS kind,
    u.cost_usd IS NOT NULL AND (
      (u.tokens_in IS NOT NULL AND u.tokens_out IS NOT NULL) OR u.cost_usd = 0) AS known,
    CASE WHEN u.before_model <> u.model AND u.start_ns - u.before_ns <= {_CACHE_NS}
        AND u.before_in >= {CACHE_TOKENS_MIN} AND u.tokens_in >= u.before_in
      THEN greatest(u.tokens_read, u.before_in) ELSE u.tokens_read END AS tokens_warm
  FROM used u JOIN temp.due t ON t.minute = {slot("u.start_ns")}
)
SELECT minute, kind, role, mode, tier_start, on_fail, tier,
  count(*) FILTER (known) AS steps, count(*) FILTER (NOT known) AS unknown,
  coalesce(sum(cost_usd) FILTER (known), 0) AS cost_usd,
  coalesce(sum(tokens_in) FILTER (known), 0)::BIGINT AS input_tokens,
  coalesce(sum(tokens_out) FILTER (known), 0)::BIGINT AS output_tokens,
  coalesce(sum(tokens_read) FILTER (known), 0)::BIGINT AS cache_read_tokens,
  coalesce(sum(tokens_warm) FILTER (known), 0)::BIGINT AS warm_tokens
FROM told GROUP BY ALL ORDER BY minute
""",
    f"""
INSERT INTO rollups_savings BY NAME
SELECT t.minute, 'shadow' AS kind, coalesce(c.role, '') AS role, c.mode,
  NULL::VARCHAR AS tier_start, NULL::VARCHAR AS on_fail, c.tier,
  count(c.cost_usd) AS steps, count(*) - count(c.cost_usd) AS unknown,
  coalesce(sum(c.cost_usd), 0) AS cost_usd,
  coalesce(sum(c.input_tokens), 0)::BIGINT AS input_tokens,
  coalesce(sum(c.output_tokens), 0)::BIGINT AS output_tokens,
  coalesce(sum(c.cache_read_tokens), 0)::BIGINT AS cache_read_tokens,
  coalesce(sum(c.cache_read_tokens), 0)::BIGINT AS warm_tokens
FROM calls c JOIN temp.due t ON t.minute = {slot("c.start_ns")}
WHERE c.shadow_of IS NOT NULL AND c.start_ns >= $low * {NS} AND c.start_ns < $high * {NS}
GROUP BY t.minute, c.role, c.mode, c.tier ORDER BY t.minute
""",
)

FLOWS: Final = """
SELECT kind, role, mode, tier_start, on_fail, tier, sum(steps)::BIGINT AS steps,
  sum(unknown)::BIGINT AS unknown, sum(cost_usd) AS cost_usd,
  sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
  sum(cache_read_tokens)::BIGINT AS cache_read_tokens, sum(warm_tokens)::BIGINT AS warm_tokens
FROM rollups_savings WHERE minute >= $from AND minute < $to GROUP BY ALL
"""
# A task is one whole here, whichever roles took part; steps that are overhead make no task.
TASKS: Final = f"""
SELECT count(*) AS tasks, count(passed) AS graded, count(*) FILTER (passed) AS passed FROM (
  SELECT task, bool_and(passed) AS passed FROM tasks
  WHERE start_ns >= $from * {NS} AND start_ns < $to * {NS}
    AND role IS NOT NULL AND NOT list_contains($overhead, role)
    AND task IN (SELECT task FROM decisions
      WHERE start_ns >= $from * {NS} AND start_ns < $to * {NS} + 86400000000000)
  GROUP BY task
)
"""

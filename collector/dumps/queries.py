"""The statements that count a loaded dump; values are bound by name, never spliced."""

# ruff: noqa: S608 - only constants of the marks are spliced in; values are bound

from typing import Final

from collector.dumps.marks import ANSWER, ASIDE, BAG, KIND, PLAIN, PROMPT, SEPARATOR, USER

NAMES_MAX: Final = 200  # of roles and of models; the rest is summed under one name
# Input sizes at which a provider may charge long contexts more.
_BRACKETS: Final = (32_000, 128_000, 200_000, 256_000, 272_000, 512_000)


def _mark(position: int) -> str:
    return f"split_part(attributes, '{SEPARATOR}', {position})"


_BRACKET: Final = " + ".join(f"(coalesce(input_tokens, 0) > {size})::INT" for size in _BRACKETS)
_FOLDED: Final = """
CASE WHEN role IS NULL THEN NULL WHEN role IN (SELECT unnest($roles)) THEN role
  ELSE 'other roles' END
"""

COUNTED: Final = f"counted AND {_mark(ASIDE)} = ''"

ROLES: Final = f"""
SELECT role FROM calls WHERE {COUNTED} AND role IS NOT NULL
GROUP BY role ORDER BY sum(cost_usd) DESC NULLS LAST, count(*) DESC, role LIMIT {NAMES_MAX}
"""
MODELS: Final = f"""
SELECT model FROM calls WHERE {COUNTED} AND model IS NOT NULL
GROUP BY model ORDER BY count(*) DESC, model LIMIT {NAMES_MAX}
"""

GROUPS: Final = f"""
SELECT {_FOLDED} AS role, {_mark(KIND)} AS kind,
  CASE WHEN model IS NULL OR model IN (SELECT unnest($models)) THEN model ELSE 'other models' END
    AS model,
  CASE WHEN model IN (SELECT unnest($models)) THEN provider END AS provider,
  CASE WHEN tier IN ('code', 'small', 'mid', 'frontier') THEN tier END AS tier,
  {_BRACKET} AS bracket, sign(cost_usd) AS paid,
  input_tokens IS NOT NULL AND output_tokens IS NOT NULL AS metered,
  min(model_requested) AS named, count(*) AS calls,
  count(*) FILTER (status = 2 OR error_type IS NOT NULL) AS errors,
  sum(input_tokens)::BIGINT AS input_tokens, sum(output_tokens)::BIGINT AS output_tokens,
  sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
  sum(cache_write_tokens)::BIGINT AS cache_write_tokens,
  sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
  coalesce(sum(cost_usd), 0) AS cost_usd, count(cost_usd) AS costed,
  count(quality) AS graded, coalesce(sum(quality), 0) AS quality_sum,
  coalesce(sum(quality * quality), 0) AS quality_squares
FROM calls WHERE {COUNTED}
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 1 NULLS LAST, 2, 3 NULLS LAST, 4 NULLS LAST, 5 NULLS LAST, 6, 7 NULLS LAST, 8
"""

SUMMARY: Final = f"""
SELECT min(start_ns) AS first_ns, max(start_ns) AS last_ns, count(DISTINCT task) AS tasks,
  coalesce(sum(weight), 0) AS weighted
FROM calls WHERE {COUNTED}
"""
DIALECTS: Final = f"""
SELECT dialect, count(*) AS calls FROM calls WHERE {COUNTED} GROUP BY 1 ORDER BY 2 DESC, 1
"""
ASIDES: Final = f"""
SELECT CASE WHEN NOT counted THEN uncounted_reason ELSE {_mark(ASIDE)} END AS reason,
  count(*) AS calls
FROM calls WHERE NOT ({COUNTED}) GROUP BY 1 ORDER BY 2 DESC, 1
"""
ORPHANS: Final = f"""
SELECT count(*) AS calls FROM calls WHERE {COUNTED} AND role IS NULL AND awaits IS NOT NULL
"""

_STEPS: Final = f"""
WITH said AS (
  SELECT {_FOLDED} AS role, CASE WHEN role IS NULL THEN {_mark(KIND)} END AS step_kind, task,
    start_ns, span_id, trace_id, input_tokens, cost_usd, cause, operation,
    status = 2 OR error_type IS NOT NULL AS failed, {_mark(PROMPT)} AS prompt,
    {_mark(USER)} AS said, {_mark(BAG)} AS bag, {_mark(ANSWER)} AS answer, {_mark(PLAIN)} AS plain
  FROM calls WHERE {COUNTED}
)
"""

GROWTH: Final = f"""
{_STEPS}, turns AS (
  SELECT role, step_kind, task, count(*) AS turns, arg_min(input_tokens, start_ns) AS first,
    arg_max(input_tokens, start_ns) AS last
  FROM said WHERE input_tokens IS NOT NULL AND operation <> 'embeddings'
  GROUP BY 1, 2, 3 HAVING count(*) > 1
)
SELECT role, step_kind, count(*) AS tasks, sum(turns)::BIGINT AS turns, avg(first) AS first_tokens,
  avg(last) AS last_tokens, sum(last - first) / sum(turns - 1) AS per_turn_tokens
FROM turns GROUP BY 1, 2
"""
TEXTS: Final = f"""
{_STEPS} SELECT role, step_kind, count(*) AS calls FROM said WHERE prompt <> '' GROUP BY 1, 2
"""
# A retry, a failover or an escalation asks again on purpose; a failed call had no answer.
DUPLICATES: Final = f"""
{_STEPS}, numbered AS (
  SELECT role, step_kind, cost_usd,
    row_number() OVER (PARTITION BY prompt ORDER BY start_ns, span_id) AS number
  FROM said WHERE prompt <> '' AND NOT failed AND coalesce(cause, 'start') = 'start'
)
SELECT role, step_kind, count(*) AS calls, coalesce(sum(cost_usd), 0) AS usd
FROM numbered WHERE number > 1 GROUP BY 1, 2
"""
# Every other wording of the same telling words in a task, once.
REPHRASINGS: Final = f"""
{_STEPS}, wordings AS (
  SELECT role, step_kind, task, bag, said, min(start_ns) AS first_ns,
    arg_min(cost_usd, start_ns) AS usd
  FROM said WHERE bag <> '' AND NOT failed AND coalesce(cause, 'start') = 'start'
  GROUP BY 1, 2, 3, 4, 5
), numbered AS (
  SELECT *, row_number() OVER (
    PARTITION BY role, step_kind, task, bag ORDER BY first_ns, said) AS number
  FROM wordings
)
SELECT role, step_kind, count(*) AS calls, coalesce(sum(usd), 0) AS usd
FROM numbered WHERE number > 1 GROUP BY 1, 2
"""
PLAIN_WAYS: Final = f"""
{_STEPS}
SELECT role, step_kind, plain AS way, count(*) AS calls, count(DISTINCT answer) AS answers,
  coalesce(sum(cost_usd), 0) AS usd, arg_min(trace_id || ':' || span_id, start_ns) AS example
FROM said WHERE plain <> '' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Steps where no input that came twice was ever answered in two ways.
LOOKUPS: Final = f"""
{_STEPS}, inputs AS (
  SELECT role, step_kind, said, count(*) AS calls, count(DISTINCT answer) AS answers,
    min(answer) AS answer, coalesce(sum(cost_usd), 0) AS usd,
    arg_min(trace_id || ':' || span_id, start_ns) AS example
  FROM said WHERE said <> '' AND answer <> '' AND NOT failed GROUP BY 1, 2, 3 HAVING count(*) > 1
)
SELECT role, step_kind, sum(calls)::BIGINT AS calls, count(DISTINCT answer) AS answers,
  sum(usd) AS usd, min(example) AS example
FROM inputs GROUP BY 1, 2 HAVING max(answers) = 1
"""

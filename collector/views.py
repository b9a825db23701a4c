"""The views that people may rely on; docs/store.md describes them, a test keeps the two equal."""

from typing import Final

VIEWS: Final = (
    """
CREATE OR REPLACE VIEW v_calls AS
SELECT make_timestamp_ns(start_ns) AS started_at, (end_ns - start_ns) / 1e9 AS seconds,
  trace_id, span_id, parent_id, service, dialect, operation, role, role_from, tier, mode, plan,
  task, provider, model, model_requested, model_served, input_tokens, output_tokens,
  cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, cost_source,
  cost_reported_usd, finish_reason, response_id, conversation_id, first_chunk_seconds,
  http_status, status = 2 OR error_type IS NOT NULL AS failed, error_type, decision_id, attempt,
  cause, escalated_from, quality, quality_source, weight
FROM calls WHERE counted
""",
    """
CREATE OR REPLACE VIEW v_attempts AS
SELECT * FROM v_calls WHERE decision_id IS NOT NULL
""",
    """
CREATE OR REPLACE VIEW v_decisions AS
SELECT make_timestamp_ns(start_ns) AS started_at, (end_ns - start_ns) / 1e9 AS seconds,
  decision_id, trace_id, span_id, parent_id, role, role_source, role_unknown, dialect, mode, plan,
  task, key_name, tier_start, on_fail, string_split(offered, ',') AS offered, propensity, reason,
  explore, pinned, policy_hash, revision, tier, model, attempts, escalated_from,
  escalated_from IS NOT NULL AS escalated, cost_usd, quality, quality_source, overhead_ms,
  http_status, status = 2 OR error_type IS NOT NULL AS failed, error_type, cell
FROM decisions
""",
    """
CREATE OR REPLACE VIEW v_quality AS
SELECT make_timestamp_ns(time_ns) AS at, name, source, score, score_raw, label, comment,
  authenticated, joined, decision_id, trace_id, span_id, response_id
FROM evaluations
""",
    """
CREATE OR REPLACE VIEW v_spans AS
SELECT trace_id, span_id, parent_id, make_timestamp_ns(start_ns) AS started_at,
  (end_ns - start_ns) / 1e9 AS seconds, name, status, service, 'call' AS kind FROM calls
UNION ALL SELECT trace_id, span_id, parent_id, make_timestamp_ns(start_ns),
  (end_ns - start_ns) / 1e9, name, status, NULL, 'decision' FROM decisions
UNION ALL SELECT trace_id, span_id, parent_id, make_timestamp_ns(start_ns),
  (end_ns - start_ns) / 1e9, name, status, service, 'span' FROM spans
""",
    """
CREATE OR REPLACE VIEW v_minutes AS
SELECT make_timestamp_ns(minute * 60000000000) AS minute, role, tier, model, mode, calls, weighted,
  errors, input_tokens, output_tokens, cache_read_tokens, tokens_known, cost_usd, cost_known,
  graded, quality_sum / nullif(graded, 0) AS quality
FROM rollups
""",
)

"""The tables of the store, as numbered steps; a step that was released is never changed."""

from typing import Any, Final, Protocol

from collector import latency_queries, savings_queries, texts
from telemetry.errors import ConfigError


class Connection(Protocol):
    """The part of a database connection that migrations use."""

    def execute(self, query: str, parameters: object = ..., /) -> "Connection": ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


_M001: Final = """
CREATE TABLE spans (
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_id VARCHAR,
  start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, received_ns BIGINT NOT NULL,
  name VARCHAR NOT NULL, kind TINYINT NOT NULL, status TINYINT NOT NULL, error_type VARCHAR,
  service VARCHAR, scope VARCHAR, dialect VARCHAR, operation VARCHAR, role VARCHAR,
  weight DOUBLE NOT NULL, attributes VARCHAR
);
CREATE TABLE calls (
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_id VARCHAR,
  start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, received_ns BIGINT NOT NULL,
  name VARCHAR NOT NULL, status TINYINT NOT NULL, error_type VARCHAR,
  service VARCHAR, scope VARCHAR, dialect VARCHAR NOT NULL, operation VARCHAR NOT NULL,
  role VARCHAR, role_from VARCHAR, awaits VARCHAR,
  counted BOOLEAN NOT NULL, uncounted_reason VARCHAR,
  tier VARCHAR, mode VARCHAR, plan VARCHAR, task VARCHAR NOT NULL,
  provider VARCHAR, model_requested VARCHAR, model_served VARCHAR, model VARCHAR,
  input_tokens BIGINT, output_tokens BIGINT, cache_read_tokens BIGINT, cache_write_tokens BIGINT,
  reasoning_tokens BIGINT, cost_usd DOUBLE, cost_source VARCHAR, cost_reported_usd DOUBLE,
  finish_reason VARCHAR, response_id VARCHAR, conversation_id VARCHAR,
  first_chunk_seconds DOUBLE, http_status BIGINT, decision_id VARCHAR, attempt BIGINT,
  cause VARCHAR, escalated_from VARCHAR, quality DOUBLE, quality_source VARCHAR,
  weight DOUBLE NOT NULL, latency_bucket SMALLINT NOT NULL, attributes VARCHAR,
  quality_rank TINYINT
);
CREATE TABLE decisions (
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_id VARCHAR,
  start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, received_ns BIGINT NOT NULL,
  name VARCHAR NOT NULL, status TINYINT NOT NULL, decision_id VARCHAR NOT NULL,
  role VARCHAR NOT NULL, role_source VARCHAR, role_unknown VARCHAR, dialect VARCHAR,
  mode VARCHAR, plan VARCHAR, task VARCHAR NOT NULL, key_name VARCHAR,
  tier_start VARCHAR, on_fail VARCHAR, offered VARCHAR, propensity DOUBLE, reason VARCHAR,
  explore BOOLEAN NOT NULL, pinned BOOLEAN NOT NULL, policy_hash VARCHAR, revision VARCHAR,
  tier VARCHAR, model VARCHAR, attempts BIGINT, escalated_from VARCHAR, cost_usd DOUBLE,
  quality DOUBLE, quality_source VARCHAR, overhead_ms DOUBLE, http_status BIGINT,
  error_type VARCHAR, latency_bucket SMALLINT NOT NULL, attributes VARCHAR,
  quality_rank TINYINT
);
CREATE TABLE logs (
  log_id VARCHAR NOT NULL, time_ns BIGINT NOT NULL, received_ns BIGINT NOT NULL,
  trace_id VARCHAR, span_id VARCHAR, severity TINYINT NOT NULL, event_name VARCHAR,
  service VARCHAR, scope VARCHAR, body VARCHAR, attributes VARCHAR
);
CREATE TABLE evaluations (
  evaluation_id VARCHAR NOT NULL, time_ns BIGINT NOT NULL, received_ns BIGINT NOT NULL,
  decision_id VARCHAR, trace_id VARCHAR, span_id VARCHAR, response_id VARCHAR,
  name VARCHAR NOT NULL, source VARCHAR NOT NULL, score DOUBLE, score_raw DOUBLE, label VARCHAR,
  comment VARCHAR, authenticated BOOLEAN NOT NULL, rank TINYINT NOT NULL,
  joined BOOLEAN NOT NULL DEFAULT false, call_trace_id VARCHAR, call_span_id VARCHAR,
  call_decision_id VARCHAR
);
CREATE TABLE dirty (minute BIGINT NOT NULL);
CREATE TABLE rollups (
  minute BIGINT NOT NULL, role VARCHAR, tier VARCHAR, model VARCHAR, mode VARCHAR,
  calls BIGINT NOT NULL, weighted DOUBLE NOT NULL, errors BIGINT NOT NULL,
  input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
  tokens_known BIGINT NOT NULL, cost_usd DOUBLE NOT NULL, cost_known BIGINT NOT NULL,
  graded BIGINT NOT NULL, quality_sum DOUBLE NOT NULL, graded_cost_usd DOUBLE NOT NULL,
  foreign_graded BIGINT NOT NULL, foreign_quality_sum DOUBLE NOT NULL
);
CREATE TABLE rollups_latency (
  minute BIGINT NOT NULL, role VARCHAR, tier VARCHAR, bucket SMALLINT NOT NULL,
  calls DOUBLE NOT NULL
);
CREATE TABLE rollups_decisions (
  minute BIGINT NOT NULL, role VARCHAR NOT NULL, tier VARCHAR, mode VARCHAR,
  decisions BIGINT NOT NULL, escalated BIGINT NOT NULL, failed BIGINT NOT NULL,
  explored BIGINT NOT NULL, pinned BIGINT NOT NULL, attempts BIGINT NOT NULL,
  cost_usd DOUBLE NOT NULL, cost_known BIGINT NOT NULL,
  graded BIGINT NOT NULL, quality_sum DOUBLE NOT NULL
);
CREATE TABLE tasks (
  role VARCHAR, task VARCHAR NOT NULL, start_ns BIGINT NOT NULL,
  calls BIGINT NOT NULL, cost_usd DOUBLE, passed BOOLEAN
);
CREATE TABLE rollups_tasks (
  minute BIGINT NOT NULL, role VARCHAR, tasks BIGINT NOT NULL, cost_usd DOUBLE NOT NULL,
  costed BIGINT NOT NULL, graded BIGINT NOT NULL, passed BIGINT NOT NULL,
  graded_cost_usd DOUBLE NOT NULL
);
CREATE TABLE state (name VARCHAR NOT NULL, value BIGINT NOT NULL);
INSERT INTO state VALUES ('hourly_before_minute', 0);
CREATE TABLE notes (name VARCHAR NOT NULL, at_ns BIGINT NOT NULL, amount BIGINT NOT NULL);
"""

_M002: Final = "ALTER TABLE decisions ADD COLUMN cell VARCHAR"

_M003: Final = """
ALTER TABLE evaluations ADD COLUMN chance DOUBLE;
CREATE TABLE learning_attempts (
  minute BIGINT NOT NULL, cell VARCHAR NOT NULL, path VARCHAR NOT NULL, served VARCHAR NOT NULL,
  attempts BIGINT NOT NULL, flagged BIGINT NOT NULL, delivered BIGINT NOT NULL,
  delivered_flagged BIGINT NOT NULL, tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL,
  tokens_cached BIGINT NOT NULL, seconds DOUBLE NOT NULL
);
CREATE TABLE learning_labels (
  minute BIGINT NOT NULL, cell VARCHAR NOT NULL, path VARCHAR NOT NULL, served VARCHAR NOT NULL,
  flagged BOOLEAN NOT NULL, authenticated BOOLEAN NOT NULL, labels BIGINT NOT NULL,
  shared BIGINT NOT NULL, w DOUBLE NOT NULL, ww DOUBLE NOT NULL, wq DOUBLE NOT NULL,
  wqq DOUBLE NOT NULL
);
CREATE TABLE learning_excess (
  minute BIGINT NOT NULL, cell VARCHAR NOT NULL, source VARCHAR NOT NULL, words BIGINT NOT NULL
);
INSERT INTO state VALUES ('rolled_up_ns', 0);
INSERT INTO dirty SELECT DISTINCT start_ns // 60000000000 FROM decisions;
"""

# Steps that the tier `code` handed on count apart from escalations; sums are made again.
_M006: Final = """
ALTER TABLE rollups_decisions ADD COLUMN abstained BIGINT DEFAULT 0;
INSERT INTO dirty SELECT DISTINCT start_ns // 60000000000 FROM decisions;
"""

# Steps by where their conversation stood; those of the last two days count.
_M007: Final = """
CREATE TABLE learning_talks (
  minute BIGINT NOT NULL, cell VARCHAR NOT NULL, start VARCHAR NOT NULL, before VARCHAR NOT NULL,
  steps BIGINT NOT NULL, tokens_cached BIGINT NOT NULL
);
INSERT INTO dirty SELECT DISTINCT start_ns // 60000000000 FROM decisions
WHERE start_ns >= (SELECT max(start_ns) FROM decisions) - 172800000000000;
"""

# A step that escalated and failed all the same counts once, as escalated; sums are made again.
_M009: Final = """
INSERT INTO dirty SELECT DISTINCT start_ns // 60000000000 FROM decisions;
"""

# Before which minute facts were removed. Until now that was by any minute, so where sums may reach
# further back than facts, the hour of the first fact may hold a part of its own only.
_M010: Final = """
INSERT INTO state
WITH facts AS (
  SELECT min(start_ns) // 3600000000000 * 60 AS hour
  FROM (SELECT start_ns FROM calls UNION ALL SELECT start_ns FROM decisions)
), sums AS (
  SELECT min(minute) AS first, max(minute) // 60 * 60 AS hour
  FROM (SELECT minute FROM rollups UNION ALL SELECT minute FROM rollups_decisions)
)
SELECT 'pruned_before_minute', CASE
  WHEN facts.hour IS NULL THEN coalesce(sums.hour, 0)
  WHEN sums.first < facts.hour OR facts.hour < state.value THEN facts.hour
  ELSE 0 END
FROM facts, sums, state WHERE state.name = 'hourly_before_minute';
"""

# What verdicts on the way of a step cost. Older gateways did not say whose step waited for them.
_M011: Final = """
CREATE TABLE learning_verdicts (
  minute BIGINT NOT NULL, cell VARCHAR NOT NULL, path VARCHAR NOT NULL, served VARCHAR NOT NULL,
  tier VARCHAR NOT NULL, tokens_in BIGINT NOT NULL, tokens_out BIGINT NOT NULL,
  tokens_cached BIGINT NOT NULL, cost_usd DOUBLE NOT NULL
);
"""

MIGRATIONS: Final[tuple[tuple[int, str], ...]] = (
    (1, _M001),
    (2, _M002),
    (3, _M003),
    (4, savings_queries.MIGRATION),
    (5, texts.MIGRATION),
    (6, _M006),
    (7, _M007),
    (8, latency_queries.MIGRATION),
    (9, _M009),
    (10, _M010),
    (11, _M011),
)


def migrate(connection: Connection, *, now_ns: int) -> int:
    """Apply the steps that the file has not seen, each in a transaction; return its version.

    Raises:
        ConfigError: when a newer tierwise wrote the file.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER NOT NULL, at_ns BIGINT NOT NULL)"
    )
    row = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
    assert row is not None
    version = int(row[0])
    newest = MIGRATIONS[-1][0]
    if version > newest:
        raise ConfigError(
            f"the store has format {version}, this tierwise knows formats up to {newest}",
            hint="start the newer tierwise that wrote it, or name another store file",
        )
    for number, script in MIGRATIONS:
        if number > version:
            connection.execute("BEGIN")
            connection.execute(script)
            connection.execute("INSERT INTO migrations VALUES ($1, $2)", [number, now_ns])
            connection.execute("COMMIT")
    return newest

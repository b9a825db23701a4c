"""Every metric of /metrics: name, labels, meaning. docs/telemetry.md's table is made from it."""

from typing import Final, Literal, NamedTuple

from telemetry import names


class Metric(NamedTuple):
    """One metric of /metrics, as documented."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


_OVERHEAD_BUCKETS = (
    0.0001, 0.0002, 0.0003, 0.0004, 0.0006, 0.001, 0.0015, 0.0025, 0.005, 0.01, 0.05, 0.25,
)  # fmt: skip
_CONVENTION_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

METRICS: Final = (
    Metric(
        "tierwise_steps_total",
        "counter",
        ("role", "tier", "reason", "status"),
        "steps, by the tier that answered, reason and status class",
    ),
    Metric(
        "tierwise_attempts_total",
        "counter",
        ("tier", "model", "cause", "result"),
        "model calls; result: ok, flagged by a check, 4xx, 5xx, no_answer",
    ),
    Metric(
        "tierwise_tokens_total",
        "counter",
        ("role", "tier", "type"),
        "tokens; input includes cache_read and cache_write, output includes reasoning",
    ),
    Metric(
        "tierwise_cost_usd_total",
        "counter",
        ("role", "tier", "model"),
        "US dollars of all model calls whose cost is known",
    ),
    Metric(
        "tierwise_check_errors_total",
        "counter",
        ("check",),
        "checks that crashed or ran out of time; never the answer's fault",
    ),
    Metric(
        "tierwise_check_disabled",
        "gauge",
        ("check",),
        "1 while a check's error budget keeps it from being asked; it abstains meanwhile",
    ),
    Metric(
        "tierwise_rejections_total",
        "counter",
        ("code",),
        "requests refused before a decision, by error code",
    ),
    Metric(
        "tierwise_budget_refused_total",
        "counter",
        ("scope",),
        "calls that a budget of the scope had no room for",
    ),
    Metric(
        "tierwise_budget_cheapest_total",
        "counter",
        ("scope",),
        "steps that a spent budget of the scope sent to the cheapest tier",
    ),
    Metric(
        "tierwise_shadow_runs_total",
        "counter",
        ("role", "tier", "result"),
        "steps drawn to be run again; result: run, or why not: budget, busy, dropped, no_model, "
        "too_large, fault",
    ),
    Metric(
        "tierwise_graded_total",
        "counter",
        ("role", "result"),
        "answers drawn for a role's graders; result: graded, silent (none had a word), or why not: "
        "unread, busy, late, fault",
    ),
    Metric(
        "tierwise_budget_spent_ratio",
        "gauge",
        ("scope", "name"),
        "spent today of a role's, a key's or the day's budget; 1 is all of it",
    ),
    Metric("tierwise_unknown_cost_total", "counter", (), "model calls whose cost is unknown"),
    Metric(
        "tierwise_overhead_seconds",
        "histogram",
        (),
        "tierwise's own share of a step's latency",
        _OVERHEAD_BUCKETS,
    ),
    Metric(
        "tierwise_step_seconds",
        "histogram",
        ("role",),
        "a step from decision to last byte",
        names.DURATION_BUCKETS,
    ),
    Metric("tierwise_in_flight", "gauge", (), "steps being served now"),
    Metric(
        "tierwise_loop_lag_seconds",
        "gauge",
        (),
        "how late the event loop ran its last timer; requests wait behind it too",
    ),
    Metric(
        "tierwise_policy_reloads_total",
        "counter",
        ("result",),
        "policy and configuration reloads; result is ok or failed",
    ),
    Metric(
        "tierwise_revision_active",
        "gauge",
        (),
        "1 while a revision of the learner decides, 0 while only the declared policy does",
    ),
    Metric(
        "tierwise_revision_confirmed_timestamp_seconds",
        "gauge",
        (),
        "unix time when the collector last said which revision is in force",
    ),
    Metric(
        "tierwise_revision_fetches_total",
        "counter",
        ("result",),
        "answers on which revision is in force; result: new, same, refused, failed",
    ),
    Metric("tierwise_telemetry_recorded_total", "counter", (), "steps handed to the exporter"),
    Metric(
        "tierwise_telemetry_exported_total",
        "counter",
        ("endpoint", "signal"),
        "spans, log records and metrics that an endpoint accepted",
    ),
    Metric(
        "tierwise_telemetry_dropped_total",
        "counter",
        ("endpoint", "signal", "cause"),
        "those given up, by cause",
    ),
    Metric(
        "tierwise_telemetry_retries_total",
        "counter",
        ("endpoint",),
        "requests that will be tried again",
    ),
    Metric(
        "tierwise_telemetry_spooled_total",
        "counter",
        (),
        "records written to disk while the collector was away",
    ),
    Metric("tierwise_telemetry_replayed_total", "counter", (), "records delivered from disk"),
    Metric(
        "tierwise_telemetry_spool_errors_total",
        "counter",
        (),
        "spool operations that failed: disk full, read-only, no permission",
    ),
    Metric(
        "tierwise_telemetry_spool_skipped_files_total",
        "counter",
        (),
        "spool files that were torn or corrupt",
    ),
    Metric(
        "tierwise_telemetry_spool_bytes", "gauge", (), "bytes on disk that wait for the collector"
    ),
    Metric(
        "tierwise_telemetry_faults_total",
        "counter",
        (),
        "faults of telemetry itself; routing went on",
    ),
    Metric(
        "gen_ai_client_token_usage",
        "histogram",
        (*_CONVENTION_LABELS, "gen_ai_token_type"),
        "tokens per model call, by the conventions",
        tuple(float(b) for b in names.TOKEN_BUCKETS),
    ),
    Metric(
        "gen_ai_client_operation_duration_seconds",
        "histogram",
        (*_CONVENTION_LABELS, "error_type"),
        "duration of model calls, by the conventions",
        names.DURATION_BUCKETS,
    ),
)

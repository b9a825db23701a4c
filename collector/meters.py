"""The collector's own metrics, on a registry of their own; every label's values are bounded."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_COMMIT_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Meters:
    """Counts what came in, what was kept and what was refused, and why."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_intake(self.registry)
        self._watch_the_store(self.registry)
        self._watch_the_learner(self.registry)
        self._watch_the_sinks(self.registry)

    def _count_intake(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tierwise_collector_requests",
            "Export requests by signal, transport and answer",
            ("signal", "transport", "answer"),
            registry=registry,
        )
        self.received = Counter(
            "tierwise_collector_received",
            "Spans, log records and data points that came in",
            ("signal",),
            registry=registry,
        )
        self.stored = Counter("tierwise_collector_stored", "Rows committed", registry=registry)
        self.duplicates = Counter(
            "tierwise_collector_duplicates", "Rows that were stored already", registry=registry
        )
        self.rejected = Counter(
            "tierwise_collector_rejected",
            "Spans and log records that were refused, by reason",
            ("signal", "reason"),
            registry=registry,
        )
        self.dropped = Counter(
            "tierwise_collector_dropped",
            "Records in requests answered 503 or 400 after decoding; senders keep the former",
            ("reason",),
            registry=registry,
        )
        self.feedback_capped = Counter(
            "tierwise_collector_feedback_capped",
            "Feedback refused because its source had given its hour's worth without a token",
            registry=registry,
        )
        self.uncoerced = Counter(
            "tierwise_collector_uncoerced_values",
            "Values of known attributes that could not be read",
            registry=registry,
        )
        self.truncated = Counter(
            "tierwise_collector_truncated", "Spans that lost attributes to a limit",
            registry=registry,
        )  # fmt: skip
        self.biased = Counter(
            "tierwise_collector_biased_spans",
            "Spans that a sampler kept for what became of them",
            registry=registry,
        )

    def _watch_the_store(self, registry: CollectorRegistry) -> None:
        self.corrections = Counter(
            "tierwise_collector_corrections",
            "Stored calls whose role or counting changed when an ancestor arrived",
            registry=registry,
        )
        self.queue = Gauge(
            "tierwise_collector_queue", "Rows that wait for the store", registry=registry
        )
        self.commit_seconds = Histogram(
            "tierwise_collector_commit_seconds", "Time of one group commit",
            buckets=_COMMIT_BUCKETS, registry=registry,
        )  # fmt: skip
        self.stage_seconds = Counter(
            "tierwise_collector_stage_seconds",
            "Time spent by stage",
            ("stage",),
            registry=registry,
        )
        self.store_errors = Counter(
            "tierwise_collector_store_errors", "Commits, roll-ups and prunings that failed",
            ("work",), registry=registry,
        )  # fmt: skip
        self.store_up = Gauge(
            "tierwise_collector_store_up", "1 while the last commit worked", registry=registry
        )
        self.store_up.set(1)

    def _watch_the_sinks(self, registry: CollectorRegistry) -> None:
        self.notify_tries = Counter(
            "tierwise_collector_notify_tries",
            "Tries to tell a sink something, by what they came to",
            ("sink", "result"),
            registry=registry,
        )
        self.notify_dead = Counter(
            "tierwise_collector_notify_dead",
            "Messages that were given up, by reason",
            ("sink", "reason"),
            registry=registry,
        )
        self.notify_pending = Gauge(
            "tierwise_collector_notify_pending", "Messages that wait for a sink", ("sink",),
            registry=registry,
        )  # fmt: skip
        self.notify_up = Gauge(
            "tierwise_collector_notify_up",
            "1 while a sink can be used: set up, and not disabled by its receiver",
            ("sink",),
            registry=registry,
        )
        self.notify_acknowledged = Gauge(
            "tierwise_collector_notify_acknowledged_timestamp_seconds",
            "Unix time at which a sink last acknowledged anything; 0: never",
            ("sink",),
            registry=registry,
        )

    def _watch_the_learner(self, registry: CollectorRegistry) -> None:
        self.learner_seconds = Histogram(
            "tierwise_collector_learner_seconds", "Time of one tick of the learner",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30), registry=registry,
        )  # fmt: skip
        self.learner_revisions = Counter(
            "tierwise_collector_learner_revisions",
            "Revisions that the learner handed in, by what became of them then",
            ("status",), registry=registry,
        )  # fmt: skip
        self.learner_alarms = Counter(
            "tierwise_collector_learner_alarms",
            "Changes that detectors found in what a tier delivers to a role",
            ("change",), registry=registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)

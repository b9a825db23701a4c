"""What /metrics shows: counters, gauges and histograms with bounded label sets.

With PROMETHEUS_MULTIPROC_DIR set before the first import, every worker writes its own files
there and any of them renders the sum; otherwise this process' registry is rendered. The two
histograms of OpenTelemetry's conventions stand here and go out over OTLP as well.
"""

import logging
import math
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from telemetry import names
from telemetry.conventions import ConventionMetrics
from telemetry.metric_table import METRICS, Metric
from telemetry.records import Attempt, Context, Decision, Dialect, Outcome, Result
from telemetry.tallies import Mirror, Spread, Tally

MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
OTHER: Final = "other"
ERRORS_MAX: Final = 32  # distinct error types told apart; the rest is `_OTHER`
BUNDLES_MAX: Final = 4_096  # remembered sets of bound children
_OTHER_ERROR = "_OTHER"
_TOKEN_TYPES = ("input", "output", "cache_read", "cache_write", "reasoning")
_BOUNDS: Final = {metric.name: metric.buckets for metric in METRICS if metric.kind == "histogram"}
_MULTI_MODES = {
    "tierwise_in_flight": "livesum",
    "tierwise_telemetry_spool_bytes": "livesum",
    "tierwise_loop_lag_seconds": "livemax",
    "tierwise_budget_spent_ratio": "livemax",
    "tierwise_check_disabled": "livemax",
    "tierwise_revision_active": "livemin",
    "tierwise_revision_confirmed_timestamp_seconds": "livemin",
}
_log = logging.getLogger("tierwise.telemetry")


class _StepBundle(NamedTuple):
    steps: Tally
    seconds: Spread


class _AttemptBundle(NamedTuple):
    attempts: Tally
    tokens: tuple[Tally, ...]  # input, output, cache_read, cache_write, reasoning
    cost: Tally
    usage: tuple[Spread, Spread]  # input, output
    duration: Spread


class Meters:
    """All metrics of one process, which has one thread that uses them.

    What is counted gathers in plain numbers until ``publish`` or ``render``. Counting never
    raises: a fault is counted, and logged once.
    """

    def __init__(
        self, *, roles: Iterable[str] = (), tiers: Iterable[str] = (), models: Iterable[str] = ()
    ) -> None:
        self.registry = CollectorRegistry()
        self._metrics = {metric.name: self._made(metric) for metric in METRICS}
        self.conventions = ConventionMetrics()
        self._tallies: dict[tuple[str, ...], Tally] = {}
        self._mirrors: dict[tuple[str, ...], Mirror] = {}
        self._steps: dict[tuple[object, ...], _StepBundle] = {}
        self._attempts: dict[tuple[object, ...], _AttemptBundle] = {}
        self._errors: set[str] = set()
        self._overhead = self._spread("tierwise_overhead_seconds")
        self._unknown_cost = self._tally("tierwise_unknown_cost_total")
        self._checks_disabled: dict[str, bool] = {}
        self._in_flight = 0
        self._fault_logged = False
        self.know(roles=roles, tiers=tiers, models=models)

    def _made(self, metric: Metric) -> Any:
        if metric.kind == "counter":
            return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)
        if metric.kind == "gauge":
            mode: Any = _MULTI_MODES[metric.name]
            return Gauge(
                metric.name,
                metric.meaning,
                metric.labels,
                registry=self.registry,
                multiprocess_mode=mode,
            )
        return Histogram(
            metric.name,
            metric.meaning,
            metric.labels,
            buckets=metric.buckets,
            registry=self.registry,
        )

    def know(self, *, roles: Iterable[str], tiers: Iterable[str], models: Iterable[str]) -> None:
        """Take the policy's names as label values; any other name becomes `other`."""
        self._roles, self._tiers, self._models = (
            frozenset(roles),
            frozenset(tiers),
            frozenset(models),
        )
        self._steps.clear()
        self._attempts.clear()
        for check in self._checks_disabled:  # a new policy asks all of its checks
            self.check_disabled(check, False)

    def render(self) -> bytes:
        """Return the text of /metrics: in multiprocess mode of all workers, as last published."""
        self.publish()
        if os.environ.get(MULTIPROC_DIR):
            whole = CollectorRegistry()
            MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
            return generate_latest(whole)
        return generate_latest(self.registry)

    def publish(self) -> None:
        """Carry over what has gathered; call it some times a second."""
        gathered: tuple[Tally | Mirror, ...] = (*self._tallies.values(), *self._mirrors.values())
        for one in gathered:
            try:
                one.publish()
            except Exception:  # noqa: BLE001 - one odd number must not cost the others
                self.fault("a number could not be published")
        self._metrics["tierwise_in_flight"].set(self._in_flight)

    # Steps -------------------------------------------------------------------------------------

    def step_begins(self) -> None:
        """Count a step in flight."""
        self._in_flight += 1

    def step_ends(self) -> None:
        """Count it out again."""
        self._in_flight -= 1

    def rejected(self, code: str) -> None:
        """Count a request that was refused before its decision."""
        self.count("tierwise_rejections_total", labels=(code,))

    def check_crashed(self, check: str) -> None:
        """Count a check that broke."""
        self.count("tierwise_check_errors_total", labels=(check,))

    def check_disabled(self, check: str, disabled: bool) -> None:
        """Show whether a check is asked at all; call it with every answer it might have judged."""
        if self._checks_disabled.get(check, False) != disabled:
            self._checks_disabled[check] = disabled
            self._metrics["tierwise_check_disabled"].labels(check).set(int(disabled))

    def observe(self, decision: Decision, outcome: Outcome) -> None:
        """Count a step and its attempts."""
        try:
            self._observe(decision, outcome)
        except Exception:  # noqa: BLE001 - metrics must not break a request, whatever they are given
            self.fault("a step could not be counted")

    def _observe(self, decision: Decision, outcome: Outcome) -> None:
        context, attempts = decision.context, outcome.attempts
        answering = outcome.answering
        tier = answering.tier if answering else decision.arm.tier
        key = (context.role, tier, decision.reason, outcome.status // 100)
        bundle = self._steps.get(key)
        if bundle is None:
            bundle = self._step_bundle(key)
        bundle.steps.pending += 1
        bundle.seconds.record((outcome.ended_ns - decision.at_ns) / 1e9)
        if outcome.overhead_seconds is not None:
            self._overhead.record(outcome.overhead_seconds)
        for attempt in attempts:
            self._observe_attempt(context, attempt)

    def _observe_attempt(self, context: Context, attempt: Attempt) -> None:
        key = (
            context.role, attempt.tier, attempt.model, attempt.provider, attempt.request_model,
            context.dialect, attempt.cause, _result(attempt), attempt.error_type,
        )  # fmt: skip
        bundle = self._attempts.get(key)
        if bundle is None:
            bundle = self._attempt_bundle(key)
        bundle.attempts.pending += 1
        tokens = attempt.tokens
        counts = (
            tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning
        )  # fmt: skip
        for tally, count in zip(bundle.tokens, counts, strict=True):
            if count and count > 0:
                tally.pending += count
        for spread, count in zip(bundle.usage, counts, strict=False):
            if count is not None:
                spread.record(count)
        cost = attempt.cost_usd
        if cost is None or not 0 <= cost < math.inf:
            self._unknown_cost.pending += 1
        else:
            bundle.cost.pending += cost
        bundle.duration.record((attempt.ended_ns - attempt.started_ns) / 1e9)

    def _step_bundle(self, key: tuple[Any, ...]) -> _StepBundle:
        role, tier, reason, status_class = key
        role = _bounded(role, self._roles)
        bundle = _StepBundle(
            self._tally(
                "tierwise_steps_total", role, _bounded(tier, self._tiers), reason,
                f"{status_class}xx" if 1 <= status_class <= 5 else OTHER,
            ),
            self._spread("tierwise_step_seconds", role),
        )  # fmt: skip
        _remember(self._steps, key, bundle)
        return bundle

    def _attempt_bundle(self, key: tuple[Any, ...]) -> _AttemptBundle:
        role, tier, model, provider, request_model, dialect, cause, result, error = key
        role, tier = _bounded(role, self._roles), _bounded(tier, self._tiers)
        if model not in self._models:
            model = provider = request_model = OTHER
        operation = "embeddings" if dialect is Dialect.EMBEDDINGS else "chat"
        called = (operation, provider, request_model)
        error = self._error_label(error)
        attributes: dict[str, object] = {
            names.OPERATION: operation, names.PROVIDER: provider, names.REQUEST_MODEL: request_model
        }  # fmt: skip
        bundle = _AttemptBundle(
            self._tally("tierwise_attempts_total", tier, model, cause, result),
            tuple(self._tally("tierwise_tokens_total", role, tier, kind) for kind in _TOKEN_TYPES),
            self._tally("tierwise_cost_usd_total", role, tier, model),
            (self._usage(attributes, called, "input"), self._usage(attributes, called, "output")),
            self._duration(attributes, called, error),
        )
        _remember(self._attempts, key, bundle)
        return bundle

    def _usage(
        self, attributes: Mapping[str, object], called: tuple[str, ...], kind: str
    ) -> Spread:
        spread = self.conventions.token_usage.spread({**attributes, names.TOKEN_TYPE: kind})
        return self._mirrored(spread, "gen_ai_client_token_usage", *called, kind)

    def _duration(
        self, attributes: Mapping[str, object], called: tuple[str, ...], error: str
    ) -> Spread:
        if error:
            attributes = {**attributes, names.ERROR_TYPE: error}
        spread = self.conventions.operation_duration.spread(attributes)
        return self._mirrored(spread, "gen_ai_client_operation_duration_seconds", *called, error)

    def _error_label(self, error: object) -> str:
        if not isinstance(error, str) or not error:
            return ""
        if error not in self._errors:
            if len(self._errors) >= ERRORS_MAX or len(error) > 64:
                return _OTHER_ERROR
            self._errors.add(error)
        return error

    # Everything else ---------------------------------------------------------------------------

    def policy_reloaded(self, *, ok: bool) -> None:
        """Count a reload of the policy or the configuration."""
        self.count("tierwise_policy_reloads_total", labels=("ok" if ok else "failed",))

    def loop_lag(self, seconds: float) -> None:
        """Show how late a timer ran."""
        self._metrics["tierwise_loop_lag_seconds"].set(max(0.0, seconds))

    def count(self, metric: str, amount: int = 1, *, labels: tuple[str, ...] = ()) -> None:
        """Add to a counter."""
        self._tally(metric, *labels).pending += amount

    def budget_spent(self, scope: str, name: str, ratio: float) -> None:
        """Show how much of one of today's budgets is spent; the names are the policy's own."""
        self._metrics["tierwise_budget_spent_ratio"].labels(scope, name).set(ratio)

    def revision_active(self, active: bool) -> None:
        """Show whether a revision decides."""
        self._metrics["tierwise_revision_active"].set(int(active))

    def revision_confirmed(self, at_seconds: float) -> None:
        """Show when the collector last said which revision is in force, as unix time."""
        self._metrics["tierwise_revision_confirmed_timestamp_seconds"].set(at_seconds)

    def spool_bytes(self, amount: int) -> None:
        """Show what waits on disk."""
        self._metrics["tierwise_telemetry_spool_bytes"].set(amount)

    def fault(self, what: str) -> None:
        """Count a fault of telemetry itself; call it in an ``except`` block."""
        self.count("tierwise_telemetry_faults_total")
        if not self._fault_logged:
            self._fault_logged = True
            _log.exception("telemetry: %s; further faults are only counted", what)

    def value(self, metric: str, labels: Mapping[str, str] | None = None) -> float:
        """Return this process' value of a counter or gauge; 0 when it was never touched."""
        self.publish()
        return self.registry.get_sample_value(metric, dict(labels or {})) or 0.0

    def _tally(self, name: str, *labels: str) -> Tally:
        key = (name, *labels)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(self._child(name, labels))
        return tally

    def _spread(self, name: str, *labels: str) -> Spread:
        key = (name, *labels)
        mirror = self._mirrors.get(key)
        return mirror.spread if mirror else self._mirrored(Spread(_BOUNDS[name]), *key)

    def _mirrored(self, spread: Spread, name: str, *labels: str) -> Spread:
        key = (name, *labels)
        if key not in self._mirrors:
            self._mirrors[key] = Mirror(spread, self._child(name, labels))
        return spread

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        metric = self._metrics[name]
        return metric.labels(*labels) if labels else metric


def forget_process(pid: int) -> None:
    """Take the gauges of a dead worker out of the sums; the supervisor calls it."""
    if os.environ.get(MULTIPROC_DIR):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _remember(bundles: dict[Any, Any], key: object, bundle: object) -> None:
    if len(bundles) >= BUNDLES_MAX:
        bundles.clear()
    bundles[key] = bundle


def _bounded(value: object, known: Collection[str]) -> str:
    return value if isinstance(value, str) and value in known else OTHER


def _result(attempt: Attempt) -> str:
    status = attempt.status
    if status is None:
        return "no_answer"
    if status >= 500:
        return "5xx"
    if status >= 400:
        return "4xx"
    if any(verdict.result is Result.FAIL for verdict in attempt.verdicts):
        return "flagged"
    return "ok" if attempt.error_type is None else "no_answer"

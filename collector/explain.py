"""One decision, whole: what was asked, what was offered, what was tried and what came of it."""

from typing import Any

from collector import queries
from collector.store import Rows, Store

_CALL_FIELDS = (
    "span_id", "attempt", "cause", "tier", "model", "provider", "model_requested", "model_served",
    "start_ns", "end_ns", "http_status", "error_type", "finish_reason", "input_tokens",
    "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd",
    "cost_source", "first_chunk_seconds", "escalated_from", "quality", "quality_source",
    "response_id", "status",
)  # fmt: skip
_WORD_FIELDS = (
    "name", "source", "score", "score_raw", "label", "comment", "authenticated", "time_ns",
    "span_id", "response_id",
)  # fmt: skip


def explain(store: Store, decision_id: str) -> dict[str, Any] | None:
    """Return everything that is stored about a decision, or None when it is not known (yet)."""
    found = store.read(queries.DECISION, {"id": decision_id})
    if not found:
        return None
    decision = found[0]
    calls = store.read(queries.DECISION_CALLS, {"id": decision_id})
    words = store.read(
        queries.DECISION_WORDS,
        {
            "id": decision_id,
            "trace": decision["trace_id"],
            "spans": [decision["span_id"], *(call["span_id"] for call in calls)],
            "responses": [call["response_id"] for call in calls if call["response_id"]],
        },
    )
    decision["offered"] = decision["offered"].split(",") if decision["offered"] else []
    decision["seconds"] = (decision["end_ns"] - decision["start_ns"]) / 1e9
    attempts = [_picked(call, _CALL_FIELDS) for call in calls]
    feedback = [word for word in words if word["source"].startswith("feedback:")]
    verdicts = [word for word in words if not word["source"].startswith("feedback:")]
    return {
        "decision": decision,
        "attempts": attempts,
        "verdicts": [_picked(word, _WORD_FIELDS) for word in verdicts],
        "feedback": [_picked(word, _WORD_FIELDS) for word in feedback],
    }


def recent(
    store: Store, *, limit: int, before_ns: int, role: str | None = None, task: str | None = None
) -> Rows:
    """Return decisions that began before ``before_ns``, newest first."""
    return store.read(
        queries.DECISIONS, {"limit": limit, "before": before_ns, "role": role, "task": task}
    )


def _picked(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}

"""Rows of LiteLLM's spend logs and Langfuse's observations as the spans they were.

Each row becomes the attributes that the same product puts on its spans, and goes through the
receiver's own table of dialects, so a call counts the same whichever way it came.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from collector.canonical import add_span
from collector.decode import DAY_NS, TIME_MIN_NS, Reception
from collector.dumps.marks import mark
from collector.dumps.texts import texts_of
from collector.frame import Frame
from collector.reading import VALUE_CHARS_MAX, read_plain
from collector.rows import Batch, Refusal
from evals.audit.texts import marks_of

Record = Mapping[str, Any]
Pairs = list[tuple[str, Any]]
_GENERATIONS: Final = frozenset({"generation", "embedding", "llm", "chat"})
# Langfuse's older names of the same counts.
_USAGE_NAMES: Final = {"promptTokens": "prompt_tokens", "completionTokens": "completion_tokens"}


def is_litellm(record: Record) -> bool:
    """Say whether a record is a row of LiteLLM_SpendLogs."""
    return "request_id" in record and ("spend" in record or "call_type" in record)


def is_langfuse(record: Record) -> bool:
    """Say whether a record is an observation of Langfuse."""
    if "id" not in record:
        return False
    return ("traceId" in record or "trace_id" in record) and any(
        key in record for key in ("type", "model", "usageDetails", "usage_details", "usage")
    )


def add_litellm(batch: Batch, record: Record, reception: Reception) -> None:
    """Add one row of the spend logs: one call; a cache hit costs nothing again."""
    request = _text(record.get("request_id"))
    session = _text(record.get("session_id")) or _text(record.get("trace_id")) or request
    metadata = _opened(record.get("metadata"))
    failed = _text(record.get("status")) == "failure"
    pairs: Pairs = [
        ("gen_ai.operation.name", _operation(_text(record.get("call_type")))),
        ("gen_ai.provider.name", _text(record.get("custom_llm_provider")) or None),
        ("gen_ai.request.model", _text(record.get("model")) or None),
        ("gen_ai.usage.input_tokens", record.get("prompt_tokens")),
        ("gen_ai.usage.output_tokens", record.get("completion_tokens")),
        ("litellm.cost.total", record.get("spend")),
        ("gen_ai.response.id", request or None),
        ("gen_ai.conversation.id", _text(record.get("session_id")) or None),
        ("metadata.role", _role(record, metadata)),
        ("error.type", "failure" if failed else None),
        *_litellm_usage(metadata),
    ]
    if _text(record.get("cache_hit")).lower() == "true":
        pairs.append(("hidden_params", {"cache_key": _text(record.get("cache_key")) or "hit"}))
    said: Pairs = [("messages", record.get("messages")), ("response", record.get("response"))]
    frame = _frame(
        record, reception, batch, ids=(session, request), name="litellm_request",
        keys=("startTime", "endTime"),
    )  # fmt: skip
    if frame is not None:
        frame.scope, frame.status = "litellm", 2 if failed else 0
        _add(batch, frame, pairs, said, reception)


def add_langfuse(batch: Batch, record: Record, reception: Reception) -> None:
    """Add one observation: a generation is a call, anything else a span around calls."""
    kind = _text(record.get("type")).lower() or ("generation" if record.get("model") else "span")
    metadata = _opened(record.get("metadata"))
    usage = _usage(record)
    details = _opened(_first(record, "costDetails", "cost_details"))
    total = _first(record, "calculatedTotalCost", "totalCost", "total_cost")
    model = _first(record, "model", "providedModelName", "provided_model_name")
    pairs: Pairs = [
        ("langfuse.observation.type", kind),
        ("langfuse.observation.model.name", _text(model) or None),
        ("langfuse.observation.usage_details", usage or None),
        ("langfuse.observation.cost_details", details or ({"total": total} if total else None)),
        ("langfuse.observation.metadata.role", _text(metadata.get("role")) or None),
        ("langfuse.session.id", _text(_first(record, "sessionId", "session_id")) or None),
    ]
    if kind == "agent":
        pairs.append(("gen_ai.agent.name", _text(record.get("name")) or None))
    said: Pairs = [("input", record.get("input")), ("output", record.get("output"))]
    trace = _text(_first(record, "traceId", "trace_id"))
    frame = _frame(
        record, reception, batch, ids=(trace, _text(record.get("id"))),
        name=_text(record.get("name")) or kind,
        keys=("startTime", "start_time", "endTime", "end_time"),
    )  # fmt: skip
    if frame is None:
        return
    parent = _text(_first(record, "parentObservationId", "parent_observation_id"))
    frame.parent_id = _span_id(parent) if parent else None
    frame.scope = "langfuse-sdk"
    frame.status = 2 if _text(record.get("level")).upper() == "ERROR" else 0
    _add(batch, frame, pairs, said if kind in _GENERATIONS else [], reception)


def _add(batch: Batch, frame: Frame, pairs: Pairs, said: Pairs, reception: Reception) -> None:
    calls = len(batch.calls)
    reading = read_plain((key, value) for key, value in pairs if value is not None)
    add_span(batch, frame, reading, pricing=reception.pricing)
    if len(batch.calls) > calls:
        texts = texts_of((key, value) for key, value in said if value)
        mark(batch.calls[-1], None if texts is None else marks_of(texts))


def _frame(
    record: Record,
    reception: Reception,
    batch: Batch,
    *,
    ids: tuple[str, str],
    name: str,
    keys: tuple[str, ...],
) -> Frame | None:
    """Return identity and times of a row; a row without them is refused, as the receiver does."""
    trace, span = ids
    if not trace or not span:
        batch.reject(Refusal.TRACE_ID if not trace else Refusal.SPAN_ID)
        return None
    half = len(keys) // 2
    start_ns = moment_ns(_first(record, *keys[:half]))
    end_ns = moment_ns(_first(record, *keys[half:]))
    if start_ns is None or not TIME_MIN_NS <= start_ns <= reception.received_ns + DAY_NS:
        batch.reject(Refusal.TIME)
        return None
    if end_ns is None or not start_ns <= end_ns <= start_ns + 366 * DAY_NS:
        end_ns = start_ns
    return Frame(
        _trace_id(trace), _span_id(span), None, start_ns, end_ns, reception.received_ns,
        name[:VALUE_CHARS_MAX], 3, 0, None, None, 1.0,
    )  # fmt: skip


def moment_ns(value: Any) -> int | None:
    """Return unix nanoseconds of an ISO time (UTC unless it says otherwise) or a unix time.

    >>> moment_ns("2026-06-01T00:00:00Z"), moment_ns("2026-06-01 00:00:00")
    (1780272000000000000, 1780272000000000000)
    >>> moment_ns(1780272000), moment_ns("yesterday")
    (1780272000000000000, None)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        for unit in (1_000_000_000, 1_000_000, 1_000, 1):  # seconds, milli-, micro-, nanoseconds
            if TIME_MIN_NS <= value * unit < 2**63:
                return int(value * unit)
        return None
    try:
        parsed = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    whole = int(parsed.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + parsed.microsecond * 1_000


def _operation(call_type: str) -> str:
    if "embedding" in call_type:
        return "embeddings"
    return "text_completion" if "text_completion" in call_type else "chat"


def _role(record: Record, metadata: Record) -> str | None:
    """Return the role that the caller's metadata or the first tag ``role:name`` gives."""
    for holder in (metadata, _opened(metadata.get("requester_metadata"))):
        role = _text(holder.get("role")) or _text(holder.get("agent_name"))
        if role:
            return role
    tags = record.get("request_tags")
    if isinstance(tags, str):
        tags = _decoded(tags)
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str) and tag.startswith("role:"):
            return tag.removeprefix("role:") or None
    return None


def _litellm_usage(metadata: Record) -> Pairs:
    """Return the cached and reasoning tokens that LiteLLM keeps in its metadata."""
    usage = _opened(metadata.get("usage_object"))
    prompt = _opened(usage.get("prompt_tokens_details"))
    written = _opened(usage.get("completion_tokens_details"))
    return [
        ("gen_ai.usage.cache_read.input_tokens",
         _first(usage, "cache_read_input_tokens") or prompt.get("cached_tokens")),
        ("gen_ai.usage.cache_write.input_tokens", usage.get("cache_creation_input_tokens")),
        ("gen_ai.usage.reasoning.output_tokens", written.get("reasoning_tokens")),
    ]  # fmt: skip


def _usage(record: Record) -> dict[str, Any]:
    """Return the usage by Langfuse's names; flat columns of a CSV and old ones too."""
    usage = _opened(_first(record, "usageDetails", "usage_details", "usage"))
    found = {_USAGE_NAMES.get(key, key): value for key, value in usage.items() if value is not None}
    for name, keys in {
        "prompt_tokens": ("promptTokens", "inputUsage", "input_usage", "inputTokens"),
        "completion_tokens": ("completionTokens", "outputUsage", "output_usage", "outputTokens"),
    }.items():
        plain = "input" if name == "prompt_tokens" else "output"
        value = _first(record, *keys)
        if value not in (None, "") and name not in found and plain not in found:
            found[name] = value
    return found


def _first(record: Record, *keys: str) -> Any:
    return next((record[key] for key in keys if record.get(key) not in (None, "")), None)


def _opened(value: Any) -> Record:
    """Return an object, also one written as JSON in a string; an empty one for anything else."""
    found = _decoded(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _trace_id(text: str) -> str:
    return _id(text, size=16)


def _span_id(text: str) -> str:
    return _id(text, size=8)


def _id(text: str, *, size: int) -> str:
    """Return an id of the right size: its own when it is one, else a hash of it."""
    plain = text.replace("-", "").lower()
    if len(plain) == 2 * size and all(c in "0123456789abcdef" for c in plain) and plain.strip("0"):
        return plain
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=size).hexdigest()

"""Spans and verdicts of a step as OTLP bytes.

What recurs is encoded once: name, kind, status and the recurring attributes of a span are one
remembered block, so a usual span costs two look-ups and its few single values.
"""

import struct
from typing import Final

from telemetry import names
from telemetry.otlp import VALUE_CHARS_MAX, KeyValues, field, fixed64, text, varint
from telemetry.records import Attempt, Decision, Outcome, Result, Verdict
from telemetry.spans import LAYOUTS, Layout, Span

BLOCKS_MAX: Final = 4_096  # remembered groups of recurring attributes, per kind of span
BLOCK_CHARS_MAX: Final = 2_048  # values longer than this in all are not worth remembering
NAME_CHARS_MAX: Final = 512
_CONTENT = (names.INPUT_MESSAGES, names.OUTPUT_MESSAGES)
_STATUS_ERROR = b"\x7a\x02\x18\x02"
_HAS_REMOTE = 0x100
_IS_REMOTE = 0x200
_SEVERITY_INFO, _SEVERITY_WARN = 9, 13

# Start (field 7) and end (8) as fixed64, flags (16, whose tag takes two bytes) as fixed32.
_pack_times = struct.Struct("<BQBQHI").pack


class SpanEncoder:
    """Encodes spans as entries of the `spans` field of a `ScopeSpans`."""

    def __init__(
        self, *, chars_max: int = VALUE_CHARS_MAX, content_chars_max: int = VALUE_CHARS_MAX
    ) -> None:
        values = KeyValues(9, chars_max=chars_max)
        self._values = values
        self._blocks: dict[Layout, dict[tuple[object, ...], bytes]] = {}
        self._single = {}
        self._recurring = {}
        for layout in LAYOUTS:
            self._blocks[layout] = {}
            self._recurring[layout] = [values.encoder(k, k.kind) for k in layout.recurring]
            self._single[layout] = [
                values.encoder(k, k.kind, chars_max=content_chars_max if k in _CONTENT else None)
                for k in layout.single
            ]

    def encode(self, span: Span) -> bytes:
        """Return the span's bytes, tag included.

        Raises:
            ValueError, TypeError, struct.error: an id or a time is not one.
        """
        layout, _, trace_id, span_id, parent, remote, sampled, start, end, *_ = span
        blocks = self._blocks[layout]
        block = blocks.get(span.recurring)
        if block is None:
            block = self._block(span)
            if len(blocks) >= BLOCKS_MAX:
                blocks.clear()
            if _small(span.recurring):
                blocks[span.recurring] = block
        flags = sampled | _HAS_REMOTE | (_IS_REMOTE if remote and parent else 0)
        parts = [
            b"\x0a\x10", _id(trace_id, 16), b"\x12\x08", _id(span_id, 8),
            b"\x22\x08" + _id(parent, 8) if parent else b"",
            _pack_times(0x39, start, 0x41, end, 0x0185, flags),
            block,
        ]  # fmt: skip
        for encode, value in zip(self._single[layout], span.single, strict=True):
            if value is not None:
                parts.append(encode(value))
        if span.extra:
            parts.append(self._values.any(dict(span.extra)))
        if span.event is not None:
            parts.append(field(11, fixed64(1, end) + field(2, span.event.encode())))
        body = b"".join(parts)
        return b"\x12" + varint(len(body)) + body

    def _block(self, span: Span) -> bytes:
        parts = [
            field(5, text(span.name, chars_max=NAME_CHARS_MAX)),
            b"\x30" + varint(span.layout.kind),
            _STATUS_ERROR if span.failed else b"",
        ]
        for encode, value in zip(self._recurring[span.layout], span.recurring, strict=True):
            if value is not None:
                parts.append(encode(value))
        return b"".join(parts)


class VerdictEncoder:
    """Encodes verdicts as `gen_ai.evaluation.result` log events, children of their attempts."""

    def __init__(self, *, chars_max: int = VALUE_CHARS_MAX) -> None:
        keys = (
            names.EVALUATION_NAME, names.EVALUATION_SCORE, names.EVALUATION_LABEL,
            names.EVALUATION_EXPLANATION, names.EVALUATION_VERSION, names.RESPONSE_ID,
            names.DECISION_ID, names.ROLE, names.TIER, names.EVALUATION_CHANCE,
        )  # fmt: skip
        values = KeyValues(6, chars_max=chars_max)
        self._encoders = [values.encoder(key, key.kind) for key in keys]

    def encode(self, decision: Decision, outcome: Outcome) -> list[bytes]:
        """Return one log record per verdict, tag included; raises as ``SpanEncoder.encode``."""
        return [
            self._record(decision, outcome, attempt, verdict)
            for attempt in outcome.attempts
            for verdict in attempt.verdicts
        ]

    def _record(
        self, decision: Decision, outcome: Outcome, attempt: Attempt, verdict: Verdict
    ) -> bytes:
        values = (
            verdict.check, verdict.score, verdict.result, verdict.reason or None, verdict.version,
            attempt.response_id, decision.decision_id, decision.context.role, attempt.tier,
            verdict.chance,
        )  # fmt: skip
        failed = verdict.result is Result.FAIL
        body = b"".join((
            fixed64(1, attempt.ended_ns),
            fixed64(11, outcome.ended_ns),
            b"\x10" + varint(_SEVERITY_WARN if failed else _SEVERITY_INFO),
            *(
                encode(value)
                for encode, value in zip(self._encoders, values, strict=True)
                if value is not None
            ),
            b"\x45" + int(outcome.sampled).to_bytes(4, "little"),
            field(9, _id(outcome.trace_id, 16)),
            field(10, _id(attempt.span_id, 8)),
            field(12, names.EVALUATION_EVENT.encode()),
        ))  # fmt: skip
        return field(2, body)


def _small(values: tuple[object, ...]) -> bool:
    return sum(len(value) for value in values if isinstance(value, str)) <= BLOCK_CHARS_MAX


def _id(hexadecimal: str, length: int) -> bytes:
    raw = bytes.fromhex(hexadecimal)
    if len(raw) != length:
        raise ValueError(f"id {hexadecimal!r} is not {2 * length} hex digits")
    return raw

"""What was asked and answered, of our own gateway's calls, where both sides record it.

Off unless the gateway sends text (`telemetry.content`) and the collector keeps it
(`collector.content`). Kept as long as spans are.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collector.frame import Frame
from collector.rows import Batch, TextRow
from telemetry.names import INPUT_MESSAGES, OUTPUT_MESSAGES, SCOPE

TEXT_CHARS_MAX: Final = 1_048_576
KEY_BYTES: Final = 64  # in which an encoded attribute's key stands, when it is short
_KEYS: Final = (INPUT_MESSAGES.encode(), OUTPUT_MESSAGES.encode())

MIGRATION: Final = """
CREATE TABLE IF NOT EXISTS texts (
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, start_ns BIGINT NOT NULL,
  received_ns BIGINT NOT NULL, request VARCHAR, answer VARCHAR
);
"""


def encoded_pairs(attributes: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the keys and string values of those encoded ``KeyValue`` messages that are texts."""
    for raw in attributes:
        if any(key in raw[:KEY_BYTES] for key in _KEYS):
            pair = KeyValue.FromString(raw)
            yield pair.key, pair.value.string_value


def add_texts(batch: Batch, frame: Frame, pairs: Iterable[tuple[str, Any]]) -> None:
    """Keep the texts among the attributes of our gateway's call; longer ones are cut."""
    if frame.scope != SCOPE:
        return
    found = {
        key: value[:TEXT_CHARS_MAX]
        for key, value in pairs
        if key in (INPUT_MESSAGES, OUTPUT_MESSAGES) and isinstance(value, str) and value
    }
    if found:
        batch.texts.append(
            TextRow(
                trace_id=frame.trace_id,
                span_id=frame.span_id,
                start_ns=frame.start_ns,
                received_ns=frame.received_ns,
                request=found.get(INPUT_MESSAGES),
                answer=found.get(OUTPUT_MESSAGES),
            )
        )

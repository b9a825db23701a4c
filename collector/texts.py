"""What was asked and answered, of our own gateway's calls, where both sides record it.

Off unless the gateway sends text (`telemetry.content`) and the collector keeps it
(`collector.content`). Kept as long as spans are.
"""

from collections.abc import Iterable
from typing import Any, Final

from collector.frame import Frame
from collector.rows import Batch, TextRow
from telemetry.names import INPUT_MESSAGES, OUTPUT_MESSAGES, SCOPE

TEXT_CHARS_MAX: Final = 1_048_576

MIGRATION: Final = """
CREATE TABLE IF NOT EXISTS texts (
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, start_ns BIGINT NOT NULL,
  received_ns BIGINT NOT NULL, request VARCHAR, answer VARCHAR
);
"""


def proto_pairs(attributes: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    """Yield the keys and string values of protobuf attributes."""
    return ((attribute.key, attribute.value.string_value) for attribute in attributes)


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

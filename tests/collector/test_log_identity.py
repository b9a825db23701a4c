"""One record is one record, in whichever encoding it comes."""

import copy
import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.decode import Reception
from collector.duckdb_store import DuckDBStore
from collector.events import decode_logs
from collector.log_identity import identity, json_identity
from tests.collector.conftest import pricing
from tests.collector.otlp import NOW_NS, put

RECEPTION = Reception(received_ns=NOW_NS + 10**9, pricing=pricing())

ANY: dict[str, Any] = {
    "text": "é \U0001f600", "empty": "", "yes": True, "no": False, "zero": 0, "below": -(2**63),
    "whole": 2.0, "part": 0.1, "huge": 1e300, "endless": float("inf"), "minus": -0.0,
    "raw": b"\x00\xff", "list": ["a", 1, [2.5, False]], "none": [],
}  # fmt: skip


def record(**more: Any) -> Any:
    """Return a record with a value of every kind."""
    made = LogRecord(
        time_unix_nano=NOW_NS, observed_time_unix_nano=NOW_NS + 5,
        severity_text="INFO", trace_id=b"\x0a" * 16, span_id=b"\xb0" * 8, event_name="happened",
        flags=1, dropped_attributes_count=2,
    )  # fmt: skip
    made.severity_number = 9  # type: ignore[assignment]
    made.body.string_value = "claude_code.api_request"
    for key, value in (ANY | more).items():
        put(made.attributes, key, value)
    inner = made.attributes.add(key="map").value.kvlist_value.values.add(key="inner")
    inner.value.int_value = 7
    made.attributes.add(key="unset").value.SetInParent()
    return made


def as_json(made: Any) -> dict[str, Any]:
    """Return the record as OTLP/JSON writes it: ids in hex, 64-bit numbers as text."""
    written = MessageToDict(made, use_integers_for_enums=True)
    written |= {"traceId": made.trace_id.hex(), "spanId": made.span_id.hex()}
    plain: dict[str, Any] = json.loads(json.dumps(written))
    return plain


def test_a_record_is_the_same_in_protobuf_and_in_json() -> None:
    assert json_identity(as_json(record())) == identity(record())


def test_other_spellings_of_the_same_json_are_the_same_record() -> None:
    written = as_json(record())
    other = copy.deepcopy(written)
    other["timeUnixNano"] = int(other["timeUnixNano"])
    other["traceId"] = other["traceId"].upper()
    other["attributes"].reverse()
    for attribute in other["attributes"]:
        if attribute["key"] == "zero":
            attribute["value"] = {"intValue": 0}
        if attribute["key"] == "whole":
            attribute["value"] = {"doubleValue": 2}
    assert json_identity(dict(reversed(other.items()))) == json_identity(written)


def test_fields_that_say_nothing_make_no_other_record() -> None:
    bare = LogRecord(time_unix_nano=NOW_NS)
    spelled = LogRecord(time_unix_nano=NOW_NS, trace_id=bytes(16), span_id=bytes(8))
    spelled.body.SetInParent()
    written: dict[str, Any] = {"traceId": "", "body": {}, "severityText": None}
    written["timeUnixNano"] = str(NOW_NS)
    assert identity(spelled) == identity(bare) == json_identity(written)


@pytest.mark.parametrize(
    "change",
    [
        {"time_unix_nano": NOW_NS + 1}, {"event_name": "other"}, {"span_id": b"\x01" * 8},
        {"trace_id": b"\x01" * 16}, {"severity_number": 10}, {"flags": 0},
    ],
)  # fmt: skip
def test_whatever_differs_makes_another_record(change: dict[str, Any]) -> None:
    other = record()
    for field, value in change.items():
        setattr(other, field, value)
    changed = as_json(other)
    assert identity(other) != identity(record())
    assert json_identity(changed) != json_identity(as_json(record()))


@pytest.mark.parametrize(("key", "value"), [("zero", 0.0), ("zero", "0"), ("no", 0), ("new", "")])
def test_another_attribute_or_another_type_makes_another_record(key: str, value: Any) -> None:
    other = record(**{key: value})
    assert identity(copy.deepcopy(other)) != identity(record())
    assert json_identity(as_json(other)) == identity(other)


def test_a_record_in_both_encodings_is_stored_and_counted_once(store: DuckDBStore) -> None:
    request = ExportLogsServiceRequest()
    made = request.resource_logs.add().scope_logs.add().log_records.add()
    made.time_unix_nano = NOW_NS
    made.body.string_value = "claude_code.api_request"
    put(made.attributes, "model", "claude-sonnet-4-5")
    put(made.attributes, "input_tokens", "100")
    put(made.attributes, "output_tokens", "10")
    put(made.attributes, "session.id", "s")
    written = {"resourceLogs": [{"scopeLogs": [{"logRecords": [as_json(made)]}]}]}
    for batch in (
        decode_logs(request.SerializeToString(), RECEPTION),
        decode_logs(json.dumps(written).encode(), RECEPTION, json=True),
    ):
        assert (len(batch.logs), len(batch.calls)) == (1, 1)
        store.write([batch], now_ns=NOW_NS)
    counts = store.query("SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM calls)",
                         rows_max=1, seconds_max=5.0)  # fmt: skip
    assert list(counts.rows[0]) == [1, 1]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["stringValue", "intValue", "doubleValue", "bytesValue", "boolValue",
                         "arrayValue", "kvlistValue", "values", "key", "value"]), inner, max_size=3
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(plain, plain, plain)
def test_json_of_any_shape_has_an_identity(body: Any, value: Any, field: Any) -> None:
    attributes = [{"key": "a", "value": value}, {"key": field}, {"value": value}]
    log = {"body": body, "flags": field, "traceId": field, "attributes": attributes}
    assert json_identity(copy.deepcopy(log)) == json_identity(log)


def test_deep_json_has_an_identity() -> None:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(300):
        value = {"arrayValue": {"values": [value]}}
    assert len(json_identity({"body": value})) == 32

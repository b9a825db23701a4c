"""Each dialect's fixture, in both encodings, becomes the rows that stand beside it."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.decode import Reception, decode_traces
from collector.dialects import DIALECTS
from collector.events import decode_logs
from collector.lineage import Lineage
from collector.rows import Batch
from tests.collector.conftest import pricing
from tests.collector.otlp import NOW_NS

FIXTURES = sorted((Path(__file__).parent / "dialects").glob("*.json"))
SECRET = "secret"


def value(plain: Any) -> dict[str, Any]:
    if isinstance(plain, bool):
        return {"boolValue": plain}
    if isinstance(plain, int):
        return {"intValue": str(plain)}
    if isinstance(plain, float):
        return {"doubleValue": plain}
    if isinstance(plain, list):
        return {"arrayValue": {"values": [value(item) for item in plain]}}
    return {"stringValue": plain}


def attributes(plain: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(item)} for key, item in plain.items()]


def span_id(number: int) -> str:
    return number.to_bytes(8, "big").hex()


def request(fixture: dict[str, Any]) -> dict[str, Any]:
    """The fixture as an OTLP/JSON request."""
    resource = {"attributes": attributes(fixture["resource"])}
    scope = {"name": fixture["scope"]}
    if "logs" in fixture:
        records = []
        for number, log in enumerate(fixture["logs"]):
            record: dict[str, Any] = {
                "timeUnixNano": str(NOW_NS + number),
                "attributes": attributes(log["attributes"]),
            }
            if "body" in log:
                record["body"] = value(log["body"])
            if "eventName" in log:
                record["eventName"] = log["eventName"]
            records.append(record)
        scoped = [{"scope": scope, "logRecords": records}]
        return {"resourceLogs": [{"resource": resource, "scopeLogs": scoped}]}
    spans = []
    for span in fixture["spans"]:
        spans.append(
            {
                "traceId": "ab" * 16,
                "spanId": span_id(span["id"]),
                "name": span["name"],
                "startTimeUnixNano": str(NOW_NS),
                "endTimeUnixNano": str(NOW_NS + 2 * 10**9),
                "attributes": attributes(span["attributes"]),
                **({"parentSpanId": span_id(span["parent"])} if "parent" in span else {}),
            }
        )
    scoped = [{"scope": scope, "spans": spans}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scoped}]}


def protobuf(sent: dict[str, Any]) -> bytes:
    plain = json.loads(json.dumps(sent))
    for resource in plain.get("resourceSpans", ()):
        for span in resource["scopeSpans"][0]["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in span:  # this parser takes ids for base64
                    raw = bytes.fromhex(span[key])
                    span[key] = base64.b64encode(raw).decode()
    kind = ExportLogsServiceRequest if "resourceLogs" in plain else ExportTraceServiceRequest
    return bytes(ParseDict(plain, kind()).SerializeToString())


def rows(fixture: dict[str, Any], *, as_json: bool) -> Batch:
    sent = request(fixture)
    body = json.dumps(sent).encode() if as_json else protobuf(sent)
    reception = Reception(received_ns=NOW_NS + 10**10, pricing=pricing())
    decode = decode_logs if "logs" in fixture else decode_traces
    batch = decode(body, reception, json=as_json)
    Lineage().apply([batch])
    return batch


def matches(found: Any, expected: dict[str, Any]) -> None:
    plain = {name: getattr(found, name) for name in expected}
    wanted = {
        name: pytest.approx(item, rel=1e-9) if isinstance(item, float) else item
        for name, item in expected.items()
    }
    assert plain == wanted


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "protobuf"])
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_dialect_becomes_its_canonical_rows(path: Path, as_json: bool) -> None:
    fixture = json.loads(path.read_text())
    batch = rows(fixture, as_json=as_json)
    assert not batch.rejected
    assert not batch.uncoerced
    counted = [call for call in batch.calls if call.counted]
    assert len(counted) == len(fixture["calls"])
    for call, expected in zip(counted, fixture["calls"], strict=True):
        number = expected.pop("span")
        if number is not None:
            assert call.span_id == span_id(number)
        matches(call, expected)
    for decision, expected in zip(batch.decisions, fixture.get("decisions", ()), strict=True):
        matches(decision, expected)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_no_text_of_prompts_or_answers_is_kept(path: Path) -> None:
    batch = rows(json.loads(path.read_text()), as_json=False)
    for table in (batch.calls, batch.decisions, batch.spans, batch.logs):
        for row in table:
            assert SECRET not in repr(msgspec.structs.astuple(row))


def test_every_dialect_has_a_fixture() -> None:
    seen = {call["dialect"] for path in FIXTURES for call in json.loads(path.read_text())["calls"]}
    assert seen == set(DIALECTS)

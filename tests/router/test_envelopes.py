import json

import pytest

from evals import sse
from router import envelopes
from telemetry.errors import InvalidRequest, UpstreamTimeout
from telemetry.records import Dialect

ERROR = InvalidRequest("missing_model", "the body names no model", hint="send one")
WORDS = "the body names no model; send one"


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS])
def test_openais_clients_find_message_type_and_code_in_error(dialect: Dialect) -> None:
    assert json.loads(envelopes.body(ERROR, dialect, request_id="d-1")) == {
        "error": {
            "message": WORDS,
            "type": "invalid_request",
            "param": None,
            "code": "missing_model",
        }
    }


def test_anthropics_client_finds_type_error_and_the_request_id() -> None:
    assert json.loads(envelopes.body(ERROR, Dialect.MESSAGES, request_id="d-1")) == {
        "type": "error",
        "error": {"type": "invalid_request", "message": WORDS, "code": "missing_model"},
        "request_id": "d-1",
    }


@pytest.mark.parametrize("dialect", list(Dialect))
def test_an_error_in_a_stream_is_one_whole_event(dialect: Dialect) -> None:
    error = UpstreamTimeout("upstream_timeout", 'silent\n\ndata: "x"', hint="try again")
    event = envelopes.event(error, dialect, request_id="d-1")
    assert list(sse.Splitter().feed(event)) == [event]
    said = json.loads(sse.data_of(event))
    inner = said if dialect is Dialect.RESPONSES else said["error"]
    assert inner["message"] == 'silent\n\ndata: "x"; try again'
    assert inner["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    ("dialect", "named"),
    [(Dialect.CHAT, False), (Dialect.RESPONSES, True), (Dialect.MESSAGES, True)],
)
def test_only_dialects_with_named_events_name_the_error_event(
    dialect: Dialect, named: bool
) -> None:
    event = envelopes.event(ERROR, dialect, request_id="d-1")
    assert event.startswith(b"event: error\n") is named

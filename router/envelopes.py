"""Our errors in the words of the caller's dialect."""

from collections.abc import Mapping
from typing import Any

import msgspec

from telemetry.errors import BudgetExceeded, StepError
from telemetry.records import Dialect


def body(error: StepError, dialect: Dialect, *, request_id: str) -> bytes:
    """Return ``error`` as the JSON body that the dialect's clients parse."""
    return msgspec.json.encode(_envelope(error, dialect, request_id))


def relayed(said: Mapping[str, Any], dialect: Dialect, *, request_id: str) -> bytes:
    """Return another server's error (its type, code and message) as the dialect's clients parse it.

    Of ``said`` only those three are taken, as text.
    """
    known = {key: str(said.get(key, "")) for key in ("message", "type", "code")}
    return msgspec.json.encode(_wrapped(known, dialect, request_id))


def event(error: StepError, dialect: Dialect, *, request_id: str) -> bytes:
    """Return ``error`` as the server-sent event that ends a stream of the dialect."""
    if dialect is Dialect.RESPONSES:
        payload: dict[str, Any] = {
            "type": "error",
            "code": error.code,
            "message": str(error),
            "param": None,
            "sequence_number": 0,
        }
    else:
        payload = _envelope(error, dialect, request_id)
    data = b"data: " + msgspec.json.encode(payload) + b"\n\n"
    return data if dialect is Dialect.CHAT else b"event: error\n" + data


def _envelope(error: StepError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    said: dict[str, Any] = {"message": str(error), "type": error.type, "code": error.code}
    if isinstance(error, BudgetExceeded):
        said["budget"] = error.budget
    return _wrapped(said, dialect, request_id)


def _wrapped(said: dict[str, Any], dialect: Dialect, request_id: str) -> dict[str, Any]:
    if dialect is Dialect.MESSAGES:
        return {"type": "error", "error": said, "request_id": request_id}
    return {"error": said | {"param": None}}

"""Errors in each dialect's envelope."""

from typing import Any

import msgspec

from telemetry.records import Dialect

OPENAI_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(dialect: Dialect, status: int, *, message: str, request_id: str) -> bytes:
    """Return the body of an error as ``dialect`` words it."""
    if dialect is Dialect.MESSAGES:
        kind = ANTHROPIC_TYPES.get(status, "api_error")
        body: dict[str, Any] = {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": f"req_{request_id}",
        }
    else:
        default = ("server_error", None) if status >= 500 else ("invalid_request_error", None)
        kind, code = OPENAI_TYPES.get(status, default)
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return msgspec.json.encode(body)

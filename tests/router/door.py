"""A gateway with client keys and a provider key, and what its refusals look like."""

import json
from typing import Any

from telemetry.errors import CODES
from tests import wire

CANARY = "sk-canary-5f3a9c1e7b2d"
KEY = "tw-client-0123456789abcdef"
OTHER_KEY = "tw-other-0123456789abcdef"
ENVIRONMENT = {"PROVIDER_KEY": CANARY, "KEY_SUPPORT": KEY, "KEY_BATCH": OTHER_KEY}
KEYS = """
[[keys]]
name = "support"
key_env = "KEY_SUPPORT"
role = "worker"
roles = ["worker", "default"]
[[keys]]
name = "batch"
key_env = "KEY_BATCH"
"""
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
EMBEDDINGS, COUNT = "/v1/embeddings", "/v1/messages/count_tokens"
PATHS = [CHAT, RESPONSES, MESSAGES, COUNT, EMBEDDINGS]
GOOD = b'{"model": "tierwise/auto", "messages": [{"role": "user", "content": "Hi"}]}'


def request(path: str, body: bytes = GOOD, **headers: str) -> bytes:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.post(path, body, headers={"authorization": f"Bearer {KEY}"} | given)


def error_of(reply: wire.Reply, path: str) -> dict[str, Any]:
    """Return the error in the envelope that clients of ``path`` parse."""
    said = json.loads(reply.body)
    error = said["error"]
    assert isinstance(error["message"], str)
    if path in (MESSAGES, COUNT):
        assert said["type"] == "error"
        assert said["request_id"] == reply.headers["x-tierwise-decision"]
    else:
        assert error["param"] is None
    assert isinstance(error, dict)
    return error


def check_refusal(reply: wire.Reply, path: str, code: str) -> dict[str, Any]:
    """Check status, envelope, headers; return the error."""
    error = error_of(reply, path)
    assert error["code"] == code
    assert reply.status == CODES[code].status
    assert reply.headers["content-type"] == "application/json"
    for header in ("decision", "overhead-ms", "attempts"):
        assert f"x-tierwise-{header}" in reply.headers
    assert reply.headers["x-tierwise-attempts"] == "0"
    assert reply.headers["traceparent"].startswith("00-")
    assert CANARY not in str(reply)
    return error

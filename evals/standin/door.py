"""From a request's bytes to an ``Ask``, or to the status that refuses it."""

from typing import Any

import msgspec

from evals.standin.ask import Ask, BadRequest, read_chat, read_messages, read_responses
from telemetry.records import Dialect


class BadStatus(Exception):
    """The request is answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def read_body(dialect: Dialect, body: bytes, *, counting: bool = False) -> Ask:
    """Return a request's body as an ``Ask``; raise ``BadStatus`` 400 for anything else."""
    parsed = object_of(body)
    try:
        if dialect is Dialect.MESSAGES:
            return read_messages(parsed, counting=counting)
        return read_chat(parsed) if dialect is Dialect.CHAT else read_responses(parsed)
    except BadRequest as error:
        raise BadStatus(400, str(error)) from error
    except (AttributeError, TypeError, KeyError) as error:
        raise BadStatus(400, f"a field has the wrong type: {error}") from error


def object_of(body: bytes) -> dict[str, Any]:
    """Return a body as a JSON object; raise ``BadStatus`` 400 for anything else."""
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadStatus(
            400, f"We could not parse the JSON body of your request: {error}"
        ) from error
    if not isinstance(parsed, dict):
        raise BadStatus(400, "The JSON body of your request must be an object.")
    return parsed

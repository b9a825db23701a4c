"""How the collector says no, and why it refuses a change of the policy.

docs/policy-review.md lists every code of a ``Refusal``.
"""

from typing import Any, Final

from telemetry.errors import ApiError, Code

REFUSALS: Final[dict[str, Code]] = {
    "unknown_key": Code(401, "No key was shown, or none of the configured ones."),
    "not_allowed": Code(403, "The key may not do this, or changes are not taken on this address."),
    "unknown_revision": Code(404, "There is no revision of that name."),
    "stale_base": Code(409, "Another revision is in force than the one the change was made for."),
    "stale_policy": Code(409, "The revision was made under another policy.toml than the present."),
    "wrong_status": Code(409, "The revision's status does not allow the move."),
    "inconclusive": Code(409, "The preview cannot show that the floors hold; say why to override."),
    "no_policy": Code(409, "The collector was started without a policy."),
    "not_held": Code(409, "There is no such pin or freeze."),
    "too_large": Code(413, "The body is over 8 MiB, or does not state its length."),
    "invalid_field": Code(422, "A field has the wrong type, is missing or is out of range."),
    "key_reused": Code(422, "The Idempotency-Key came before with another request."),
    "missing_base": Code(428, "If-Match is missing: the change must name what it was made for."),
}


class Refusal(ApiError):
    """A change that did not take place; nothing of it was kept. ``code`` is from ``REFUSALS``."""

    def __init__(self, code: str, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = REFUSALS[code].status


def body_of(refusal: Refusal) -> dict[str, Any]:
    """Return the body that tells a client of a refusal."""
    kind = "unauthorized" if refusal.status == 401 else "invalid_request"
    return envelope(kind, refusal.code, refusal)


def envelope(kind: str, code: str, error: ApiError) -> dict[str, Any]:
    """Return the one shape of an error of the console: the message ends with the hint."""
    said = {"type": kind, "code": code, "message": str(error), "hint": error.hint}
    return {"error": said}

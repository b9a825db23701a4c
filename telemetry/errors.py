"""Every error that tierwise raises on purpose.

::

    TierwiseError
    ├── ConfigError            a file or a flag is wrong; the process ends with exit code 2
    ├── CheckCrashed           a check broke; it has said nothing about the answer
    ├── CodeCrashed            a function of the code tier broke; the next tier is asked
    └── ApiError               an answer of the gateway or of the collector; never without a hint
        └── StepError          a step cannot be served; the caller gets it in its own dialect
            ├── InvalidRequest     400 (and 404, 405, 408, 413, 415, 431)
            ├── Unauthorized       401
            ├── BudgetExceeded     402
            ├── PolicyDenied       403
            ├── CheckFailed        422
            ├── RateLimited        429
            ├── UpstreamError      502
            │   └── UpstreamTimeout  504
            └── Overloaded         503

A message says what and where; its hint says what next. ``CODES`` lists every code that may stand
in an error body, with its HTTP status and its meaning; docs/errors.md is checked against it.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple


class Code(NamedTuple):
    """One stable error code: its HTTP status and, for people, when it happens."""

    status: int
    meaning: str


CODES: Final[dict[str, Code]] = {
    "invalid_json": Code(400, "The body is not a JSON object in UTF-8."),
    "json_too_deep": Code(400, "The body nests deeper than any real request."),
    "duplicate_key": Code(400, "A top-level key stands twice, so readers could disagree."),
    "invalid_field": Code(400, "A field that tierwise reads has the wrong type."),
    "missing_model": Code(400, "The body names no model."),
    "unknown_model": Code(400, "The model is neither an alias nor a model of the policy."),
    "invalid_header": Code(400, "A header of ours holds a value that cannot be used."),
    "not_found": Code(404, "No such route, or no model of that name."),
    "method_not_allowed": Code(405, "The route takes another method."),
    "request_timeout": Code(408, "The body did not arrive in time."),
    "body_too_large": Code(413, "The body is over the gateway's limit."),
    "headers_too_large": Code(431, "The headers are over 64 KiB together."),
    "unsupported_content_type": Code(415, "The body is not application/json, or is compressed."),
    "missing_key": Code(401, "The gateway wants a client key and none was sent."),
    "unknown_key": Code(401, "The client key is not one of the configured ones."),
    "budget_exceeded": Code(402, "A budget of the policy has no room for what the step may cost."),
    "role_not_allowed": Code(403, "The client key may not use this role."),
    "pin_not_allowed": Code(403, "The policy does not let callers name models for this role."),
    "no_arm_for_dialect": Code(403, "No tier in the role's range speaks the step's dialect."),
    "check_failed": Code(422, "No tier's answer passed the role's checks, and it wants no other."),
    "no_answer": Code(502, "The role's code function has no answer, and no tier is above it."),
    "upstream_unreachable": Code(502, "No connection to the provider could be made."),
    "upstream_denied": Code(502, "The provider refuses the gateway's own key or account."),
    "upstream_broken": Code(502, "The provider's answer broke off before it began."),
    "upstream_timeout": Code(504, "The provider did not begin to answer in time."),
    "draining": Code(503, "The gateway is shutting down; another one should be asked."),
    "collector_away": Code(503, "The collector, which keeps feedback, cannot be asked now."),
    "too_many_steps": Code(503, "The gateway holds as many steps as it may."),
    "internal": Code(500, "A fault of tierwise itself; the log has the details."),
}


class TierwiseError(Exception):
    """The root: what went wrong and where; ``hint`` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class ConfigError(TierwiseError):
    """A file, a key or a flag is wrong: said once, for a person, with the remedy."""

    exit_code: ClassVar[int] = 2


class CheckCrashed(TierwiseError):
    """A check broke or ran out of time: counted and shown, never a bad score."""

    def __init__(self, message: str, *, check: str, version: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check
        self.version = version


class CodeCrashed(TierwiseError):
    """A function of the code tier failed: ``kind`` is raised, timeout, nonsense or no_thread."""

    def __init__(self, message: str, *, kind: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class ApiError(TierwiseError):
    """What callers of an API are told; the hint is required, so that no answer lacks one."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)


class StepError(ApiError):
    """A step that cannot be served; ``type`` is from a closed list, ``code`` from ``CODES``."""

    type: ClassVar[str]

    def __init__(
        self, code: str, message: str, *, hint: str, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = CODES[code].status
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(StepError):
    """The request itself is wrong; sending it again changes nothing."""

    type = "invalid_request"


class Unauthorized(StepError):
    """No client key, or not one of ours."""

    type = "unauthorized"


class BudgetExceeded(StepError):
    """A budget is spent and the policy says refuse; ``budget`` says for programs which one."""

    type = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        budget: Mapping[str, str | float | None],
        hint: str,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(
            "budget_exceeded", message, hint=hint, retry_after_seconds=retry_after_seconds
        )
        self.budget = budget


class PolicyDenied(StepError):
    """The policy does not allow what was asked."""

    type = "policy_denied"


class CheckFailed(StepError):
    """No tier's answer passed and the role wants an error rather than the best answer."""

    type = "check_failed"


class RateLimited(StepError):
    """Too many requests."""

    type = "rate_limited"


class UpstreamError(StepError):
    """No provider of the chain could answer."""

    type = "upstream_error"


class UpstreamTimeout(UpstreamError):
    """A provider stayed silent past the time it was given."""

    type = "upstream_timeout"


class Overloaded(StepError):
    """The gateway cannot take the step now; another try, later or elsewhere, may work."""

    type = "overloaded"


class Internal(StepError):
    """A fault of ours that is not the caller's doing."""

    type = "internal"

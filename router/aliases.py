"""The names a caller may put into ``model``, as both vendors' clients list them."""

from typing import Any, Final

from router.policy import Policy
from router.roles import ALIAS_PREFIXES, AUTO
from telemetry.errors import InvalidRequest

# A fixed birthday: clients want one, and an alias has none.
CREATED: Final = 1_767_225_600
CREATED_AT: Final = "2026-01-01T00:00:00Z"


def listing(policy: Policy) -> dict[str, Any]:
    """Return the body of ``GET /v1/models``, readable by OpenAI's and Anthropic's clients."""
    data = [_entry(name, what) for name, what in names(policy)]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"],
        "last_id": data[-1]["id"],
    }


def find(policy: Policy, name: str) -> dict[str, Any]:
    """Return the entry called ``name``; raise ``InvalidRequest`` when there is none."""
    for known, what in names(policy):
        if known == name:
            return _entry(known, what)
    raise InvalidRequest("not_found", f"no model {name[:100]!r}", hint="GET /v1/models lists them")


def names(policy: Policy) -> list[tuple[str, str]]:
    """Return each name with what it stands for: aliases of roles first, then the models.

    Every role has a second alias with "claude" in it, because coding agents discover no others.
    """
    roles = [AUTO, *sorted(policy.roles)]
    found = [
        (f"{prefix}{role}", "by the step's role" if role == AUTO else f"role {role}")
        for prefix in ALIAS_PREFIXES
        for role in roles
    ]
    models = {model for tier in policy.file.tiers.values() for model in tier.models}
    return found + [(model, model) for model in sorted(models)]


def _entry(name: str, display: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "created": CREATED,
        "created_at": CREATED_AT,
        "owned_by": "tierwise",
        "display_name": display,
    }

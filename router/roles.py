"""Who asks: the first source that names a role wins, in one fixed order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.records import RoleSource, Shape

if TYPE_CHECKING:
    from router.policy import Policy

DEFAULT = "default"
AUTO = "auto"
ALIAS_PREFIXES = ("tierwise/", "claude-tierwise-")
UNKNOWN_CHARACTERS_MAX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a step says of its role; empty and absent both mean that a source says nothing."""

    header_role: str | None = None  # x-tierwise-role
    alias: str | None = None  # as ``alias_of`` reads the model's name
    metadata_role: str | None = None  # metadata.role of the body
    baggage_agent: str | None = None  # gen_ai.agent.name of the W3C baggage
    key_role: str | None = None  # the client key's default role


def alias_of(model: str) -> str | None:
    """Return the role in an alias of ours, "" for the alias that leaves it open, else None.

    >>> alias_of("tierwise/planner"), alias_of("claude-tierwise-planner")
    ('planner', 'planner')
    >>> alias_of("tierwise/auto"), alias_of("openai/gpt-5.5")
    ('', None)
    """
    for prefix in ALIAS_PREFIXES:
        if model.startswith(prefix):
            role = model[len(prefix) :]
            return "" if role == AUTO else role
    return None


def resolve(
    asked: Asked, policy: "Policy", shape: Callable[[], Shape]
) -> tuple[str, RoleSource, str | None]:
    """Return the step's role, where it was read, and the name asked for when nobody has it.

    ``shape`` is called only when no source names a role and the policy has shape rules. A name
    that the policy does not know gives the role ``default`` and ends the search: a guess further
    down would send the step somewhere its caller did not mean.
    """
    for source, named in (
        (RoleSource.HEADER, asked.header_role),
        (RoleSource.ALIAS, asked.alias),
        (RoleSource.METADATA, asked.metadata_role),
        (RoleSource.BAGGAGE, asked.baggage_agent),
        (RoleSource.KEY, asked.key_role),
    ):
        if named:
            role = named.strip().lower()
            if role in policy.roles:
                return role, source, None
            if role:
                return DEFAULT, source, _shown(named)
    if policy.shapes:
        by_shape = policy.role_of(shape())
        if by_shape is not None:
            return by_shape, RoleSource.SHAPE, None
    return DEFAULT, RoleSource.DEFAULT, None


def _shown(name: str) -> str:
    """Return a stranger's name short and printable, as it may stand in headers and spans."""
    kept = name.strip()[:UNKNOWN_CHARACTERS_MAX]
    return "".join(character if " " <= character <= "~" else "?" for character in kept)

"""Cheap facts of a step: which cell it belongs to, and numbers for a linear model.

A cell is role, collaboration mode and a coarse shape. The gateway computes it on the hot path, so
it is string joining only; thin cells lean on what all cells share (see ``components``).
"""

from math import log1p

from telemetry.records import Context, Shape

LARGE_BYTES = 32_768  # about 8,000 tokens
NAMES = (
    "log_bytes",
    "log_messages",
    "log_tools",
    "tool_forced",
    "schema",
    "log_choices",
    "images",
    "code",
    "log_output_max",
    "stream",
)


def cell(context: Context) -> str:
    """The cell of a step: role, mode and shape, joined by ``|``.

    >>> from telemetry.records import Dialect, RoleSource
    >>> cell(Context(role="worker", role_source=RoleSource.HEADER, dialect=Dialect.CHAT))
    'worker||'
    """
    return f"{context.role}|{context.mode or ''}|{_kind(context.shape)}"


def cells(context: Context) -> tuple[str, str, str]:
    """The step's cell, that of all its role's steps in its mode, and that of its whole role.

    >>> from telemetry.records import Dialect, RoleSource
    >>> cells(Context(role="a", role_source=RoleSource.KEY, dialect=Dialect.CHAT, mode="debate"))
    ('a|debate|', 'a|debate|', 'a||')
    """
    return cell(context), f"{context.role}|{context.mode or ''}|", f"{context.role}||"


def _kind(shape: Shape | None) -> str:
    """One word for the shape, the first that applies; empty when the shape is unknown."""
    if shape is None:
        return ""
    if shape.schema:
        return "schema"
    if shape.tools_count:
        return "tools"
    if shape.body_bytes >= LARGE_BYTES:
        return "large"
    return "code" if shape.code else "plain"


def features(context: Context) -> tuple[float, ...]:
    """Numbers in the order of NAMES; zeros where the shape is unknown."""
    shape = context.shape
    if shape is None:
        return (0.0,) * (len(NAMES) - 1) + (float(context.stream),)
    return (
        log1p(shape.body_bytes),
        log1p(shape.messages_count),
        log1p(shape.tools_count),
        float(shape.tool_choice_forced),
        float(shape.schema),
        log1p(shape.choices_count or 0),
        float(shape.images),
        float(shape.code),
        log1p(shape.output_tokens_max or 0),
        float(context.stream),
    )

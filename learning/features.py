"""Cheap facts of a step: which cell it belongs to, and numbers for a linear model.

A cell is role, collaboration mode and a coarse shape. The gateway computes it on the hot path, so
it is string joining only; thin cells lean on what all cells share (see ``components``).

The numbers decide nothing yet. They are computed once a step is over and logged beside its
propensity, because what was not logged can never be shown to help.
"""

from math import log1p

from telemetry.records import Context, History, Shape

LARGE_BYTES = 32_768  # about 8,000 tokens
TEXT_CHARS = 2_048
ENGLISH_WORDS_MIN = 2  # different ones of the commonest that no other large language has
NAMES = (
    "log_bytes",  # tokens in, but for a constant
    "log_messages",  # the turn
    "continues",
    "log_tools",
    "tool_forced",
    "schema",
    "log_choices",
    "images",
    "code",
    "log_output_max",
    "digits",
    "english",
    "foreign_script",
    "stream",
    "raised",
    "log_fails",
    "verdict_before",
)

_ENGLISH = frozenset(
    {"the", "and", "with", "this", "that", "are", "you", "not", "what", "which", "from", "how"}
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


def features(context: Context, text: str) -> tuple[float, ...]:
    """Numbers in the order of NAMES; zeros where shape or history are unknown.

    ``text`` is what the step's user said last; the first ``TEXT_CHARS`` are looked at. Nothing
    of it can be read from the numbers.
    """
    shape, history = context.shape, context.history
    digits, english, foreign = _of_text(text[:TEXT_CHARS])
    told = (digits, english, foreign, float(context.stream), *_of_history(history))
    if shape is None:
        return (0.0,) * (len(NAMES) - len(told)) + told
    return (
        log1p(shape.body_bytes),
        log1p(shape.messages_count),
        float(shape.continues),
        log1p(shape.tools_count),
        float(shape.tool_choice_forced),
        float(shape.schema),
        log1p(shape.choices_count or 0),
        float(shape.images),
        float(shape.code),
        log1p(shape.output_tokens_max or 0),
        *told,
    )


def _of_history(history: History | None) -> tuple[float, float, float]:
    """The tier so far, failures in a row (how often the step is tried again), the last verdict."""
    if history is None:
        return (0.0, 0.0, 0.0)
    verdict = 0.0 if history.fails is None else -1.0 if history.fails else 1.0
    return (float(history.raised), log1p(history.fails or 0), verdict)


def _of_text(text: str) -> tuple[float, float, float]:
    """Share of digits, whether it looks English, share of bytes beyond one a character.

    The last is near 0 in Latin script, from a half on in others.

    >>> _of_text("What is the sum of 12 and 30?")[1:]
    (1.0, 0.0)
    >>> _of_text("Was ist die Summe aus 12 und 30?")[1:]
    (0.0, 0.0)
    """
    if not text:
        return (0.0, 0.0, 0.0)
    encoded = text.encode("utf-8", "replace")
    digits = len(encoded) - len(encoded.translate(None, b"0123456789"))
    foreign = (len(encoded) - len(text)) / len(encoded)
    english = len(_ENGLISH.intersection(text.lower().split())) >= ENGLISH_WORDS_MIN
    return (digits / len(text), float(english), foreign)

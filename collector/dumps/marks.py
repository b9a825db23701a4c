"""What the audit must know of a call beyond the receiver's columns, in its column of attributes."""

from typing import Final

from collector.rows import CallRow
from evals.audit.kinds import kind_of
from evals.audit.texts import Marks

SEPARATOR: Final = "|"
# Positions, from 1, in the packed text; queries split it by these.
KIND, PROMPT, USER, BAG, ANSWER, PLAIN, ASIDE = range(1, 8)
# No context window and no answer of any model is near these.
INPUT_TOKENS_MAX: Final = 20_000_000
OUTPUT_TOKENS_MAX: Final = 4_000_000
_UNMARKED: Final = Marks()


def mark(row: CallRow, marks: Marks | None, *, aside: str = "") -> None:
    """Put the call's kind and marks in place of its other attributes.

    ``aside`` says why the call does not count; absurd usage is such a reason.
    """
    known = marks or _UNMARKED
    kind = kind_of(
        row.operation,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
        finish_reason=row.finish_reason,
        structured=known.structured or asks_for_json(row),
    )
    if absurd(row):
        aside = aside or "absurd token counts"
    row.attributes = SEPARATOR.join(
        (kind, known.prompt, known.user, known.bag, known.answer, known.plain or "", aside)
    )


def absurd(row: CallRow) -> bool:
    """Say whether a call claims more tokens than any model takes or writes."""
    return (row.input_tokens or 0) > INPUT_TOKENS_MAX or (
        row.output_tokens or 0
    ) > OUTPUT_TOKENS_MAX


def asks_for_json(row: CallRow) -> bool:
    """Say whether the request asked for structured output, as far as its attributes tell."""
    if row.name.startswith(("ai.generateObject", "ai.streamObject")):
        return True
    text = row.attributes
    if text is None or "json" not in text:
        return False
    return "response_format" in text or "structured_output" in text or "output.type" in text

"""What kind of step a call is, from its numbers alone.

Nobody names a role in most telemetry, and prompts are rarely in it. What is left is the shape of
the usage. A kind is a guess from that shape, and every report says so.
"""

from enum import StrEnum
from typing import Final

SHORT_TOKENS: Final = 32  # a label, a number, yes or no
FILLED_TOKENS: Final = 512  # a form of a few dozen fields
TOOL_REASONS: Final = frozenset({"tool_calls", "tool_use", "tool_call", "function_call"})


class Kind(StrEnum):
    """The shape of one step."""

    EMBEDDING = "embedding"
    TOOL = "tool choice"
    REASONING = "reasoning"
    SHORT = "short answer"
    FORM = "filled form"
    WRITING = "writing"
    UNKNOWN = "unmeasured"  # its output tokens are not known


MEANINGS: Final[dict[Kind, str]] = {
    Kind.EMBEDDING: "an embedding",
    Kind.TOOL: "the answer is a tool call",
    Kind.REASONING: "at least half of the output is reasoning",
    Kind.SHORT: f"at most {SHORT_TOKENS} output tokens",
    Kind.FORM: f"JSON was asked for or given, in at most {FILLED_TOKENS} output tokens",
    Kind.WRITING: "anything longer",
    Kind.UNKNOWN: "the output tokens are not known",
}
MECHANICAL: Final = frozenset({Kind.SHORT, Kind.FORM})


def kind_of(
    operation: str,
    *,
    output_tokens: int | None,
    reasoning_tokens: int | None,
    finish_reason: str | None,
    structured: bool,
) -> Kind:
    """Return the kind of a call; the first that fits, in the order of ``Kind``.

    >>> kind_of("chat", output_tokens=4, reasoning_tokens=0, finish_reason="stop",
    ...     structured=False)
    <Kind.SHORT: 'short answer'>
    >>> kind_of("chat", output_tokens=4, reasoning_tokens=2, finish_reason="stop",
    ...     structured=False)
    <Kind.REASONING: 'reasoning'>
    """
    if operation == "embeddings":
        return Kind.EMBEDDING
    if finish_reason in TOOL_REASONS:
        return Kind.TOOL
    if output_tokens is None:
        return Kind.UNKNOWN
    if reasoning_tokens and 2 * reasoning_tokens >= output_tokens:
        return Kind.REASONING
    if output_tokens <= SHORT_TOKENS:
        return Kind.SHORT
    return Kind.FORM if structured and output_tokens <= FILLED_TOKENS else Kind.WRITING

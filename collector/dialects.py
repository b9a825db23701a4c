"""The one table that turns every dialect of model telemetry into our canonical fields.

Each field lists the attribute keys that may carry it, by dialect; the first key that is present
and readable wins, from left to right. ``key#path`` is a member of the JSON object that the
attribute ``key`` holds. docs/collector.md shows this table; a test keeps the two equal.
"""

from enum import IntEnum
from typing import Final, NamedTuple


class Kind(IntEnum):
    """What a field's value must become."""

    TEXT = 0
    COUNT = 1  # whole number, 0 or more
    NUMBER = 2  # finite, 0 or more
    FLAG = 3
    FIRST = 4  # the first of a list of strings, or of a JSON list in a string
    JOINED = 5  # a list of strings, comma-separated
    OBJECT = 6  # a JSON object whose members are looked up as key#path
    SIGNED = 7  # finite


class Rule(NamedTuple):
    """Where the value of one key goes; ``rank`` 0 beats 1."""

    slot: int
    kind: Kind
    rank: int
    bit: int  # of the dialect; 0 for keys that anybody may set


class Field(NamedTuple):
    """One canonical field and the keys that may carry it, best first, as (dialect, key)."""

    name: str
    kind: Kind
    keys: tuple[tuple[str, str], ...]


# More specific dialects name themselves by any key of theirs; the first listed wins.
DIALECTS: Final = (
    "tierwise",
    "coding_agent",
    "langfuse",
    "vercel",
    "litellm",
    "pydantic_ai",
    "openlit",
    "openinference",
    "openllmetry",
    "semconv_old",
    "semconv",
)


def _field(name: str, kind: Kind, **keys: str) -> Field:
    pairs = tuple((dialect, key) for dialect, listed in keys.items() for key in listed.split())
    return Field(name, kind, pairs)


_USAGE: Final = "langfuse.observation.usage_details#"
_LITELLM: Final = "metadata.usage_object#"
_TEXT, _COUNT, _NUMBER = Kind.TEXT, Kind.COUNT, Kind.NUMBER

FIELDS: Final[tuple[Field, ...]] = (
    _field(
        "operation",
        _TEXT,
        semconv="gen_ai.operation.name",
        openinference="openinference.span.kind",
        langfuse="langfuse.observation.type",
        vercel="ai.operationId",
        semconv_old="llm.request.type",
        openllmetry="traceloop.span.kind",
    ),
    _field(
        "role",
        _TEXT,
        tierwise="tierwise.role",
        semconv="gen_ai.agent.name",
        openinference="agent.name graph.node.name metadata#role",
        openllmetry="traceloop.association.properties.role gen_ai.task.name traceloop.entity.name",
        langfuse="langfuse.observation.metadata.role langfuse.trace.metadata.role",
        vercel="ai.telemetry.metadata.role ai.telemetry.functionId",
        pydantic_ai="agent_name",
        litellm="metadata.role metadata.requester_metadata#role",
        coding_agent="query_source",
    ),
    _field("role_baggage", _TEXT, semconv="baggage.tierwise.role baggage.gen_ai.agent.name"),
    _field(
        "tier",
        _TEXT,
        tierwise="tierwise.tier",
        openinference="metadata#tier",
        openllmetry="traceloop.association.properties.tier",
        langfuse="langfuse.observation.metadata.tier",
        vercel="ai.telemetry.metadata.tier",
        litellm="metadata.tier metadata.requester_metadata#tier",
    ),
    _field("mode", _TEXT, tierwise="tierwise.mode"),
    _field("plan", _TEXT, tierwise="tierwise.plan"),
    _field(
        "provider",
        _TEXT,
        semconv="gen_ai.provider.name",
        semconv_old="gen_ai.system",
        openinference="llm.provider llm.system",
        openlit="gen_ai.request.provider",
        vercel="ai.model.provider",
    ),
    _field(
        "model_requested",
        _TEXT,
        semconv="gen_ai.request.model",
        openinference="llm.request.model_name llm.model_name embedding.model_name",
        langfuse="langfuse.observation.model.name",
        vercel="ai.model.id",
        coding_agent="model",
    ),
    _field(
        "model_served",
        _TEXT,
        semconv="gen_ai.response.model",
        openinference="llm.response.model_name",
        vercel="ai.response.model",
    ),
    _field("policy_model", _TEXT, tierwise="tierwise.model"),
    _field(
        "input_tokens",
        _COUNT,
        semconv="gen_ai.usage.input_tokens",
        semconv_old="gen_ai.usage.prompt_tokens",
        openinference="llm.token_count.prompt",
        openllmetry="llm.usage.prompt_tokens",
        langfuse=f"{_USAGE}prompt_tokens",
        vercel="ai.usage.inputTokens ai.usage.promptTokens ai.usage.tokens",
        coding_agent="input_token_count",
    ),
    # Claude Code and Langfuse count cached tokens outside the input tokens.
    _field("uncached_tokens", _COUNT, langfuse=f"{_USAGE}input", coding_agent="input_tokens"),
    _field(
        "output_tokens",
        _COUNT,
        semconv="gen_ai.usage.output_tokens",
        semconv_old="gen_ai.usage.completion_tokens",
        openinference="llm.token_count.completion",
        openllmetry="llm.usage.completion_tokens",
        langfuse=f"{_USAGE}completion_tokens",
        vercel="ai.usage.outputTokens ai.usage.completionTokens",
        coding_agent="output_tokens output_token_count",
    ),
    # Langfuse counts reasoning outside the output tokens.
    _field("unreasoned_tokens", _COUNT, langfuse=f"{_USAGE}output"),
    _field(
        "cache_read",
        _COUNT,
        semconv="gen_ai.usage.cache_read.input_tokens",
        openinference="llm.token_count.prompt_details.cache_read "
        "llm.token_count.prompt_details.cache_input",
        openllmetry="gen_ai.usage.cache_read_input_tokens",
        openlit="gen_ai.usage.prompt_tokens_details.cached_tokens",
        langfuse=f"{_USAGE}input_cached_tokens {_USAGE}cache_read_input_tokens",
        vercel="ai.usage.cachedInputTokens ai.usage.inputTokenDetails.cacheReadTokens",
        pydantic_ai="gen_ai.usage.details.cache_read_tokens "
        "gen_ai.usage.details.cache_read_input_tokens",
        litellm=f"{_LITELLM}prompt_tokens_details.cached_tokens",
        coding_agent="cache_read_tokens cached_token_count cached_content_token_count",
    ),
    _field(
        "cache_write",
        _COUNT,
        semconv="gen_ai.usage.cache_write.input_tokens",
        semconv_old="gen_ai.usage.cache_creation.input_tokens",
        openinference="llm.token_count.prompt_details.cache_write",
        openllmetry="gen_ai.usage.cache_creation_input_tokens",
        openlit="gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
        langfuse=f"{_USAGE}input_cache_creation {_USAGE}cache_creation_input_tokens",
        vercel="ai.usage.inputTokenDetails.cacheWriteTokens "
        "ai.response.providerMetadata#anthropic.cacheCreationInputTokens",
        pydantic_ai="gen_ai.usage.details.cache_write_tokens "
        "gen_ai.usage.details.cache_creation_input_tokens",
        litellm=f"{_LITELLM}prompt_tokens_details.cache_creation_tokens "
        f"{_LITELLM}cache_creation_input_tokens",
        coding_agent="cache_creation_tokens cache_write_token_count",
    ),
    _field(
        "reasoning",
        _COUNT,
        semconv="gen_ai.usage.reasoning.output_tokens",
        openinference="llm.token_count.completion_details.reasoning",
        openllmetry="gen_ai.usage.reasoning_tokens llm.usage.reasoning_tokens",
        openlit="gen_ai.usage.completion_tokens_details.reasoning_tokens",
        langfuse=f"{_USAGE}output_reasoning_tokens",
        vercel="ai.usage.reasoningTokens ai.usage.outputTokenDetails.reasoningTokens",
        pydantic_ai="gen_ai.usage.details.reasoning_tokens",
        litellm=f"{_LITELLM}completion_tokens_details.reasoning_tokens",
        coding_agent="reasoning_token_count",
    ),
    # Gemini CLI counts thoughts outside the output tokens.
    _field("thought_tokens", _COUNT, coding_agent="thoughts_token_count"),
    _field(
        "cost",
        _NUMBER,
        tierwise="tierwise.cost.usd",
        semconv="gen_ai.usage.cost.amount",
        openlit="gen_ai.usage.cost",
        openinference="llm.cost.total",
        langfuse="langfuse.observation.cost_details#total",
        pydantic_ai="operation.cost",
        litellm="gen_ai.cost.total_cost litellm.cost.total litellm.response-cost",
        coding_agent="cost_usd github.copilot.cost.amount github.copilot.cost "
        "opencode.llm.cost.total",
        semconv_old="gen_ai.usage.total_cost gen_ai.usage.cost_usd",
    ),
    _field("currency", _TEXT, semconv="gen_ai.usage.cost.currency"),
    _field("cost_source", _TEXT, semconv="gen_ai.usage.cost.source"),
    _field("cache_hit", _TEXT, litellm="hidden_params#cache_key"),
    # An answer of our own gateway, told of by the client that asked it.
    _field(
        "relayed_decision",
        _TEXT,
        litellm="hidden_params#additional_headers.llm_provider-x-tierwise-decision",
    ),
    _field(
        "finish_reason",
        Kind.FIRST,
        semconv="gen_ai.response.finish_reasons",
        openinference="llm.finish_reason",
        openllmetry="gen_ai.response.finish_reason gen_ai.response.stop_reason "
        "gen_ai.completion.0.finish_reason",
        vercel="ai.response.finishReason",
    ),
    _field(
        "conversation",
        _TEXT,
        semconv="gen_ai.conversation.id",
        openinference="session.id",
        openllmetry="traceloop.association.properties.session_id",
        langfuse="langfuse.session.id",
        vercel="ai.telemetry.metadata.sessionId",
        coding_agent="conversation.id",
    ),
    _field(
        "response_id",
        _TEXT,
        semconv="gen_ai.response.id",
        vercel="ai.response.id",
        coding_agent="request_id",
    ),
    _field(
        "first_chunk",
        _NUMBER,
        semconv="gen_ai.response.time_to_first_chunk",
        openlit="gen_ai.server.time_to_first_token",
        pydantic_ai="gen_ai.client.operation.time_to_first_chunk",
    ),
    _field("first_chunk_ms", _NUMBER, vercel="ai.response.msToFirstChunk", coding_agent="ttft_ms"),
    _field("duration_ms", _NUMBER, coding_agent="duration_ms"),
    _field("error_type", _TEXT, semconv="error.type", coding_agent="error"),
    _field("http_status", _COUNT, semconv="http.response.status_code", coding_agent="status_code"),
    _field(
        "evaluation_name", _TEXT, semconv="gen_ai.evaluation.name", openinference="evaluation.name"
    ),
    _field(
        "evaluation_score",
        Kind.SIGNED,
        semconv="gen_ai.evaluation.score.value",
        openinference="evaluation.score annotation.score",
    ),
    _field(
        "evaluation_label",
        _TEXT,
        semconv="gen_ai.evaluation.score.label",
        openinference="evaluation.label",
    ),
    _field("evaluation_chance", Kind.NUMBER, tierwise="tierwise.evaluation.chance"),
    _field(
        "evaluation_text",
        _TEXT,
        semconv="gen_ai.evaluation.explanation",
        openinference="evaluation.explanation",
    ),
    _field("quality", Kind.SIGNED, tierwise="tierwise.quality.score"),
    _field("quality_source", _TEXT, tierwise="tierwise.quality.source"),
    _field("decision_id", _TEXT, tierwise="tierwise.decision.id"),
    _field("attempt", _COUNT, tierwise="tierwise.attempt"),
    _field("cause", _TEXT, tierwise="tierwise.attempt.cause"),
    _field("escalated_from", _TEXT, tierwise="tierwise.escalated_from"),
    _field("policy_hash", _TEXT, tierwise="tierwise.policy.hash"),
    _field("revision", _TEXT, tierwise="tierwise.revision"),
    _field("cell", _TEXT, tierwise="tierwise.cell"),
    _field("role_source", _TEXT, tierwise="tierwise.role.source"),
    _field("role_unknown", _TEXT, tierwise="tierwise.role.unknown"),
    _field("tier_start", _TEXT, tierwise="tierwise.tier.start"),
    _field("on_fail", _TEXT, tierwise="tierwise.on_fail"),
    _field("offered", Kind.JOINED, tierwise="tierwise.decision.offered"),
    _field("step_dialect", _TEXT, tierwise="tierwise.dialect"),
    _field("propensity", _NUMBER, tierwise="tierwise.decision.propensity"),
    _field("reason", _TEXT, tierwise="tierwise.decision.reason"),
    _field("explore", Kind.FLAG, tierwise="tierwise.explore"),
    _field("pinned", Kind.FLAG, tierwise="tierwise.pinned"),
    _field("attempts", _COUNT, tierwise="tierwise.attempts"),
    _field("key_name", _TEXT, tierwise="tierwise.key"),
    _field("overhead_ms", _NUMBER, tierwise="tierwise.overhead_ms"),
    _field("shadow_of", _TEXT, tierwise="tierwise.shadow"),
)

SLOTS: Final[dict[str, int]] = {field.name: number for number, field in enumerate(FIELDS)}
UNRANKED: Final = 255  # no key of the field has been seen

# Keys whose value is a JSON object that is looked into.
OBJECTS: Final = (
    "langfuse.observation.usage_details",
    "langfuse.observation.cost_details",
    "ai.response.providerMetadata",
    "metadata",
    "metadata.requester_metadata",
    "metadata.usage_object",
    "hidden_params",
)


def _bit(dialect: str) -> int:
    return 0 if dialect in ("coding_agent", "tierwise") else 1 << DIALECTS.index(dialect)


def _rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for slot, field in enumerate(FIELDS):
        for rank, (dialect, key) in enumerate(field.keys):
            assert key not in rules, f"{key} feeds two fields"
            rules[key] = Rule(slot, field.kind, rank, _bit(dialect))
    for key in OBJECTS:
        rules[key] = Rule(-1, Kind.OBJECT, 0, 0)
    return rules


RULES: Final[dict[str, Rule]] = _rules()


def dialect_of(bits: int) -> str:
    """Return the most specific dialect among those whose keys were seen."""
    return DIALECTS[(bits & -bits).bit_length() - 1] if bits else "semconv"


def table() -> str:
    """Return the table as Markdown, for the documentation."""
    lines = ["| field | keys, best first |", "|---|---|"]
    for field in FIELDS:
        keys = ", ".join(f"`{key}` ({dialect})" for dialect, key in field.keys)
        lines.append(f"| {field.name} | {keys} |")
    return "\n".join(lines) + "\n"

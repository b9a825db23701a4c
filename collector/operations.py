"""Which spans and log events are one model call of their own, and who wrote them."""

from functools import lru_cache
from typing import Final

# Parts of keys that hold prompts and answers: never kept among the other attributes.
CONTENT_MARKS: Final = (
    "messages",
    "prompt",
    "completion",
    "input.value",
    "output.value",
    "system_instructions",
    "tool.definitions",
    "tool.call.arguments",
    "tool.call.result",
    "entity.input",
    "entity.output",
    "observation.input",
    "observation.output",
    "trace.input",
    "trace.output",
    "response.text",
    "response.object",
    "response.toolCalls",
    "toolCall.args",
    "toolCall.result",
    "ai.values",
    "embedding.text",
    "embedding.vector",
    "document.content",
    "body",
    "user_input",
    "tool_input",
    "tool_parameters",
    "tool_result",
    "function_args",
    "request_text",
    "response_text",
)
CONTENT_KEYS: Final = frozenset({"response"})  # whole keys; this is Claude Code's answer
# LiteLLM's raw spans: llm.{provider}.{member of that provider's own request or answer}.
RAW_PREFIX: Final = "llm."
RAW_MEMBERS: Final = frozenset(
    (
        "choices", "content", "candidates", "contents", "input", "instructions", "output", "system",
        "text", "tools", "functions", "documents", "query", "data", "reasoning",
    )
)  # fmt: skip

# What an operation's name means: one model call of its own, or work that holds such calls.
CALLS: Final[dict[str, str]] = {
    "chat": "chat",
    "llm": "chat",
    "generation": "chat",
    "completion": "text_completion",
    "text_completion": "text_completion",
    "generate_content": "generate_content",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "acompletion": "chat",
    "aembedding": "embeddings",
    "responses": "chat",
    "aresponses": "chat",
    "message": "chat",
    "ai.generatetext.dogenerate": "chat",
    "ai.streamtext.dostream": "chat",
    "ai.generateobject.dogenerate": "chat",
    "ai.streamobject.dostream": "chat",
    "ai.embed.doembed": "embeddings",
    "ai.embedmany.doembed": "embeddings",
}

# Spans and log events of coding agents that are one model call each, by name.
CALL_NAMES: Final[dict[str, str]] = {
    "claude_code.llm_request": "chat",
    "claude_code.api_request": "chat",
    "claude_code.api_error": "chat",
    "gemini_cli.api_response": "chat",
    "gemini_cli.api_error": "chat",
    "codex.sse_event": "chat",
    "litellm_request": "chat",
}

# Who writes spans under these instrumentation scopes.
SCOPES: Final[tuple[tuple[str, str], ...]] = (
    ("openinference.", "openinference"),
    ("@arizeai/openinference", "openinference"),
    ("openlit", "openlit"),
    ("langfuse", "langfuse"),
    ("ai", "vercel"),
    ("gen_ai", "vercel"),
    ("pydantic-ai", "pydantic_ai"),
    ("logfire", "pydantic_ai"),
    ("litellm", "litellm"),
    ("com.anthropic.claude_code", "coding_agent"),
    ("traceloop", "openllmetry"),
)


@lru_cache(maxsize=1_024)
def scope_dialect(scope: str) -> str | None:
    """Return the dialect that an instrumentation scope's name gives away, if it does."""
    for prefix, dialect in SCOPES:
        if scope == prefix or (len(prefix) > 6 and scope.startswith(prefix)):
            return dialect
    return None


@lru_cache(maxsize=4_096)
def is_content(key: str) -> bool:
    """Say whether an attribute's key marks it as the text of a prompt or an answer."""
    if key in CONTENT_KEYS or any(mark in key for mark in CONTENT_MARKS):
        return True
    return key.startswith(RAW_PREFIX) and key.rpartition(".")[2] in RAW_MEMBERS

"""The providers that `init` knows: where they are, what they speak, a model for each tier."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One provider whose key may stand in the environment; its models are in the price list."""

    name: str
    variables: tuple[str, ...]  # the first that is set is used
    base_url: str
    dialects: tuple[str, ...]
    system: str  # `gen_ai.provider.name` on spans
    small: str
    mid: str
    frontier: str


PROVIDERS: Final[tuple[Known, ...]] = (
    Known(
        name="anthropic",
        variables=("ANTHROPIC_API_KEY",),
        base_url="https://api.anthropic.com/v1",
        dialects=("messages",),
        system="anthropic",
        small="claude-haiku-4-5",
        mid="claude-sonnet-4-6",
        frontier="claude-opus-4-8",
    ),
    Known(
        name="openai",
        variables=("OPENAI_API_KEY",),
        base_url="https://api.openai.com/v1",
        dialects=("chat", "responses"),
        system="openai",
        small="gpt-5.4-nano",
        mid="gpt-5.4-mini",
        frontier="gpt-5.5",
    ),
    Known(
        name="gemini",
        variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        dialects=("chat",),
        system="gcp.gemini",
        small="gemini-3.1-flash-lite",
        mid="gemini-3.5-flash",
        frontier="gemini-3.1-pro-preview",
    ),
    Known(
        name="mistral",
        variables=("MISTRAL_API_KEY",),
        base_url="https://api.mistral.ai/v1",
        dialects=("chat",),
        system="mistral_ai",
        small="ministral-8b-latest",
        mid="mistral-small-latest",
        frontier="mistral-medium-latest",
    ),
    Known(
        name="deepseek",
        variables=("DEEPSEEK_API_KEY",),
        base_url="https://api.deepseek.com/v1",
        dialects=("chat",),
        system="deepseek",
        small="deepseek-v4-flash",
        mid="deepseek-v4-flash",
        frontier="deepseek-v4-pro",
    ),
)

# Servers that people run themselves, at the addresses they listen on unless told otherwise.
LOCAL: Final[tuple[tuple[str, str], ...]] = (
    ("ollama", "http://127.0.0.1:11434/v1"),
    ("vllm", "http://127.0.0.1:8000/v1"),
    ("lmstudio", "http://127.0.0.1:1234/v1"),
)

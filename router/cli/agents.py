"""How each coding agent is told where its provider is; only ways that its makers document."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Gateway:
    """A running gateway as an agent sees it."""

    url: str  # http://host:port
    key: str = field(repr=False)  # what the agent sends as its key
    role: str

    @property
    def openai_url(self) -> str:
        """The base URL of OpenAI clients, which add /chat/completions or /responses."""
        return f"{self.url}/v1"

    @property
    def variables(self) -> dict[str, str]:
        """What the official clients of both makers read."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The command to run, the variables to set for it and those to take away."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    unset: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)  # where they are not set already


def claude(gateway: Gateway) -> Start:
    """Claude Code: https://code.claude.com/docs/en/llm-gateway.

    It sends ANTHROPIC_AUTH_TOKEN as a bearer token and warns when an API key stands beside it.
    Its background steps name a model of their own, so every one of its tiers becomes the role. It
    cannot know what window a role's models have and would fill a million tokens; set
    CLAUDE_CODE_AUTO_COMPACT_WINDOW yourself when the smallest of them holds other than 200,000.
    """
    alias = f"claude-tierwise-{gateway.role}"
    names = ("MODEL", "DEFAULT_OPUS_MODEL", "DEFAULT_SONNET_MODEL", "DEFAULT_HAIKU_MODEL")
    return Start(
        command=("claude",),
        variables={
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": gateway.key,
            **{f"ANTHROPIC_{name}": alias for name in names},
        },
        unset=("ANTHROPIC_API_KEY",),
        defaults={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "200000"},
    )


def codex(gateway: Gateway) -> Start:
    """Codex: a provider of one's own, as https://developers.openai.com/codex/config-advanced says.

    It no longer obeys OPENAI_BASE_URL (openai/codex issue 16719), so the provider is given as
    settings of this run; ~/.codex/config.toml is left alone.
    """
    provider = "model_providers.tierwise"
    settings = (
        'model_provider="tierwise"',
        f'{provider}.name="tierwise"',
        f'{provider}.base_url="{gateway.openai_url}"',
        f'{provider}.env_key="TIERWISE_CLIENT_KEY"',
        f'{provider}.wire_api="responses"',
        f'model="tierwise/{gateway.role}"',
    )
    flags = (part for setting in settings for part in ("-c", setting))
    return Start(command=("codex", *flags), variables={"TIERWISE_CLIENT_KEY": gateway.key})


def qwen(gateway: Gateway) -> Start:
    """Qwen Code: https://qwenlm.github.io/qwen-code-docs/en/cli/openai-auth."""
    return Start(
        command=("qwen",),
        variables={
            "OPENAI_BASE_URL": gateway.openai_url,
            "OPENAI_API_KEY": gateway.key,
            "OPENAI_MODEL": f"tierwise/{gateway.role}",
        },
    )


def aider(gateway: Gateway) -> Start:
    """Aider: https://aider.chat/docs/llms/openai-compat.html; `openai/` chooses its client."""
    return Start(
        command=("aider", "--model", f"openai/tierwise/{gateway.role}"),
        variables={"OPENAI_API_BASE": gateway.openai_url, "OPENAI_API_KEY": gateway.key},
    )


AGENTS: Final[Mapping[str, Callable[[Gateway], Start]]] = {
    "claude": claude,
    "codex": codex,
    "qwen": qwen,
    "aider": aider,
}

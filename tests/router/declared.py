"""Small configurations and policies for tests, as the TOML that people would write."""

from collections.abc import Mapping
from datetime import date

from router.config import Config
from router.policy import Policy
from router.policyfile import PolicyFile
from router.targets import Targets
from telemetry.configfile import parse
from telemetry.records import Context, Dialect, RoleSource

TODAY = date(2026, 11, 22)
CANARY = "sk-canary-6c1d8f2a90b74e53"
ENVIRONMENT = {"CLAUDE_KEY": CANARY, "GPT_KEY": CANARY + "-2"}

CONFIG = """
schema = 1

[providers.claude]
base_url = "https://claude.example"
dialects = ["messages"]
key_env = "CLAUDE_KEY"
system = "anthropic"

[providers.gpt]
base_url = "https://gpt.example/v1"
dialects = ["chat", "responses"]
key_env = "GPT_KEY"
system = "openai"

[providers.local]
base_url = "http://127.0.0.1:11434/v1"
dialects = ["chat"]

[prices]
"claude/mid" = { input = 3, output = 15, cache_read = 0.3, cache_write = 3.75 }
"claude/big" = { input = 5, output = 25 }
"gpt/mini" = { input = 0.5, output = 2 }
"gpt/big" = { input = 4, output = 20 }
"local/tiny" = { input = 0, output = 0 }
"""

LADDER = """
schema = 1
ladder = ["small", "mid", "frontier"]

[tiers.small]
models = ["local/tiny"]
[tiers.mid]
models = ["claude/mid", "gpt/mini"]
params.chat = { reasoning_effort = "low" }
[tiers.frontier]
models = ["claude/big", "gpt/big"]
"""

ALERTS = """
[alerts.cost]
budget_usd_per_day = 120
[alerts.quality]
sample = 1.0
"""

WORKER = """
[roles.worker]
tier = "mid"
range = ["small", "frontier"]
"""

LEARNER = (
    WORKER
    + """
learn = "bounded"
quality_floor = 0.9
"""
    + ALERTS
)


def config(text: str = CONFIG) -> Config:
    """Return tierwise.toml, given as its text."""
    return parse(text.encode(), Config, name="tierwise.toml")


def policy_file(text: str) -> PolicyFile:
    """Return policy.toml, given as its text."""
    return parse(text.encode(), PolicyFile, name="policy.toml")


def policy(
    roles: str = "",
    *,
    tiers: str = LADDER,
    configured: str = CONFIG,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> Policy:
    """Return the policy that ``tiers`` and ``roles`` declare."""
    targets = Targets(config(configured), environment, today=TODAY)
    return Policy.build(policy_file(tiers + roles), targets, today=TODAY)


def context(
    role: str = "worker",
    dialect: Dialect = Dialect.CHAT,
    *,
    mode: str | None = None,
    caller_pin: str | None = None,
    role_unknown: str | None = None,
) -> Context:
    """Return a step's context."""
    return Context(
        role=role,
        role_source=RoleSource.HEADER,
        role_unknown=role_unknown,
        dialect=dialect,
        mode=mode,
        caller_pin=caller_pin,
    )

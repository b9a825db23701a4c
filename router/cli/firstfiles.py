"""The two files that `init` writes: commented, and such that they load as they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.cli.catalogue import Known

STAND_IN_MODEL = "qwen3:8b"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """A known provider, and the variable that its key was found in."""

    known: Known
    key_env: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """A server of one's own and the model that it would answer with."""

    name: str
    base_url: str
    model: str
    seen: bool = True  # False when nothing answered and this is only a beginning


def config_text(hosted: Sequence[Hosted], local: Local | None) -> str:
    """Return tierwise.toml for these providers."""
    parts = [CONFIG_HEAD]
    for one in hosted:
        dialects = ", ".join(f'"{dialect}"' for dialect in one.known.dialects)
        parts.append(
            f"[providers.{one.known.name}]\n"
            f'base_url = "{one.known.base_url}"\n'
            f"dialects = [{dialects}]\n"
            f'key_env = "{one.key_env}"  # the variable, never the key itself\n'
            f'system = "{one.known.system}"  # its name on spans\n'
        )
    if local is not None:
        parts.append(
            f"[providers.{local.name}]  # a server of your own\n"
            f'base_url = "{local.base_url}"\n'
            'dialects = ["chat"]\n'
        )
        parts.append(
            "# US dollars for one million tokens. Known models need no price here; your own do.\n"
            f'[prices."{local.name}/{local.model}"]\n'
            "input = 0\n"
            "output = 0\n"
        )
    return "\n".join(parts)


def policy_text(hosted: Sequence[Hosted], local: Local | None) -> str:
    """Return policy.toml for these providers: three tiers, or one when there is one model."""
    own = [f"{local.name}/{local.model}"] if local is not None else []
    if not hosted:
        return POLICY_HEAD + _ladder([("small", own)]) + POLICY_ONE
    tiers = [
        (tier, [f"{one.known.name}/{getattr(one.known, tier)}" for one in hosted])
        for tier in ("small", "mid", "frontier")
    ]
    tiers[0] = ("small", [*tiers[0][1], *own])
    return POLICY_HEAD + _ladder(tiers) + POLICY_THREE


def _ladder(tiers: Sequence[tuple[str, Sequence[str]]]) -> str:
    names = ", ".join(f'"{tier}"' for tier, _ in tiers)
    lines = [f"ladder = [{names}]  # tiers, cheapest first", ""]
    for tier, models in tiers:
        listed = ", ".join(f'"{model}"' for model in models)
        lines += [f"[tiers.{tier}]", f"models = [{listed}]", ""]
    return "\n".join(lines) + "\n"


CONFIG_HEAD = """\
# Where tierwise listens and which providers there are. Every key: docs/configuration.md.
schema = 1
state_dir = ".tierwise"  # relative to this file

[gateway]
listen = "127.0.0.1:8080"  # agents call this
workers = 1

[collector]
otlp_http = "127.0.0.1:4318"  # OpenTelemetry spans
otlp_grpc = "127.0.0.1:4317"
console = "127.0.0.1:8081"  # pages and API
store = ".tierwise/tierwise.duckdb"

# To listen beyond this machine, give each caller a key:
# [[keys]]
# name = "support-bot"
# key_env = "SUPPORT_BOT_KEY"
# role = "worker"
"""

POLICY_HEAD = """\
# Which role runs on which tier. Review it like code; `tierwise policy lint` checks it.
schema = 1
"""

POLICY_THREE = """\
# Agents name a role by model (`tierwise/planner`, `claude-tierwise-planner`) or by the header
# x-tierwise-role. Steps that name none are `default`.
[roles.default]
tier = "mid"  # where its steps start, and what they fall back to
range = ["small", "frontier"]  # where escalation may go

[roles.planner]
description = "breaks work down; errors here are dear"
tier = "frontier"

[roles.worker]
description = "does one step of a plan"
tier = "mid"
range = ["small", "frontier"]

[roles.extractor]
description = "mechanical: reads fields out of text"
tier = "small"
range = ["small", "mid"]
checks = ["not_truncated", "json_schema"]  # an answer that fails goes one tier up
"""

POLICY_ONE = """\
# One tier for now: everything runs there. With a second one, for example "frontier", give each
# role its tier: [roles.planner] with tier = "frontier".
[roles.default]
tier = "small"
"""

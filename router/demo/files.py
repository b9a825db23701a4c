"""The two files that the demo writes, with prices like those of three real models."""

from dataclasses import dataclass
from pathlib import Path

from evals.workloads import batch, support


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    model: str  # as the policy names it
    like: str  # the model whose list price it is, as of November 2026
    input: float
    output: float
    cache_read: float
    cache_write: float


TIERS = ("small", "mid", "frontier")
PRICES = {
    "small": Price(
        model="local/standin-small", like="gemini-2.5-flash-lite",
        input=0.10, output=0.40, cache_read=0.01, cache_write=0.10,
    ),
    "mid": Price(
        model="cloud/standin-mid", like="claude-haiku-4-5",
        input=1.00, output=5.00, cache_read=0.10, cache_write=1.25,
    ),
    "frontier": Price(
        model="cloud/standin-frontier", like="claude-opus-4-8",
        input=5.00, output=25.00, cache_read=0.50, cache_write=6.25,
    ),
}  # fmt: skip

# Where each role starts. Judgement goes up, mechanical work goes down.
STARTS = {
    "intake": "small", "categoriser": "small", "extractor": "small", "tool_caller": "small",
    "summariser": "mid", "decider": "frontier", "writer": "mid", "critic": "frontier",
    "sender": "small", "planner": "frontier", "doc_classifier": "small",
    "field_extractor": "small", "normaliser": "small",
}  # fmt: skip
assert set(STARTS) == {*support.ROLES, *batch.ROLES}, "each role of the agents has a tier"


def write(folder: Path, *, local: str, cloud: str) -> tuple[Path, Path]:
    """Write tierwise.toml and policy.toml for stand-ins at two base URLs; return their paths."""
    config, policy = folder / "tierwise.toml", folder / "policy.toml"
    config.write_text(_config(local, cloud), encoding="utf-8")
    policy.write_text(_policy(), encoding="utf-8")
    return config, policy


def _config(local: str, cloud: str) -> str:
    lines = ["schema = 1", "", "[gateway]", "drain_seconds = 5", ""]
    for name, url in (("local", local), ("cloud", cloud)):
        lines += [
            f"[providers.{name}]",
            f'base_url = "{url}"',
            'dialects = ["chat", "responses", "messages"]',
            "",
        ]
    for price in PRICES.values():
        lines += [
            f'[prices."{price.model}"]',
            f"input = {price.input}",
            f"output = {price.output}",
            f"cache_read = {price.cache_read}",
            f"cache_write = {price.cache_write}",
            "",
        ]
    return "\n".join(lines)


def _policy() -> str:
    ladder = ", ".join(f'"{tier}"' for tier in TIERS)
    lines = ["schema = 1", f"ladder = [{ladder}]", ""]
    for tier, price in PRICES.items():
        lines += [f"[tiers.{tier}]", f'models = ["{price.model}"]', ""]
    for role, tier in {**STARTS, "default": "mid"}.items():
        lines += [
            f"[roles.{role}]",
            f'tier = "{tier}"',
            'range = ["small", "frontier"]',
            'learn = "off"',
            "",
        ]
    return "\n".join(lines)

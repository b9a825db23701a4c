"""The files that the demo writes: two of configuration, and the module of its code tier."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.workloads import batch, support
from evals.workloads.documents import KINDS
from evals.workloads.documents import LANGUAGES as DOCUMENT_LANGUAGES
from evals.workloads.tickets import CATEGORIES, LANGUAGES
from router.demo import desk_rules

PLAN_ESCALATIONS_MAX = 6
NIGHT_BUDGET_USD = 0.06


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    model: str  # as the policy names it
    like: str  # the model whose list price it is, as of November 2026
    input: float
    output: float
    cache_read: float
    cache_write: float


TIERS = ("small", "mid", "frontier")  # those with models; the tier `code` is below them
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
    "intake": "small", "categoriser": "small", "extractor": "small", "tool_caller": "code",
    "summariser": "mid", "decider": "frontier", "writer": "mid", "critic": "code",
    "sender": "small", "planner": "frontier", "doc_classifier": "small",
    "field_extractor": "small", "normaliser": "code", support.NIGHT_ROLE: "frontier",
}  # fmt: skip
_ROLES = {*support.ROLES, *batch.ROLES, support.NIGHT_ROLE}
assert set(STARTS) == _ROLES, "each role of the agents has a tier"
FUNCTIONS = {"tool_caller": "look_up", "critic": "check_policy", "normaliser": "normalise"}
HELD = ("writer",)  # streams that are checked before the customer's reply goes out
# A revised plan sends what gave trouble to these, a tier above where they start otherwise.
CAREFUL = ("doc_classifier", "field_extractor", "normaliser")

Check = str | Mapping[str, Any]


def checks(role: str, *, grounded_url: str) -> list[Check]:
    """Return the checks of one of the agents' roles; ``grounded_url`` is that of the HTTP check."""
    grounded = {"check": "http", "name": "grounded", "url": grounded_url}
    document_answers = [*DOCUMENT_LANGUAGES, *KINDS, "yes", "no"]
    decision: list[Check] = [
        "not_truncated", {"check": "required_keys", "keys": ["action", "reason"]},
    ]  # fmt: skip
    known: dict[str, list[Check]] = {
        "intake": ["not_truncated", {"check": "one_of", "values": list(LANGUAGES)}],
        "categoriser": ["not_truncated", {"check": "one_of", "values": list(CATEGORIES)}],
        "extractor": [
            "not_truncated", "json_schema",
            {"check": "required_keys", "keys": support.EXTRACT_SCHEMA["required"], "filled": True},
            grounded,
        ],
        "tool_caller": ["tool_call_valid", grounded],
        "summariser": [
            "not_truncated", "not_refusal", {"check": "max_length", "words": 120},
            {"check": "regex", "name": "names_an_order", "pattern": r"\b[A-Z]{2}-[0-9]{6}\b"},
        ],
        "decider": decision,
        support.NIGHT_ROLE: decision,
        "writer": [
            "not_truncated", "not_refusal",
            {
                "check": "contains", "name": "promises_nothing", "absent": [support.FORBIDDEN],
                "ignore_case": True,
            },
        ],
        "critic": [{"check": "required_keys", "keys": ["ok", "violations"]}],
        "sender": ["tool_call_valid", grounded],
        "planner": ["not_truncated", {"check": "required_keys", "keys": ["steps"]}],
        "doc_classifier": [{"check": "one_of", "values": document_answers}],
        "field_extractor": ["not_truncated", grounded],
        "normaliser": [
            {
                "check": "regex", "name": "plain_form", "whole": True,
                "pattern": r"\d{4}-\d\d-\d\d|\d+(\.\d\d)?|[a-z0-9-]+\.pdf",
            },
        ],
    }  # fmt: skip
    return known[role]


def write(folder: Path, *, local: str, cloud: str, grounded_url: str) -> tuple[Path, Path]:
    """Write all three files for stand-ins at two base URLs; return the two of configuration."""
    config, policy = folder / "tierwise.toml", folder / "policy.toml"
    config.write_text(_config(local, cloud), encoding="utf-8")
    policy.write_text(_policy(grounded_url), encoding="utf-8")
    shutil.copy(desk_rules.__file__, folder)
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


def _policy(grounded_url: str) -> str:
    ladder = _toml(["code", *TIERS])
    lines = ["schema = 1", f"ladder = {ladder}", ""]
    for tier, price in PRICES.items():
        lines += [f"[tiers.{tier}]", f'models = ["{price.model}"]', ""]
    lines += ["[plans]", f"escalations_max = {PLAN_ESCALATIONS_MAX}", ""]
    lines += ["[[budgets]]", 'scope = "role"', f'name = "{support.NIGHT_ROLE}"']
    lines += [f"usd = {NIGHT_BUDGET_USD}", 'on_exhausted = "refuse"', ""]
    for role, tier in STARTS.items():
        lines += [f"[roles.{role}]", f'tier = "{tier}"', 'learn = "off"']
        low = "code" if role in FUNCTIONS else "small"
        lines.append(f'range = ["{low}", "frontier"]')
        if role in FUNCTIONS:
            lines.append(f'code = "desk_rules:{FUNCTIONS[role]}"')
        if role in HELD:
            lines.append('stream = "hold"')
        lines.append("checks = [")
        lines += [f"  {_toml(check)}," for check in checks(role, grounded_url=grounded_url)]
        lines += ["]", ""]
        if role in CAREFUL:
            lines += [f"[roles.{role}.mode.{batch.CAREFUL}]", 'tier = "mid"', ""]
    lines += ["[roles.default]", 'tier = "mid"', 'range = ["small", "frontier"]', ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    """Return a value as TOML on one line; strings and lists are written as in JSON."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)

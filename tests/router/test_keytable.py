"""docs/configuration.md: complete, current, and its examples load."""

import re
from datetime import date

import pytest

from router.config import Config
from router.keytable import FORMS, PAGE, keys, refreshed, tables
from router.policy import Policy
from router.policyfile import PolicyFile
from router.reload import build
from telemetry.configfile import Section
from telemetry.records import Dialect
from tests.router.declared import CANARY

TODAY = date(2026, 11, 22)
ENVIRONMENT = {
    name: CANARY
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "SUPPORT_BOT_KEY", "TIERWISE_WEBHOOK_URL")
}


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def example(name: str) -> str:
    marked = re.findall(rf"```toml\n# complete example: {re.escape(name)}\n(.*?)```", page(), re.S)
    (text,) = marked
    return str(text)


def loaded() -> Policy:
    config, policy = (example(name).encode() for name in FORMS)
    return build(config, policy, environment=ENVIRONMENT, today=TODAY).policy


def test_the_page_shows_the_tables_that_the_forms_make() -> None:
    assert refreshed(page()) == page(), "run: python -m router.keytable"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tierwise\.toml: begin"):
        refreshed("# Configuration\n")


@pytest.mark.parametrize(("name", "form"), FORMS.items())
def test_every_key_of_every_table_has_a_row(name: str, form: type[Section]) -> None:
    begin = page().index(f"<!-- {name}: begin -->")
    end = page().index(f"<!-- {name}: end -->")
    shown = page()[begin:end]
    found = 0
    for header, key in keys(form):
        part = shown.partition(f"### `{header}`\n" if header else "### Before the first table\n")[2]
        assert f"\n| `{key}` |" in part.partition("\n### ")[0], (header, key)
        found += 1
    assert found > 25


def test_a_default_a_limit_and_a_choice_are_shown() -> None:
    text = "".join(tables(Config))
    assert "| `workers` | whole number, at least 1, at most 64 | `1` |" in text
    assert "| `anonymous` | true or false | `false` |" in text
    assert "| `auth` | `bearer` · `x-api-key` | none |" in text
    assert "| `quality_floor` | number, at least 0, at most 1 | none |" in "".join(
        tables(PolicyFile)
    )


def test_the_examples_of_the_page_can_be_served() -> None:
    policy = loaded()
    assert {"default", "planner", "worker", "critic", "classifier", "pii_extractor"} == policy.roles
    assert policy.warnings(TODAY) == ()


def test_the_examples_serve_embeddings_with_the_embedding_model_alone() -> None:
    policy = loaded()
    models = [
        target.model
        for tier in policy.ladder
        for target in policy.targets(tier, Dialect.EMBEDDINGS)
    ]
    assert models == ["openai-embeddings/text-embedding-3-small"]


def test_the_examples_name_each_table_of_both_files() -> None:
    named = set()
    for name in FORMS:
        named |= set(re.findall(r"^\[+([a-z_]+(?:\.[a-z_]+)*)", example(name), re.M))
    for form in FORMS.values():
        for header, _ in keys(form):
            top = header.strip("[]").split(".")[0]
            assert not top or any(name.split(".")[0] == top for name in named), header

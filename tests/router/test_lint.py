"""What the linter finds, and that it never raises."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.lint import Finding, lint
from tests.router.declared import (
    CANARY,
    CONFIG,
    ENVIRONMENT,
    LADDER,
    LEARNER,
    TODAY,
    WORKER,
)

PIN = (
    'pin = { model = "local/tiny", reason = "stays here", owner = "dpo@example.com", until = %s }\n'
)
FLUENT = CONFIG.replace(
    'dialects = ["chat"]', 'dialects = ["chat", "responses", "messages"]'
).replace('dialects = ["messages"]', 'dialects = ["chat", "responses", "messages"]')


class Linter:
    """Writes both files and lints them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        policy: str,
        *,
        configured: str = FLUENT,
        environment: dict[str, str] | None = None,
        today: date = TODAY,
    ) -> list[Finding]:
        (self.folder / "tierwise.toml").write_text(configured)
        (self.folder / "policy.toml").write_text(policy)
        return lint(
            self.folder / "tierwise.toml",
            self.folder / "policy.toml",
            environment=ENVIRONMENT if environment is None else environment,
            today=today,
        )


@pytest.fixture
def linted(tmp_path: Path) -> Linter:
    return Linter(tmp_path)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_a_policy_that_is_well_has_no_findings(linted: Linter) -> None:
    assert linted(LADDER + LEARNER) == []


def test_both_files_are_read_even_when_the_first_is_wrong(linted: Linter) -> None:
    found = linted("ladder = 5", configured="schema = 2")
    assert all(finding.level == "error" for finding in found)
    assert {finding.where for finding in found} == {"tierwise.toml", "policy.toml"}


def test_absent_files_are_findings(tmp_path: Path) -> None:
    found = lint(tmp_path / "a.toml", tmp_path / "b.toml", environment={}, today=TODAY)
    assert [finding.where for finding in found] == ["a.toml", "b.toml"]
    assert "tierwise init" in found[0].remedy


def test_errors_of_the_table_the_models_and_the_keys_come_together(linted: Linter) -> None:
    found = linted(
        LADDER.replace("local/tiny", "local/new") + '[roles.worker]\ntier = "midd"\n',
        configured=CONFIG + '[[keys]]\nname = "ci"\nkey_env = "CI"\nrole = "workr"\n',
    )
    assert {finding.level for finding in found} == {"error"}
    places = [finding.where for finding in found]
    assert "policy.toml: roles.worker" in places
    assert "policy.toml: tiers.small.models" in places
    assert "tierwise.toml: keys.ci" in places
    assert any("CI is unset" in finding.message for finding in found)
    assert all(finding.remedy for finding in found)


def test_an_expired_pin_is_a_warning_and_one_about_to_end_too(linted: Linter) -> None:
    roles = "[roles.pii]\n" + PIN % "2026-12-01"
    late = linted(LADDER + roles, today=date(2026, 12, 2))
    assert "it still holds" in only(late).message
    assert "dpo@example.com" in only(late).remedy
    soon = linted(LADDER + roles, today=date(2026, 11, 22))
    assert "ends on 2026-12-01" in only(soon).message
    assert linted(LADDER + roles, today=date(2026, 10, 1)) == []


def test_rules_beside_a_pin_are_said_to_be_moot(linted: Linter) -> None:
    found = linted(LADDER + '[roles.pii]\ntier = "mid"\n' + PIN % "2027-12-01")
    assert "tier say nothing" in only(found).message
    moded = '[roles.pii]\ntier = "mid"\n' + PIN % "2027-12-01" + "[roles.pii.mode.debate]\n"
    assert only(linted(LADDER + moded)).where == "policy.toml: roles.pii"


def test_learning_with_nothing_to_choose_is_a_warning(linted: Linter) -> None:
    fixed = LEARNER.replace('["small", "frontier"]', '["mid", "mid"]')
    assert "nothing to choose" in only(linted(LADDER + fixed)).message


def test_a_dialect_that_shortens_a_ladder_is_said(linted: Linter) -> None:
    found = linted(LADDER + WORKER, configured=CONFIG)
    said = {(finding.where, finding.message) for finding in found}
    assert (
        "policy.toml: roles.worker",
        "steps in the messages dialect cannot use small",
    ) in said
    assert (
        "policy.toml: roles.worker",
        "steps in the responses dialect cannot use small",
    ) in said
    assert not any("chat" in message for _, message in said)


def test_a_dialect_that_moves_the_start_or_leaves_nothing_is_said(linted: Linter) -> None:
    roles = (
        '[roles.low]\ntier = "small"\n[roles.fixed]\ntier = "small"\nrange = ["small", "small"]\n'
    )
    messages = {
        finding.where: finding.message
        for finding in linted(LADDER + roles, configured=CONFIG)
        if "messages" in finding.message
    }
    assert messages["policy.toml: roles.low"].endswith("cannot use small and start at 'mid'")
    assert messages["policy.toml: roles.fixed"] == "steps in the messages dialect are refused"


def test_a_writing_model_that_would_get_embeddings_is_said(linted: Linter) -> None:
    configured = FLUENT.replace(
        'dialects = ["chat", "responses"]',
        'dialects = ["chat", "responses", "messages", "embeddings"]',
    )
    found = linted(LADDER, configured=configured)
    assert {finding.where for finding in found} == {
        "policy.toml: tiers.mid.models",
        "policy.toml: tiers.frontier.models",
    }
    assert all("offered embeddings" in finding.message for finding in found)


def test_an_embedding_model_beside_writing_ones_is_well(linted: Linter) -> None:
    configured = FLUENT.replace(
        'dialects = ["chat", "responses"]', 'dialects = ["embeddings", "chat"]'
    )
    configured += '"gpt/embed" = { input = 0.02, output = 0 }\n'
    tiers = LADDER.replace('["local/tiny"]', '["local/tiny", "gpt/embed"]')
    found = [f for f in linted(tiers, configured=configured) if "embeddings" in f.message]
    assert not any("gpt/embed" in finding.message for finding in found)
    assert {finding.where for finding in found} == {
        "policy.toml: tiers.mid.models",
        "policy.toml: tiers.frontier.models",
    }


def test_prices_and_providers_that_nothing_uses_are_said(linted: Linter) -> None:
    extra = (
        '"gpt/unused" = { input = 1, output = 1 }\n'
        '[providers.spare]\nbase_url = "http://127.0.0.1:1"\ndialects = ["chat"]\n'
    )
    found = linted(LADDER, configured=FLUENT + extra)
    assert {finding.where for finding in found} == {
        'tierwise.toml: prices."gpt/unused"',
        "tierwise.toml: providers.spare",
    }
    assert {finding.level for finding in found} == {"warning"}


def test_no_finding_shows_a_secret(linted: Linter) -> None:
    bad = {"CLAUDE_KEY": CANARY + "\nx", "GPT_KEY": CANARY}
    found = linted(LADDER, environment=bad)
    assert found
    assert CANARY not in repr(found)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_the_files_hold_nothing_is_raised(linted: Linter, data: st.DataObject) -> None:
    def mangled(text: str) -> str:
        lines = text.splitlines()
        for _ in range(data.draw(st.integers(0, 4))):
            index = data.draw(st.integers(0, len(lines) - 1))
            lines[index] = data.draw(
                st.sampled_from(
                    [
                        "",
                        "x = 1",
                        "[roles.a]",
                        'tier = "mid"',
                        "models = []",
                        "[[shapes]]",
                        "pin = {}",
                    ]
                )
                | st.just(lines[data.draw(st.integers(0, len(lines) - 1))])
                | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
            )
        return "\n".join(lines)

    found = linted(mangled(LADDER + LEARNER), configured=mangled(CONFIG))
    assert all(finding.message for finding in found)

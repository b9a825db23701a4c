"""Models found in the configuration: addresses, keys, prices."""

from dataclasses import asdict

import pytest

from router.targets import Targets, secret
from telemetry.errors import ConfigError
from telemetry.records import Dialect
from tests.router.declared import CANARY, CONFIG, ENVIRONMENT, TODAY, config


def targets(text: str = CONFIG, environment: dict[str, str] | None = None) -> Targets:
    return Targets(config(text), ENVIRONMENT if environment is None else environment, today=TODAY)


def test_a_target_is_the_models_provider_ready_to_be_called() -> None:
    found = targets().target("claude/mid")
    assert (found.model, found.request_model) == ("claude/mid", "mid")
    assert (found.provider, list(found.dialects)) == ("anthropic", [Dialect.MESSAGES])
    assert (found.server_address, found.server_port) == ("claude.example", 443)
    assert found.stream_usage


def test_an_address_without_a_path_gets_v1_and_one_with_a_path_keeps_it() -> None:
    assert targets().target("claude/mid").base_url == "https://claude.example/v1"
    text = CONFIG.replace("https://claude.example", "http://claude.example:81/api/anthropic/")
    found = targets(text).target("claude/mid")
    assert found.base_url == "http://claude.example:81/api/anthropic"
    assert found.server_port == 81


def test_the_provider_is_called_by_its_own_name_when_no_system_is_given() -> None:
    assert targets().target("local/tiny").provider == "local"


def test_the_request_model_is_all_that_follows_the_first_slash() -> None:
    text = CONFIG + '"local/org/model:7b" = { input = 0, output = 0 }\n'
    assert targets(text).target("local/org/model:7b").request_model == "org/model:7b"


def test_each_dialect_gets_the_key_in_the_header_it_expects() -> None:
    assert targets().target("claude/mid").headers == (("x-api-key", CANARY),)
    assert targets().target("gpt/big").headers == (("authorization", f"Bearer {CANARY}-2"),)
    assert targets().target("local/tiny").headers == ()


def test_a_provider_of_both_worlds_gets_the_key_as_the_dialect_wants_it() -> None:
    text = CONFIG.replace('dialects = ["messages"]', 'dialects = ["messages", "chat"]')
    both = targets(text)
    assert both.target("claude/mid", Dialect.MESSAGES).headers[0][0] == "x-api-key"
    assert both.target("claude/mid", Dialect.CHAT).headers[0][0] == "authorization"


def test_the_way_a_key_is_sent_can_be_said() -> None:
    text = CONFIG.replace('system = "anthropic"', 'system = "anthropic"\nauth = "bearer"')
    assert targets(text).target("claude/mid").headers == (("authorization", f"Bearer {CANARY}"),)


def test_further_headers_come_before_the_key_in_lower_case() -> None:
    text = CONFIG.replace(
        'system = "anthropic"',
        'system = "anthropic"\nheaders = { Anthropic-Version = "2023-06-01" }',
    )
    assert targets(text).target("claude/mid").headers == (
        ("anthropic-version", "2023-06-01"),
        ("x-api-key", CANARY),
    )


def test_no_text_form_of_a_target_holds_its_key() -> None:
    found = targets().target("claude/mid")
    assert CANARY not in repr(found)
    assert CANARY not in str(found)
    assert CANARY not in f"{found}"
    assert CANARY in str(asdict(found)["headers"])  # the key is there; only its showing is not
    assert CANARY not in repr(targets())


def test_a_missing_key_names_its_variable_and_table() -> None:
    for environment in ({}, {"CLAUDE_KEY": ""}, {"CLAUDE_KEY": "  \n"}):
        with pytest.raises(ConfigError) as caught:
            targets(environment=environment).target("claude/mid")
        assert "CLAUDE_KEY is not set" in str(caught.value)
        assert "[providers.claude]" in str(caught.value)


def test_a_key_is_taken_without_the_line_break_that_files_end_with() -> None:
    assert secret("K", {"K": " abc\n"}, user="test") == "abc"


@pytest.mark.parametrize("inside", ["\r\nx-evil: 1", " ", "\x00", "é", "\t"])
def test_a_key_that_no_header_may_carry_is_refused_without_being_shown(inside: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secret("THE_KEY", {"THE_KEY": CANARY + inside + CANARY}, user="test")
    assert "THE_KEY" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value)


def test_an_unknown_provider_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known providers: claude, gpt, local"):
        targets().target("clod/mid")


def test_a_provider_that_no_policy_uses_needs_no_key() -> None:
    assert targets(environment={}).target("local/tiny").headers == ()

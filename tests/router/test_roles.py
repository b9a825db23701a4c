"""Whose role counts when several sources name one."""

from itertools import combinations

import pytest

from router.roles import Asked, alias_of, resolve
from telemetry.records import RoleSource, Shape
from tests.router.declared import policy

ROLES = "".join(f"[roles.{name}]\n" for name in ("one", "two", "three", "four", "five"))
RULE = '[[shapes]]\nrole = "one"\ncode = true\n'
SOURCES = {
    "header_role": (RoleSource.HEADER, "one"),
    "alias": (RoleSource.ALIAS, "two"),
    "metadata_role": (RoleSource.METADATA, "three"),
    "baggage_agent": (RoleSource.BAGGAGE, "four"),
    "key_role": (RoleSource.KEY, "five"),
}


def shape(*, code: bool = False) -> Shape:
    return Shape(
        body_bytes=10,
        messages_count=1,
        tools_count=0,
        tool_choice_forced=False,
        schema=False,
        choices_count=None,
        images=False,
        code=code,
        output_tokens_max=None,
    )


def never() -> Shape:
    raise AssertionError("the shape was read although the role is known")


def test_the_first_source_in_the_stated_order_wins_whatever_the_others_say() -> None:
    built = policy(ROLES)
    for size in range(1, len(SOURCES) + 1):
        for present in combinations(SOURCES, size):
            asked = Asked(**{name: SOURCES[name][1] for name in present})
            source, role = SOURCES[present[0]]
            assert resolve(asked, built, never) == (role, source, None)


def test_empty_sources_say_nothing() -> None:
    asked = Asked(header_role="", alias="", metadata_role=" ", key_role="five")
    assert resolve(asked, policy(ROLES), never) == ("five", RoleSource.KEY, None)


def test_shape_rules_are_asked_only_when_nobody_names_a_role() -> None:
    built = policy(ROLES + RULE)
    assert resolve(Asked(key_role="five"), built, never)[0] == "five"
    assert resolve(Asked(), built, lambda: shape(code=True)) == ("one", RoleSource.SHAPE, None)
    assert resolve(Asked(), built, shape) == ("default", RoleSource.DEFAULT, None)


def test_the_shape_is_not_read_when_the_policy_has_no_rules() -> None:
    assert resolve(Asked(), policy(ROLES), never) == ("default", RoleSource.DEFAULT, None)


def test_an_unknown_name_gets_default_and_does_not_fall_through() -> None:
    asked = Asked(header_role="plannr", key_role="five")
    assert resolve(asked, policy(ROLES), never) == ("default", RoleSource.HEADER, "plannr")


def test_a_role_is_found_in_any_case_because_the_policy_knows_only_lower() -> None:
    assert resolve(Asked(header_role=" Three "), policy(ROLES), never)[0] == "three"


def test_default_may_be_asked_for_by_name() -> None:
    asked = Asked(header_role="default")
    assert resolve(asked, policy(ROLES), never) == ("default", RoleSource.HEADER, None)


def test_a_strangers_name_is_kept_short_and_printable() -> None:
    asked = Asked(baggage_agent="a\r\nx-evil: 1é" + "b" * 500)
    _, _, unknown = resolve(asked, policy(ROLES), never)
    assert unknown is not None
    assert len(unknown) == 64
    assert unknown.startswith("a??x-evil: 1?b")


@pytest.mark.parametrize(
    ("model", "role"),
    [
        ("tierwise/auto", ""),
        ("claude-tierwise-auto", ""),
        ("tierwise/planner", "planner"),
        ("claude-tierwise-planner", "planner"),
        ("tierwise/", ""),
        ("openai/gpt-5.5", None),
        ("claude-opus-4-8", None),
        ("", None),
    ],
)
def test_aliases_are_told_from_models(model: str, role: str | None) -> None:
    assert alias_of(model) == role

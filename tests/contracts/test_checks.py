"""What every registered check promises: a version, purity, no surprise, and a place in the docs."""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.answers import Answer, Finish, TokenLogprob, ToolCall
from evals.catalogue import BUILT_IN, EXTERNAL, build_checks
from evals.checks import Check, check_now
from telemetry.records import Result, Verdict
from tests.evals.answering import a_step, says, with_schema, with_tool

DOCS = Path(__file__).parents[2] / "docs" / "checks.md"

# Every check that comes with tierwise: parameters to make it with, and what it says of an answer
# that is valid, complete and empty.
ENROLLED: dict[str, tuple[dict[str, Any], str]] = {
    "not_truncated": ({}, "passes"),
    "not_empty": ({}, "fails"),
    "not_refusal": ({}, "passes"),
    "max_length": ({"words": 3, "lines": 2}, "passes"),
    "json": ({"fence": True}, "fails"),
    "json_schema": ({}, "abstains"),
    "required_keys": ({"keys": ["a", "b.c"], "filled": True}, "fails"),
    "tool_call_valid": ({}, "abstains"),
    "one_of": ({"values": ["a", "b"]}, "fails"),
    "contains": ({"values": ["a"], "absent": ["b"]}, "fails"),
    "regex": ({"pattern": "^a*$"}, "as the pattern says: passes"),
    "number_range": ({"min": 0, "max": 10}, "fails"),
    "python_parses": ({}, "fails"),
    "unified_diff_applies": ({"base": "last_user_fence"}, "fails"),
    "min_logprob": ({"mean": -1}, "abstains"),
}
# These depend on somebody else; tests/evals/test_external.py and test_judge.py cover them.
OUTSIDE = {"command", "http", "llm_judge"}


def made(name: str) -> Check:
    (check,) = build_checks([{"check": name, **ENROLLED[name][0]}])
    quick: Check = check  # type: ignore[assignment]
    return quick


TEXTS = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "", " ", "a", "7", "-1e3", "null", "[]", '{"a": 1, "b": {"c": 2}}', "x = (", "\x00",
            "I'm sorry, I can't", "```json\n{}\n```", "```\n", "@@ -1 +1 @@\n-a\n+b",
            "@@ -0,0 +1,9 @@\n",
        ]
    ),
)  # fmt: skip
SCHEMAS = st.sampled_from(
    [{}, {"type": "object"}, {"type": 7}, {"$ref": "#"}, {"pattern": "("}, {"required": ["a"]}]
)
CALLS = st.lists(
    st.builds(
        ToolCall,
        st.sampled_from(["f", "g", ""]),
        st.sampled_from(["", "{}", "[]", "{", '{"a": 1}']) | st.text(max_size=10),
        st.just("c"),
        st.booleans(),
    ),
    max_size=3,
).map(tuple)
ANSWERS = st.builds(
    Answer,
    step=st.one_of(
        SCHEMAS.map(with_schema),
        SCHEMAS.map(lambda schema: with_tool("f", schema)),
        TEXTS.map(lambda text: a_step({"messages": [{"role": "user", "content": text}]})),
        st.just(a_step({"messages": 7, "tools": "odd", "response_format": []})),
    ),
    text=TEXTS,
    tool_calls=st.just(()) | CALLS,
    finish=st.sampled_from(Finish),
    finish_raw=st.none() | st.text(max_size=9),
    refusal=st.none() | st.text(max_size=9),
    logprobs=st.none() | st.lists(st.builds(TokenLogprob, st.just("t"), st.floats())).map(tuple),
    malformed=st.none() | st.just("cut"),
)


def test_every_registered_check_is_enrolled() -> None:
    assert set(BUILT_IN) == set(ENROLLED)
    assert set(EXTERNAL) == OUTSIDE
    assert not set(BUILT_IN) & set(EXTERNAL)


@pytest.mark.parametrize("name", sorted(ENROLLED))
def test_it_has_a_name_and_a_version(name: str) -> None:
    check = made(name)
    assert check.name == name
    assert check.version
    (renamed,) = build_checks([{"check": name, **ENROLLED[name][0], "name": "other"}])
    assert renamed.name == "other"


@pytest.mark.parametrize("name", sorted(ENROLLED))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(answer=ANSWERS)
def test_no_answer_breaks_it_and_none_is_changed_by_it(name: str, answer: Answer) -> None:
    before = copy.deepcopy(answer)
    check = made(name)
    first = check.check(answer)
    assert isinstance(first, Verdict)
    assert (first.check, first.version) == (name, check.version)
    assert first.result is not Result.ABSTAIN or first.score is None
    assert first.result is Result.PASS or first.reason
    assert check.check(answer) == first
    assert made(name).check(answer) == first
    assert answer == before


@pytest.mark.parametrize("name", sorted(ENROLLED))
def test_it_says_of_an_empty_answer_what_the_docs_say(name: str) -> None:
    words = {Result.PASS: "passes", Result.FAIL: "fails", Result.ABSTAIN: "abstains"}
    said = words[made(name).check(says("")).result]
    row = re.search(rf"^\| `{name}` \|[^|]*\| ([^|]*) \|$", DOCS.read_text(), re.MULTILINE)
    assert row is not None
    documented, _, example = ENROLLED[name][1].partition(": ")
    assert row[1].startswith(documented)
    assert said == (example or documented)


def test_all_together_judge_an_answer_without_an_error() -> None:
    checks = build_checks([{"check": name, **ENROLLED[name][0]} for name in ENROLLED])
    checked = check_now(checks, says('{"a": 1, "b": {"c": 2}}'))
    assert [verdict.check for verdict in checked.verdicts] == list(ENROLLED)
    assert checked.errors == ()


def section_of(name: str) -> str:
    found = re.search(
        rf"^### `{name}`\n(.*?)(?=^##|\Z)", DOCS.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"docs/checks.md has no heading for {name}"
    return found[1]


@pytest.mark.parametrize("name", sorted({*BUILT_IN, *EXTERNAL}))
def test_the_docs_have_a_heading_and_every_parameter(name: str) -> None:
    parameters = BUILT_IN[name].Parameters if name in BUILT_IN else EXTERNAL[name].Parameters
    documented = re.findall(r"^\| `(\w+)` \|", section_of(name), re.MULTILINE)
    known = [field.alias or key for key, field in parameters.model_fields.items()]
    assert sorted(documented) == sorted(set(known) - {"name"})


def test_the_docs_name_no_check_that_does_not_exist() -> None:
    headings = re.findall(r"^### `(\w+)`$", DOCS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted({*BUILT_IN, *EXTERNAL})


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_in_the_docs_build() -> None:
    found = 0
    for block in blocks("toml"):
        table = tomllib.loads(block)
        for place in (table, table.get("roles", {}).get("extractor", {})):
            if "checks" in place:
                assert build_checks(place["checks"])
                found += 1
    assert found == 3


def test_the_python_in_the_docs_runs() -> None:
    own, code = blocks("python")
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(own, namespace)
    check = namespace["HasWord"](namespace["Parameters"](word="yes"))
    assert check.check(says("yes")).result is Result.PASS
    exec(code, namespace)
    asked = a_step({"messages": [{"role": "user", "content": "my invoice #12345"}]})
    assert namespace["route"](asked) == "billing"
    assert namespace["order_number"](asked) == {"order": "12345"}

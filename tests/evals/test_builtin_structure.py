import json
import time
from typing import Any

import pytest

from evals.answers import ToolCall
from evals.builtin.content import fenced
from evals.builtin.schemas import Unusable, Validators, compiled
from telemetry.records import Dialect, Result, Verdict
from tests.evals.answering import (
    DIALECTS,
    a_step,
    judged,
    result,
    says,
    with_schema,
    with_tool,
)

CANARY = "sk-canary-7f3a"


def test_json_wants_one_value_of_the_right_kind() -> None:
    assert result(' {"a": 1}\n', "json") == "pass"
    assert result("7", "json") == "pass"
    assert result('{"a": 1} so', "json") == "fail"
    assert judged("", "json").reason == "the answer is empty"
    assert result("[1]", "json", kind="object") == "fail"
    assert result("[1]", "json", kind="array") == "pass"
    assert result("NaN", "json") == "fail"
    assert result("[" * 50_000, "json") == "fail"


def test_json_in_a_fence_is_accepted_only_when_the_policy_says_so() -> None:
    fence = 'Here:\n```json\n{"a": 1}\n```\n'
    assert result(fence, "json") == "fail"
    assert result(fence, "json", fence=True) == "pass"
    assert result('{"a": 1}', "json", fence=True) == "pass"
    assert result(fence + fence, "json", fence=True) == "fail"


def test_fences_are_found_by_their_lines() -> None:
    assert fenced("a\n```json\n1\n2\n```\nb\n  ```\n\n  ```") == ["1\n2\n", "\n"]
    assert fenced("````md\n```\nx\n```\n````") == ["```\nx\n```\n"]
    assert fenced("```\nnever closed") == []
    assert fenced("```one line```\n``\nx\n``") == []
    assert fenced("```py\r\nx\r\n```\r\n") == ["x\r\n"]


def test_a_text_full_of_opened_fences_takes_no_longer_than_another() -> None:
    assert fenced("```a\n" * 200_000) == []


SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["total"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_json_schema_takes_the_requests_own_schema(dialect: Dialect) -> None:
    step = with_schema(SCHEMA, dialect=dialect)
    assert result(says('{"total": 7}', step=step), "json_schema") == "pass"
    verdict = judged(says('{"total": "7"}', step=step), "json_schema")
    assert (verdict.result, verdict.score) == (Result.FAIL, 0.0)
    assert verdict.reason == "breaks the schema at properties/total/type"
    assert result(says("seven", step=step), "json_schema") == "fail"


def test_json_schema_abstains_when_nobody_gave_one() -> None:
    assert result("anything", "json_schema") == "abstain"


def test_json_schema_of_the_policy_goes_before_the_requests() -> None:
    step = with_schema({"type": "string"})
    assert result(says('{"total": 7}', step=step), "json_schema", schema=SCHEMA) == "pass"
    assert result('"x"', "json_schema", schema=SCHEMA) == "fail"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/missing"},
        {"type": "string", "pattern": "("},
        {"description": "x" * 300_000},
    ],
)
def test_a_schema_that_cannot_be_used_is_not_held_against_the_answer(schema: Any) -> None:
    assert result(says('"x"', step=with_schema(schema)), "json_schema") == "abstain"


def test_references_that_unfold_without_end_are_refused_before_they_run() -> None:
    bomb: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)
    }
    schema = {"$defs": {**bomb, "d40": {"type": "string"}}, "$ref": "#/$defs/d0"}
    verdict = judged(says('"x"', step=with_schema(schema)), "json_schema")
    assert verdict.reason == "the schema's references unfold into too many visits"


def test_numbers_beyond_every_machine_word_are_judged() -> None:
    step = with_schema({"type": "integer", "maximum": 10})
    assert result(says("1" * 300, step=step), "json_schema") == "fail"
    assert result("1" * 300, "number_range", max=10) == "fail"
    assert result('{"a": ' + "1" * 300 + "}", "number_range", field="a", max=10) == "fail"


def test_a_recursive_schema_is_fine() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}}
    step = with_schema(tree)
    assert result(says('{"child": {"child": {"n": 1}}}', step=step), "json_schema") == "pass"
    assert result(says('{"child": {"child": {"n": "1"}}}', step=step), "json_schema") == "fail"


def test_a_pattern_that_backtracks_for_ever_gives_up() -> None:
    schema = {"type": "string", "pattern": r"^(?=.)((a+)+)\2$"}
    started = time.perf_counter()
    step = with_schema(schema)
    assert result(says('"' + "a" * 5_000 + 'b"', step=step), "json_schema") != "pass"
    assert time.perf_counter() - started < 30


def test_validators_are_kept_and_the_oldest_is_forgotten() -> None:
    kept = Validators()
    first = kept.get(b'{"const": 0}')
    assert kept.get(b'{"const": 0}') is first
    for number in range(1, 300):
        kept.get(b'{"const": %d}' % number)
    assert len(kept) == 256
    assert kept.get(b'{"const": 0}') is not first


def test_a_schema_that_does_not_compile_is_remembered_too() -> None:
    kept = Validators()
    for _ in range(2):
        with pytest.raises(Unusable, match="does not compile"):
            kept.get(b'{"type": 7}')
    assert len(kept) == 1
    with pytest.raises(Unusable):
        compiled(b"[]")


def test_required_keys_scores_the_share_it_finds() -> None:
    text = '{"a": 1, "b": {"c": null}, "d": ""}'
    assert result(text, "required_keys", keys=["a", "b.c"]) == "pass"
    verdict = judged(text, "required_keys", keys=["a", "b.c", "b.x", "a.y"])
    assert (verdict.score, verdict.reason) == (0.5, "missing: b.x, a.y")
    assert judged(text, "required_keys", keys=["a", "b.c", "d"], filled=True).reason == (
        "missing: b.c, d"
    )
    assert result("[]", "required_keys", keys=["a"]) == "fail"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tool_calls_are_held_against_the_declared_schema(dialect: Dialect) -> None:
    step = with_tool("search", SCHEMA, dialect=dialect)

    def calls(*arguments: str, name: str = "search") -> Verdict:
        made = tuple(ToolCall(name, text) for text in arguments)
        return judged(says("", step=step, tool_calls=made), "tool_call_valid")

    assert calls('{"total": 1}').result is Result.PASS
    broken = calls('{"total": 1}', '{"total": "x"}', "{", "[]")
    assert (broken.result, broken.score) == (Result.FAIL, 0.25)
    assert broken.reason == "arguments of search break its schema at properties/total/type"
    assert calls("{").reason == "arguments of search are not JSON"
    assert calls("[]").reason == "arguments of search are not a JSON object"
    assert calls("").reason == "arguments of search break its schema at required"
    unknown = calls("{}", name="other")
    assert unknown.reason == "calls a tool that the request does not declare"


def test_tool_call_valid_abstains_where_it_cannot_know() -> None:
    call = (ToolCall("f", "{}"),)
    assert result("x", "tool_call_valid") == "abstain"
    assert result(says("x", step=with_tool("f", SCHEMA)), "tool_call_valid") == "abstain"
    assert result(says("", tool_calls=call), "tool_call_valid") == "abstain"
    step = with_tool("f", {"type": "nope"})
    assert result(says("", step=step, tool_calls=call), "tool_call_valid") == "abstain"


def test_free_text_tools_have_nothing_to_validate() -> None:
    step = a_step({"tools": [{"type": "custom", "custom": {"name": "sql"}}]})
    call = (ToolCall("sql", "select", "c", True),)
    assert result(says("", step=step, tool_calls=call), "tool_call_valid") == "pass"


def test_python_parses_fences_or_the_whole_text() -> None:
    assert result("x = 1\n", "python_parses") == "pass"
    assert (
        result("Sure:\n```python\nx = 1\n```\nand\n```\ny = '\\d'\n```", "python_parses") == "pass"
    )
    verdict = judged("```python\nx = 1\ny = = 2\n```", "python_parses")
    assert (verdict.result, verdict.reason) == (Result.FAIL, "Python does not parse, line 2")
    assert result("x = '\x00'", "python_parses") == "fail"
    assert result("", "python_parses") == "fail"


@pytest.mark.parametrize("text", ["a." * 12_000 + "a", "not " * 8_000 + "1", "-" * 32_000 + "1"])
def test_python_that_nests_too_deeply_is_not_judged(text: str) -> None:
    assert result(text, "python_parses") == "abstain"


def test_python_over_the_limit_is_not_judged() -> None:
    assert result("x" * 32_769, "python_parses") == "abstain"


DIFF = """--- a/f.py
+++ b/f.py
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
@@ -5,2 +5,3 @@ def f():
 five
+and
 six
"""
BASE = "one\ntwo\nthree\nfour\nfive\nsix\n"


def asked_with(base: str) -> Any:
    content = f"Please change this file:\n```\n{base}```\n"
    return a_step({"messages": [{"role": "user", "content": content}]})


def test_a_diff_that_holds_together_passes() -> None:
    assert result(DIFF, "unified_diff_applies") == "pass"
    assert result(f"Here:\n```diff\n{DIFF}```\n", "unified_diff_applies") == "pass"
    assert result(DIFF + DIFF.replace("f.py", "g.py"), "unified_diff_applies") == "pass"


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("just words", "the answer holds no hunk"),
        (DIFF.replace("@@ -1,3 +1,3 @@", "@@ -1,4 +1,4 @@"), "a hunk has fewer lines"),
        (DIFF.replace("@@ -1,3 +1,3 @@", "@@ -1,2 +1,2 @@"), "a hunk has"),
        (DIFF.replace("-two\n+TWO\n", " two\n"), "a hunk changes nothing"),
        (DIFF.replace(" six\n", ""), "a hunk has fewer lines"),
        (DIFF + "+more\n", "a hunk has more lines"),
        (DIFF + "--- more\n", "a hunk has more lines"),
        ("@@ -1 +1,2 @@\n-a\n-b\n+c\n+d\n", "a hunk has other lines than its header says"),
        (DIFF.replace(" three", "three"), "a hunk has fewer lines"),
    ],
)
def test_a_diff_that_does_not_hold_together_fails(diff: str, reason: str) -> None:
    assert judged(diff, "unified_diff_applies").reason.startswith(reason)


def test_a_diff_is_applied_to_the_file_in_the_request() -> None:
    applies = {"name": "unified_diff_applies", "base": "last_user_fence"}
    assert result(says(DIFF, step=asked_with(BASE)), **applies) == "pass"
    assert result(says(DIFF, step=asked_with("zero\n" + BASE)), **applies) == "pass"
    other = BASE.replace("five", "FIVE")
    assert result(says(DIFF, step=asked_with(other)), **applies) == "fail"
    swapped = "five\nsix\none\ntwo\nthree\n"
    assert result(says(DIFF, step=asked_with(swapped)), **applies) == "fail"


def test_a_diff_without_a_base_to_apply_to_is_not_judged() -> None:
    applies = {"name": "unified_diff_applies", "base": "last_user_fence"}
    assert result(DIFF, **applies) == "abstain"
    two = DIFF + DIFF.replace("f.py", "g.py")
    assert result(says(two, step=asked_with(BASE)), **applies) == "abstain"


def test_a_diff_of_windows_lines_and_a_missing_last_line_feed_is_read() -> None:
    marked = DIFF.replace(" six\n", " six\n\\ No newline at end of file\n")
    assert result(marked.replace("\n", "\r\n"), "unified_diff_applies") == "pass"


def test_no_reason_of_a_schema_quotes_the_answer() -> None:
    schemas: list[Any] = [
        {"additionalProperties": False},
        {"additionalProperties": {"type": "integer"}},
        {"propertyNames": {"maxLength": 3}},
        {"const": 1},
        {"enum": [1]},
        {"patternProperties": {"canary": {"type": "integer"}}},
        {"dependentRequired": {CANARY: ["x"]}},
    ]
    for schema in schemas:
        verdict = judged(json.dumps({CANARY: CANARY}), "json_schema", schema=schema)
        assert verdict.result is Result.FAIL
        assert CANARY not in verdict.reason

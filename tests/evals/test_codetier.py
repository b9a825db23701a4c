import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from evals.answers import Finish, ToolCall
from evals.codehelpers import extracted, filled, first, json_field, json_value, lookup, said_any
from evals.codetier import CodeAnswer, CodeFunction, ToolUse, resolve
from evals.steps import Step
from telemetry.errors import CodeCrashed, ConfigError
from tests.evals.answering import a_step, with_schema, with_tool


def asking(text: str) -> Step:
    return a_step({"messages": [{"role": "user", "content": text}]})


async def answered(function: Callable[[Step], Any], step: Step | None = None) -> CodeAnswer | None:
    running = CodeFunction(function, name="mine", seconds=20)
    try:
        return await running.answer(step or a_step())
    finally:
        running.close()


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("hello", "hello"),
        ("", ""),
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        ([1.5, "x"], '[1.5,"x"]'),
        ((1, 2), "[1,2]"),
        (True, "true"),
        (7, "7"),
    ],
)
async def test_text_stays_text_and_values_become_json(returned: Any, text: str) -> None:
    assert await answered(lambda step: returned) == CodeAnswer(text=text)


async def test_none_abstains() -> None:
    assert await answered(lambda step: None) is None


async def test_the_function_gets_the_step() -> None:
    said = await answered(lambda step: f"{step.role}: {step.last_user_text}", asking("hi"))
    assert said == CodeAnswer(text="worker: hi")


async def test_a_declared_tool_can_be_called() -> None:
    step = with_tool("search", {"type": "object"})
    said = await answered(lambda step: ToolUse(name="search", arguments={"q": "x"}), step)
    assert said == CodeAnswer(tool_calls=(ToolCall("search", '{"q":"x"}'),))


def test_checks_can_judge_what_code_answered() -> None:
    step = a_step()
    answer = CodeAnswer(text="hi").as_answer(step)
    assert (answer.text, answer.finish, answer.step) == ("hi", Finish.COMPLETE, step)
    calling = CodeAnswer(tool_calls=(ToolCall("f", "{}"),)).as_answer(step)
    assert calling.finish is Finish.TOOL_USE


def endless() -> Any:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (object(), "returned object that is not JSON"),
        (b"bytes", "returned bytes that is not JSON"),
        (float("nan"), "returned float that is not JSON"),
        ({1: 2}, "returned dict that is not JSON"),
        ({"a": {"b": {1, 2}}}, "returned dict that is not JSON"),
        (endless(), "returned list that is not JSON"),
        ("\ud800", "returned text that is not Unicode"),
        (["\ud800"], "returned what cannot be written as JSON"),
        (MappingProxyType({}), "returned what cannot be written as JSON"),
        ("x" * 1_048_577, "returned more than 1048576 bytes"),
        (ToolUse(name="other"), "calls 'other', which the request lacks"),
        (ToolUse(name="search", arguments=[1]), "gives a tool arguments that are no mapping"),  # type: ignore[arg-type]
        (ToolUse(name="search", arguments={"a": object()}), "returned dict that is not JSON"),
    ],
)
async def test_nonsense_is_told_apart_from_an_answer(returned: Any, words: str) -> None:
    step = with_tool("search", {"type": "object"})
    with pytest.raises(CodeCrashed, match=words) as caught:
        await answered(lambda step: returned, step)
    assert caught.value.kind == "nonsense"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("canary"),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(),
        asyncio.CancelledError(),
    ],
)
async def test_a_function_that_raises_is_an_error_without_its_text(error: BaseException) -> None:
    def raises(step: Step) -> str:
        raise error

    with pytest.raises(CodeCrashed) as caught:
        await answered(raises)
    assert caught.value.kind == "raised"
    assert str(caught.value) == f"the code function 'mine' raised {type(error).__name__}"


async def test_a_coroutine_is_nonsense_too() -> None:
    async def later() -> str:
        return "x"

    waiting = later()
    with pytest.raises(CodeCrashed, match="returned coroutine that is not JSON"):
        await answered(lambda step: waiting)
    waiting.close()


async def test_a_function_that_blocks_is_abandoned_and_then_disabled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = threading.Event()

    def blocks(step: Step) -> str:
        if step.last_user_text == "block":
            free.wait(30)
        return "done"

    running = CodeFunction(blocks, name="mine", seconds=0.05, abandoned_max=2)
    for stuck in (1, 2):
        with pytest.raises(CodeCrashed, match=r"took longer than 0.05 s") as caught:
            await running.answer(asking("block"))
        assert (caught.value.kind, running.abandoned) == ("timeout", stuck)
    assert "code mine is disabled until one of its stuck threads comes back" in caplog.text
    with pytest.raises(CodeCrashed, match="2 threads of code mine are stuck") as caught:
        await running.answer(asking("go"))
    assert caught.value.kind == "no_thread"
    free.set()
    while running.abandoned:
        await asyncio.sleep(0.01)
    assert await CodeFunction(blocks, name="mine", seconds=20).answer(asking("go"))
    running.close()


async def test_the_loop_goes_on_while_a_function_blocks() -> None:
    free = threading.Event()
    running = CodeFunction(lambda step: str(free.wait(30)), name="mine", seconds=20)
    task = asyncio.create_task(running.answer(a_step()))
    await asyncio.sleep(0.02)
    free.set()  # reached only because the loop is not blocked
    assert await task == CodeAnswer(text="True")
    running.close()


async def test_a_step_that_is_called_off_abandons_its_thread_until_it_returns() -> None:
    free, begun = threading.Event(), threading.Event()

    def blocks(step: Step) -> str:
        begun.set()
        return str(free.wait(30))

    running = CodeFunction(blocks, name="mine", seconds=20)
    task = asyncio.create_task(running.answer(a_step()))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running.abandoned == 1
    free.set()
    while running.abandoned:
        await asyncio.sleep(0.01)
    running.close()


async def test_many_steps_share_few_threads() -> None:
    threads: set[int] = set()

    def notes(step: Step) -> str:
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return "x"

    running = CodeFunction(notes, name="mine", seconds=20)
    said = await asyncio.gather(*(running.answer(a_step()) for _ in range(100)))
    running.close()
    assert said == [CodeAnswer(text="x")] * 100
    assert 1 <= len(threads) <= 16


RULES = """
LIMIT = 3
def refund(step):
    return "refund" if "refund" in step.last_user_text else None
async def later(step): ...
def two(step, more): ...
def nothing(): ...
class Rules:
    @staticmethod
    def inner(step):
        return "inner"
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "support_rules.py").write_text(RULES)
    (tmp_path / "broken_rules.py").write_text("1 / 0")
    monkeypatch.delitem(sys.modules, "support_rules", raising=False)
    return tmp_path


async def test_a_function_beside_the_policy_is_found(rules: Path) -> None:
    function = resolve("support_rules:refund", directory=rules)
    assert await answered(function, asking("a refund, please")) == CodeAnswer(text="refund")
    assert await answered(resolve("support_rules:Rules.inner"), a_step()) == CodeAnswer(
        text="inner"
    )


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("support_rules", "is not module:function; for example"),
        ("support rules:x", "is not module:function"),
        ("os:system; rm", "is not module:function"),
        ("no_such_rules:x", "No module named 'no_such_rules'; put the module beside the policy"),
        ("broken_rules:x", "importing it raised ZeroDivisionError: division by zero"),
        ("support_rules:refunds", "support_rules has no refunds; it has: refund, later, two"),
        ("support_rules:LIMIT", "is no plain function; write `def answer(step): ...`"),
        ("support_rules:later", "is no plain function"),
        ("support_rules:two", "missing a required argument: 'more'"),
        ("support_rules:nothing", "too many positional arguments"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_to_do(
    rules: Path, reference: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(reference, directory=rules)
    assert words in str(caught.value)


def test_helpers_look_for_words_in_any_case() -> None:
    assert said_any(asking("A REFUND please"), ["refund"])
    assert not said_any(asking("thanks"), ["refund"])


def test_helpers_find_json_in_prose() -> None:
    assert json_value('so: [1, {"a": 2}] ok') == [1, {"a": 2}]
    assert json_value("none { here") is None
    assert json_value("} reversed {") is None
    assert json_field('{"a": [{"b": null}]}', "a.0.b") is None
    assert json_field('{"a": [1]}', "a.5") is None
    assert json_field('{"a": 1}', "a.b") is None


def test_helpers_extract_the_first_group_or_the_whole() -> None:
    assert extracted("tel 030-123", r"\d+-\d+") == "030-123"
    assert extracted("no number", r"\d+") is None
    assert extracted("ab", r"a(x)?") is None


def test_a_lookup_that_is_ambiguous_abstains() -> None:
    table = {"invoice": "billing", "bill": "billing", "password": "accounts"}
    assert lookup("the bill of the invoice", table) == "billing"
    assert lookup("the invoice and the password", table) is None
    assert lookup("invoices", table) is None


def test_a_schema_is_filled_only_when_it_can_be() -> None:
    schema = {
        "type": "object",
        "properties": {"id": {}, "note": {}},
        "required": ["id"],
        "additionalProperties": False,
    }
    step = with_schema(schema)
    assert filled(step, {"id": 7, "note": None}) == {"id": 7}
    assert filled(step, {"note": "x"}) is None
    assert filled(step, {"id": 7, "more": 1}) is None
    assert filled(a_step(), {"id": 7}) is None
    assert filled(with_schema({"type": "string"}), {"id": 7}) is None


def test_the_first_helper_that_knows_decides() -> None:
    assert first(lambda: None, lambda: 0, lambda: pytest.fail("not called")) == 0
    assert first() is None

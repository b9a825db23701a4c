"""Steps and answers made by hand, for the tests of this room."""

from typing import Any

import msgspec

from evals.answers import Answer, Finish, read_answer
from evals.assembly import assembler
from evals.catalogue import build_checks
from evals.checks import Check
from evals.steps import Step, read_step
from telemetry.records import Dialect, Verdict

DIALECTS = (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES)


def a_step(body: Any = None, *, dialect: Dialect = Dialect.CHAT) -> Step:
    return read_step(msgspec.json.encode(body or {}), role="worker", dialect=dialect)


def says(text: str, *, step: Step | None = None, **more: Any) -> Answer:
    return Answer(step=step or a_step(), text=text, **{"finish": Finish.COMPLETE, **more})


def read(body: Any, *, dialect: Dialect) -> Answer:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_answer(content, a_step(dialect=dialect))


def sse(data: Any, *, named: bool = True) -> bytes:
    name = b"event: " + data["type"].encode() + b"\n" if named and "type" in data else b""
    return name + b"data: " + msgspec.json.encode(data) + b"\n\n"


def streamed(events: list[Any], *, dialect: Dialect) -> Answer:
    """The answer of a list of events: objects, or bytes as they are."""
    taking = assembler(a_step(dialect=dialect))
    for event in events:
        taking.feed(event if isinstance(event, bytes) else sse(event))
    return taking.answer()


def with_schema(schema: Any, *, dialect: Dialect = Dialect.CHAT) -> Step:
    """A step that asks for structured output, as each dialect spells it."""
    spelt: dict[Dialect, Any] = {
        Dialect.CHAT: {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": schema},
            }
        },
        Dialect.RESPONSES: {
            "text": {"format": {"type": "json_schema", "name": "reply", "schema": schema}}
        },
        Dialect.MESSAGES: {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    }
    return a_step(spelt[dialect], dialect=dialect)


def with_tool(name: str, schema: Any, *, dialect: Dialect = Dialect.CHAT) -> Step:
    """A step that declares one tool, as each dialect spells it."""
    spelt: dict[Dialect, Any] = {
        Dialect.CHAT: {"type": "function", "function": {"name": name, "parameters": schema}},
        Dialect.RESPONSES: {"type": "function", "name": name, "parameters": schema},
        Dialect.MESSAGES: {"name": name, "input_schema": schema},
    }
    return a_step({"tools": [spelt[dialect]]}, dialect=dialect)


def judged(answer: Answer | str, name: str, **parameters: Any) -> Verdict:
    (check,) = build_checks([{"check": name, **parameters}])
    assert isinstance(check.name, str)
    quick: Check = check  # type: ignore[assignment]
    return quick.check(says(answer) if isinstance(answer, str) else answer)


def result(answer: Answer | str, name: str, **parameters: Any) -> str:
    return str(judged(answer, name, **parameters).result)

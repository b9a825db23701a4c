"""Checks of structured answers: JSON, its schema, its keys, and tool calls."""

from typing import Any, Final, Literal

import msgspec
from pydantic import Field, field_validator

from evals.answers import Answer, ToolCall
from evals.builtin.content import JsonCheck, JsonSection, at_path
from evals.builtin.schemas import Unusable, Validators, compiled, fault
from evals.checks import BuiltIn
from evals.steps import Tool
from telemetry.records import Verdict

_KINDS: Final = {"object": dict, "array": list}


class JsonFormSection(JsonSection):
    """Which JSON."""

    kind: Literal["any", "object", "array"] = Field("any", description="what the value must be")


class Json(JsonCheck):
    """The whole text is one JSON value (RFC 8259)."""

    name = "json"
    Parameters = JsonFormSection

    def judge_value(self, value: Any, answer: Answer) -> Verdict:
        kind = self.parameters.kind
        if kind != "any" and not isinstance(value, _KINDS[kind]):
            return self.failed(f"the JSON value is no {kind}")
        return self.passed()


class JsonSchemaSection(JsonSection):
    """Which schema."""

    schema_: dict[str, Any] | None = Field(
        None, alias="schema", description="the schema; the request's own when absent"
    )

    @field_validator("schema_")
    @classmethod
    def _compiles(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            compiled(msgspec.json.encode(schema))
        return schema


class JsonSchema(JsonCheck):
    """The text is JSON that follows a schema: the request's own, unless the policy gives one.

    It abstains when there is no schema, or one that cannot be judged by.
    """

    name = "json_schema"
    Parameters = JsonSchemaSection

    def __init__(self, parameters: JsonSchemaSection) -> None:
        super().__init__(parameters)
        self._validators = Validators()
        self._schema = parameters.schema_ and msgspec.json.encode(parameters.schema_)

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        if self._schema is None and answer.step.schema is None:
            return self.abstained("the request asks for no schema")
        return super().judge_text(text, answer)

    def judge_value(self, value: Any, answer: Answer) -> Verdict:
        schema = self._schema or answer.step.schema
        assert schema is not None, "judge_text abstains without one"
        try:
            broken = fault(self._validators.get(schema), value)
        except Unusable as error:
            return self.abstained(str(error))
        return self.passed() if broken is None else self.failed(f"breaks the schema at {broken}")


class RequiredKeysSection(JsonSection):
    """The keys."""

    keys: tuple[str, ...] = Field(
        min_length=1, max_length=1_000, description="dotted paths through objects"
    )
    filled: bool = Field(False, description="null, empty text and empty lists count as missing")


class RequiredKeys(JsonCheck):
    """The text is a JSON object that has all the keys; score: the share of keys it has."""

    name = "required_keys"
    Parameters = RequiredKeysSection

    def judge_value(self, value: Any, answer: Answer) -> Verdict:
        missing = [key for key in self.parameters.keys if not self._has(value, key)]
        if not missing:
            return self.passed()
        return self.failed(
            f"missing: {', '.join(missing)}", score=1.0 - len(missing) / len(self.parameters.keys)
        )

    def _has(self, value: Any, key: str) -> bool:
        try:
            found = at_path(value, key)
        except KeyError:
            return False
        return not self.parameters.filled or found not in (None, "", [], {})


class ToolCallValid(BuiltIn):
    """Every tool call names a declared tool, with arguments that follow the tool's schema.

    It abstains without tool calls, and where no declared tool could be read; score: the share of
    calls that hold.
    """

    name = "tool_call_valid"

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self._validators = Validators()

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict on all calls of the answer."""
        if not answer.tool_calls:
            return self.abstained("the answer calls no tool")
        tools = {tool.name: tool for tool in answer.step.tools}
        if not tools:
            return self.abstained("no tool of the request could be read")
        faults, unusable = [], []
        for call in answer.tool_calls:
            try:
                if broken := self._fault(call, tools.get(call.name)):
                    faults.append(broken)
            except Unusable as error:
                unusable.append(str(error))
        if faults:
            return self.failed(faults[0], score=1.0 - len(faults) / len(answer.tool_calls))
        if unusable:
            return self.abstained(unusable[0])
        return self.passed()

    def _fault(self, call: ToolCall, tool: Tool | None) -> str | None:
        if tool is None:
            return "calls a tool that the request does not declare"
        if call.custom:
            return None
        try:
            arguments = msgspec.json.decode(call.arguments or "{}")
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return f"arguments of {tool.name} are not JSON"
        if not isinstance(arguments, dict):
            return f"arguments of {tool.name} are not a JSON object"
        if tool.schema is None:
            return None
        broken = fault(self._validators.get(tool.schema), arguments)
        return None if broken is None else f"arguments of {tool.name} break its schema at {broken}"

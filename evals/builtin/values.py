"""Checks of what the text says: one of several values, a number, a pattern, some words."""

import re
from decimal import Decimal
from typing import Final, Self

import jsonschema_rs
import msgspec
from pydantic import Field, field_validator, model_validator

from evals.answers import Answer
from evals.builtin.content import TextCheck, at_path
from evals.checks import CheckSection
from telemetry.records import Verdict

PATTERN_MAX: Final = 1_000
AUTOMATON_BYTES_MAX: Final = 1_048_576
_NUMBER: Final = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")


class OneOfSection(CheckSection):
    """The values."""

    values: tuple[str, ...] = Field(
        min_length=1, max_length=10_000, description="what the answer may be"
    )
    ignore_case: bool = Field(False, description="upper and lower case are the same")


class OneOf(TextCheck):
    """The text, without white space around it, is one of the given values."""

    name = "one_of"
    Parameters = OneOfSection

    def __init__(self, parameters: OneOfSection) -> None:
        super().__init__(parameters)
        self._fold = str.casefold if parameters.ignore_case else str
        self._values = frozenset(self._fold(value.strip()) for value in parameters.values)

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        if self._fold(text.strip()) in self._values:
            return self.passed()
        return self.failed(f"the answer is none of the {len(self._values)} allowed values")


class ContainsSection(CheckSection):
    """What must and what must not stand in the text."""

    values: tuple[str, ...] = Field((), max_length=1_000, description="all of these must be there")
    absent: tuple[str, ...] = Field((), max_length=1_000, description="none of these may be there")
    ignore_case: bool = Field(False, description="upper and lower case are the same")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.values and not self.absent:
            raise ValueError("give at least one of values, absent")
        if "" in self.values or "" in self.absent:
            raise ValueError("an empty text is everywhere")
        return self


class Contains(TextCheck):
    """The text holds all of some pieces and none of some others; score: the share that holds."""

    name = "contains"
    Parameters = ContainsSection

    def __init__(self, parameters: ContainsSection) -> None:
        super().__init__(parameters)
        self._fold = str.casefold if parameters.ignore_case else str
        self._values = tuple(map(self._fold, parameters.values))
        self._absent = tuple(map(self._fold, parameters.absent))

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        folded = self._fold(text)
        missing = sum(value not in folded for value in self._values)
        unwanted = sum(value in folded for value in self._absent)
        if not missing and not unwanted:
            return self.passed()
        conditions = len(self._values) + len(self._absent)
        return self.failed(
            f"{missing} wanted texts are missing, {unwanted} unwanted ones are there",
            score=1.0 - (missing + unwanted) / conditions,
        )


class RegexSection(CheckSection):
    """The pattern."""

    pattern: str = Field(
        min_length=1, max_length=PATTERN_MAX, description="without look-around or back-references"
    )
    whole: bool = Field(False, description="the whole text must match, not only a part of it")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            _matcher(pattern)
        except ValueError as error:
            raise ValueError(
                f"{pattern!r} is not a pattern that runs in linear time: look-around, "
                "back-references and huge repetitions are refused"
            ) from error
        return pattern


class Regex(TextCheck):
    """The text matches a pattern.

    The pattern runs on a finite automaton (Rust's ``regex``, through the JSON schema validator), in
    time linear in the text: Python's own ``re`` can take for ever and cannot be interrupted.
    """

    name = "regex"
    Parameters = RegexSection

    def __init__(self, parameters: RegexSection) -> None:
        super().__init__(parameters)
        pattern = parameters.pattern
        self._matcher = _matcher(f"^(?:{pattern})$" if parameters.whole else pattern)

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        if self._matcher.is_valid(text):
            return self.passed()
        return self.failed("the answer does not match the pattern")


def _matcher(pattern: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        {"type": "string", "pattern": pattern},
        pattern_options=jsonschema_rs.RegexOptions(
            size_limit=AUTOMATON_BYTES_MAX, dfa_size_limit=AUTOMATON_BYTES_MAX
        ),
        offline=True,
    )


class NumberRangeSection(CheckSection):
    """The range, both ends included, and where the number stands."""

    min: float | None = Field(None, allow_inf_nan=False, description="least")
    max: float | None = Field(None, allow_inf_nan=False, description="most")
    field: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="dotted path of the number in a JSON answer; the whole answer when absent",
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give at least one of min, max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class NumberRange(TextCheck):
    """The text, or one field of a JSON answer, is a number within a range."""

    name = "number_range"
    Parameters = NumberRangeSection

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        number = self._number(text)
        if number is None:
            return self.failed("no number where one is wanted")
        low, high = self.parameters.min, self.parameters.max
        if low is not None and number < Decimal(repr(low)):
            return self.failed(f"the number is below {low}")
        if high is not None and number > Decimal(repr(high)):
            return self.failed(f"the number is above {high}")
        return self.passed()

    def _number(self, text: str) -> Decimal | None:
        """Return the number as it was written: a binary fraction could lie beyond an edge."""
        if self.parameters.field is not None:
            try:
                value = at_path(msgspec.json.decode(text), self.parameters.field)
            except (msgspec.DecodeError, RecursionError, UnicodeError, KeyError):
                return None
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
            text = repr(value)
        stripped = text.strip()
        return Decimal(stripped) if _NUMBER.fullmatch(stripped) else None

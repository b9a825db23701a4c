"""Checks of an answer's form: whole, not empty, not too long."""

from typing import Self

from pydantic import Field, model_validator

from evals.answers import Answer, Finish
from evals.builtin.content import TextCheck
from evals.checks import BuiltIn, CheckSection
from telemetry.records import Verdict


class NotTruncated(BuiltIn):
    """The answer ended by itself: no length limit, no broken stream, no provider error."""

    name = "not_truncated"

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict; an answer that gives no known reason for its end is not judged."""
        if answer.finish is Finish.TRUNCATED:
            return self.failed(f"the answer was cut off ({answer.finish_raw or 'broken off'})")
        if answer.finish is Finish.FAILED:
            return self.failed(f"the provider reports an error ({answer.finish_raw or 'unnamed'})")
        if answer.finish is Finish.UNKNOWN:
            return self.abstained("the answer does not say why it ended")
        return self.passed()


class NotEmpty(BuiltIn):
    """The answer holds text other than white space, or calls a tool."""

    name = "not_empty"

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict; a refusal's text is an answer too, see ``not_refusal``."""
        if answer.tool_calls or not _blank(answer.text) or answer.refusal:
            return self.passed()
        if answer.finish is Finish.PAUSED:
            return self.abstained("the provider wants to go on")
        return self.failed(answer.malformed or "the answer is empty")


def _blank(text: str) -> bool:
    return not text or text.isspace()


class MaxLengthSection(CheckSection):
    """Limits; each one given must hold."""

    characters: int | None = Field(None, ge=1, description="most characters")
    words: int | None = Field(None, ge=1, description="most words, split at white space")
    lines: int | None = Field(None, ge=1, description="most lines")

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.characters is None and self.words is None and self.lines is None:
            raise ValueError("give at least one of characters, words, lines")
        return self


class MaxLength(TextCheck):
    """The text is not longer than a limit."""

    name = "max_length"
    Parameters = MaxLengthSection

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        for limit, unit, count in (
            (self.parameters.characters, "characters", len),
            (self.parameters.words, "words", lambda t: len(t.split())),
            (self.parameters.lines, "lines", lambda t: len(t.splitlines())),
        ):
            if limit is not None and (found := count(text)) > limit:
                return self.failed(f"{found} {unit}, at most {limit} are allowed")
        return self.passed()

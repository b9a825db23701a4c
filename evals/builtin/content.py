"""What checks of an answer's text share: which text there is to judge, and its JSON value."""

from typing import Any, ClassVar, Final

import msgspec
from pydantic import Field

from evals.answers import Answer
from evals.checks import BuiltIn, CheckSection
from telemetry.records import Verdict

TEXT_MAX: Final = 1_048_576  # characters; a longer answer is not judged by its text


class TextCheck(BuiltIn):
    """A check of the final text.

    It abstains where there is no final text to judge: on an answer that calls tools, on one that
    could be read only in part, and on one of more than ``TEXT_MAX`` characters. One of which
    nothing could be read fails: the caller could not read it either.
    """

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict on the answer's text."""
        if answer.tool_calls:
            return self.abstained("the answer calls tools")
        if answer.malformed and not answer.text:
            return self.failed("nothing of the answer could be read")
        if answer.malformed:
            return self.abstained("the answer could not be read whole")
        if len(answer.text) > TEXT_MAX:
            return self.abstained(f"the answer is longer than {TEXT_MAX} characters")
        return self.judge_text(answer.text, answer)

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        """Return the verdict on ``text``, which may be empty."""
        raise NotImplementedError


class JsonSection(CheckSection):
    """What checks of a JSON answer take."""

    fence: bool = Field(
        False, description="also accept JSON that stands in the answer's only code fence"
    )


class JsonCheck(TextCheck):
    """A check of the JSON value that the text is."""

    Parameters: ClassVar[type[CheckSection]] = JsonSection

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        if self.parameters.fence and len(found := fenced(text)) == 1:
            text = found[0]
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return self.failed("the answer is not JSON" if text.strip() else "the answer is empty")
        return self.judge_value(value, answer)

    def judge_value(self, value: Any, answer: Answer) -> Verdict:
        """Return the verdict on the parsed value."""
        raise NotImplementedError


def fenced(text: str) -> list[str]:
    """Return what stands inside each closed code fence of ``text``, in order; in linear time."""
    blocks: list[str] = []
    inside: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = line.strip()
        if not fence:
            name = mark.lstrip("`")
            if len(mark) - len(name) >= 3 and "`" not in name:
                fence, inside = mark[: len(mark) - len(name)], []
        elif mark.startswith(fence) and not mark.strip("`"):
            blocks.append("".join(f"{held}\n" for held in inside))
            fence = ""
        else:
            inside.append(line)
    return blocks


def at_path(value: Any, path: str) -> Any:
    """Return the member at a dotted path through objects; raise ``KeyError`` when it is absent."""
    for part in path.split("."):
        if not isinstance(value, dict):
            raise KeyError(path)
        value = value[part]
    return value

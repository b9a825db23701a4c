"""Checks of answers that are code: Python that parses, a unified diff that applies."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import Field

from evals.answers import Answer
from evals.builtin.content import TextCheck, fenced
from evals.checks import CheckSection
from telemetry.records import Verdict

PYTHON_MAX: Final = 32_768  # characters; parsing them takes some 30 ms and cannot be interrupted
_HUNK: Final = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")


class PythonParses(TextCheck):
    """Every code fence of the text, or the whole text when it has none, is Python that parses.

    It abstains over ``PYTHON_MAX`` characters, and where the parser gives up on the nesting.
    """

    name = "python_parses"

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        if not text.strip():
            return self.failed("the answer is empty")
        if len(text) > PYTHON_MAX:
            return self.abstained(f"the answer is longer than {PYTHON_MAX} characters")
        for source in fenced(text) or [text]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of odd escapes in somebody else's code
                    compile(source, "<answer>", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            except (MemoryError, RecursionError):
                return self.abstained("the code nests too deeply to be parsed")
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None)
                return self.failed(f"Python does not parse, line {line or 'unknown'}")
        return self.passed()


class UnifiedDiffSection(CheckSection):
    """What the diff is applied to."""

    base: Literal["none", "last_user_fence"] = Field(
        "none",
        description="`none`: the diff's own form only; `last_user_fence`: the last code fence of "
        "the last user message is the file it must apply to",
    )


class UnifiedDiffApplies(TextCheck):
    """The text is a unified diff whose hunks hold together, and apply when there is a base.

    A hunk holds together when its lines are as many as its header says and it changes something.
    It applies when its old lines stand in the base, after those of the hunk before it; as with
    ``patch``, line numbers may be off.
    With a base, a diff of several files is not judged against it.
    """

    name = "unified_diff_applies"
    Parameters = UnifiedDiffSection

    def judge_text(self, text: str, answer: Answer) -> Verdict:
        blocks = fenced(text)
        try:
            files = list(_files("\n".join(blocks) if blocks else text))
        except _BadDiff as error:
            return self.failed(str(error))
        if not files:
            return self.failed("the answer holds no hunk")
        if self.parameters.base == "none":
            return self.passed()
        return self._against_base(files, fenced(answer.step.last_user_text))

    def _against_base(self, files: Sequence[Sequence["_Hunk"]], bases: Sequence[str]) -> Verdict:
        if not bases:
            return self.abstained("the last user message holds no code fence")
        if len(files) > 1:
            return self.abstained("the diff is of several files")
        if not _applies(files[0], bases[-1]):
            return self.failed("a hunk does not apply to the base")
        return self.passed()


class _BadDiff(ValueError):
    pass


@dataclass(slots=True)
class _Hunk:
    old_count: int
    new_count: int
    old: list[str] = field(default_factory=list)
    new_seen: int = 0
    changes: int = 0

    @property
    def is_open(self) -> bool:
        return len(self.old) < self.old_count or self.new_seen < self.new_count

    def take(self, line: str) -> None:
        """Take one line of the hunk's body; raise ``_BadDiff`` when it cannot be one."""
        mark = line[:1] or " "  # an empty context line whose blank got lost
        if mark not in " +-":
            raise _BadDiff("a hunk has fewer lines than its header says")
        if mark in " -":
            self.old.append(line[1:])
        if mark in " +":
            self.new_seen += 1
        self.changes += mark in "+-"
        if len(self.old) > self.old_count or self.new_seen > self.new_count:
            raise _BadDiff("a hunk has other lines than its header says")


def _files(text: str) -> Iterator[list[_Hunk]]:
    """Yield the hunks of each file of a diff; lines outside hunks only tell files apart."""
    hunks: list[_Hunk] = []
    lines = _lines(text)
    for line, after in zip(lines, [*lines[1:], ""], strict=False):
        if hunks and hunks[-1].is_open:
            if not line.startswith("\\"):
                hunks[-1].take(line)
        elif found := _HUNK.match(line):
            old, new = found[1] or "1", found[2] or "1"
            hunks.append(_Hunk(int(old), int(new)))
        elif hunks and line.startswith("--- ") and after.startswith("+++ "):
            yield _closed(hunks)
            hunks = []
        elif hunks and line[:1] in ("+", "-", " "):
            raise _BadDiff("a hunk has more lines than its header says")
    if hunks:
        yield _closed(hunks)


def _closed(hunks: list[_Hunk]) -> list[_Hunk]:
    for hunk in hunks:
        if hunk.is_open:
            raise _BadDiff("a hunk has fewer lines than its header says")
        if not hunk.changes:
            raise _BadDiff("a hunk changes nothing")
    return hunks


def _applies(hunks: Sequence[_Hunk], base: str) -> bool:
    """Say whether the hunks' old lines stand in ``base`` in order; line numbers may be off.

    Taking the first place for each hunk is enough: a later one leaves less room for the rest.
    """
    text = "\n" + "\n".join(_lines(base)) + "\n"
    position = 0
    for hunk in hunks:
        if hunk.old:
            wanted = "\n" + "\n".join(hunk.old) + "\n"
            found = text.find(wanted, position)
            if found < 0:
                return False
            position = found + len(wanted) - 1
    return True


def _lines(text: str) -> list[str]:
    """Return the lines as a diff counts them: only line feeds end one."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines

"""One ask, one answer: right or wrong by a keyed hash of seed, model and prompt.

The same model gives the same prompt the same answer every time; two models err independently.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from evals.standin.ask import Ask
from evals.standin.reading import Task, Truth, read
from evals.standin.skills import ModelSkills, Step
from evals.standin.tokenizer import count, pieces

EFFORT = {"none": 0.0, "minimal": 0.0, "low": 0.5, "medium": 1.0, "high": 2.0, "xhigh": 3.0}
PADDING = " Everything stated here was read from the material above and nothing was added to it."
OUTPUT_TOKENS_MAX = 32_768


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool call; ``arguments`` is JSON, unless the model erred."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model says, before any dialect dresses it."""

    step: Step
    right: bool
    text: str
    call: Call | None
    cut: bool  # ended by the limit on output tokens
    pieces: tuple[str, ...]  # the text, or the call's arguments, token by token
    reasoning_tokens: int

    @property
    def output_tokens(self) -> int:
        """All tokens billed as output."""
        return len(self.pieces) + self.reasoning_tokens


def think(ask: Ask, skills: ModelSkills, *, seed: int) -> Answer:
    """Return the answer that ``skills`` gives to ``ask``."""
    task = read(ask)
    skill = skills.steps[task.step]
    digest = _digest(seed, ask)
    right = int.from_bytes(digest[:8], "big") / 2**64 < skill.right
    said = _spoken(task.truth) if right else _wrong(task, digest[8])
    cut = False
    if not right and said is None:
        said, cut = _cut_off(_spoken(task.truth)), True
    text = said or ""
    if task.tool is None and isinstance(task.truth, str) and not cut:
        text += _padding(text, skill.prose_tokens)
    reasoning = _reasoning(skill.reasoning_tokens, ask.effort)
    tokens = pieces(text) or [""]
    limit = min(ask.output_tokens_max or OUTPUT_TOKENS_MAX, OUTPUT_TOKENS_MAX)
    reasoning = min(reasoning, limit - 1)
    if len(tokens) > limit - reasoning:
        tokens, cut = tokens[: limit - reasoning], True
    text = "".join(tokens)
    call = Call(name=task.tool, arguments=text) if task.tool is not None else None
    return Answer(
        step=task.step,
        right=right,
        text="" if call else text,
        call=call,
        cut=cut,
        pieces=tuple(tokens),
        reasoning_tokens=reasoning,
    )


def refuses(ask: Ask, share: float, *, seed: int, number: int) -> bool:
    """Say whether request ``number`` is one of the ``share`` that this model refuses."""
    if share <= 0.0:
        return False
    key = f"{seed}\x00refuse\x00{ask.model}\x00{number}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64 < share


def _digest(seed: int, ask: Ask) -> bytes:
    key = f"{seed}\x00{ask.model}\x00{ask.text}\x00{ask.tool_result}".encode(errors="replace")
    return hashlib.blake2b(key, digest_size=16).digest()


def _spoken(truth: Truth) -> str:
    return truth if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False)


def _wrong(task: Task, dice: int) -> str | None:
    """Return a wrong answer as text; None stands for the right one, cut off."""
    structured = isinstance(task.truth, dict)
    if structured and dice % 8 == 0:
        return _spoken(task.truth)[:-1].rstrip('"]} ')  # JSON that does not parse
    if dice % 8 == 1 and len(_spoken(task.truth)) > 40:
        return None
    if task.others:
        other = _spoken(task.others[dice % len(task.others)])
        return f"I think it is {other}." if task.step is Step.CLASSIFY and dice & 16 else other
    if isinstance(task.truth, dict):
        return _spoken(_misread(task.truth, dice))
    return misspelt(task.truth)


def _misread(truth: dict[str, Any], dice: int) -> dict[str, Any]:
    """Return ``truth`` with one of its values misread."""
    names = [name for name, value in truth.items() if isinstance(value, str | int | float)]
    if not names:
        return {**truth, "unsure": True} if not truth else {}
    name = names[dice % len(names)]
    value = truth[name]
    if isinstance(value, bool):
        return {**truth, name: not value}
    if isinstance(value, int | float):
        return {**truth, name: value + 1}
    return {**truth, name: misspelt(value)}


def misspelt(text: str) -> str:
    """Return ``text`` with its last run of digits misread, or its last word lost.

    >>> misspelt("DE-482913"), misspelt("Acme Tools"), misspelt("yes")
    ('DE-482914', 'Acme', 'not yes')
    """
    runs = list(re.finditer(r"\d+", text))
    if runs:
        last = runs[-1]
        digit = str((int(last.group()[-1]) + 1) % 10)
        return text[: last.end() - 1] + digit + text[last.end() :]
    head, space, _ = text.rpartition(" ")
    return head if space else f"not {text}"


def _cut_off(text: str) -> str:
    return text[: max(1, len(text) // 2)]


def _padding(text: str, least_tokens: int) -> str:
    missing = least_tokens - count(text)
    return PADDING * (-(-missing // count(PADDING))) if missing > 0 else ""


def _reasoning(tokens: int, effort: str | None) -> int:
    return int(tokens * EFFORT.get(effort or "medium", 1.0))

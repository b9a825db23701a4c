"""The code tier: a step answered by a named Python function instead of a model.

The function gets the ``Step`` and returns text, a JSON value, a ``ToolUse``, or None to abstain.
It runs in a thread under a time limit; whatever it does wrong is a ``CodeCrashed``, and the next
tier is asked. ``evals/rendering.py`` turns its answer into a body of the caller's dialect.
"""

import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from evals.answers import Answer, Finish, ToolCall
from evals.steps import Step
from evals.workers import NoThread, Raised, TookTooLong, Workers
from telemetry.errors import CodeCrashed, ConfigError

SECONDS: Final = 0.25
ANSWER_BYTES_MAX: Final = 1_048_576
_REFERENCE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolUse:
    """What a code function returns to call one of the caller's tools."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeAnswer:
    """What a code function answered: text, or tool calls."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    def as_answer(self, step: Step) -> Answer:
        """Return the record that checks judge."""
        return Answer(
            step=step,
            text=self.text,
            tool_calls=self.tool_calls,
            finish=Finish.TOOL_USE if self.tool_calls else Finish.COMPLETE,
        )


Returned = str | bool | int | float | Mapping[str, Any] | Sequence[Any] | ToolUse | None
Function = Callable[[Step], Returned]


def resolve(reference: str, *, directory: Path | None = None) -> Function:
    """Return the function that ``module:function`` names.

    ``directory``, the policy file's own, is searched for the module after the installed ones.

    Raises:
        ConfigError: not that form, no such module or function, or one that cannot be called so.
    """
    if not _REFERENCE.fullmatch(reference):
        raise ConfigError(
            f"code: {reference!r} is not module:function", hint='for example "support_rules:refund"'
        )
    module_name, _, path = reference.partition(":")
    if directory is not None and str(directory) not in sys.path:
        sys.path.append(str(directory))
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"code: {reference!r}: {error}", hint="put the module beside the policy, or install it"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"code: {reference!r}: importing it raised {type(error).__name__}: {error}",
            hint=f"`python -c 'import {module_name}'` shows where",
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ConfigError(
                f"code: {reference!r}: {module_name} has no {path}",
                hint=f"it has: {', '.join(_functions(found)) or 'no functions'}",
            )
        found = getattr(found, name)
    return _callable(found, reference)


def _functions(place: Any) -> list[str]:
    return [n for n, v in vars(place).items() if inspect.isroutine(v) and not n.startswith("_")]


def _callable(found: Any, reference: str) -> Function:
    hint = "write `def answer(step): ...`, not async, with one parameter"
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ConfigError(f"code: {reference!r} is no plain function", hint=hint)
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        raise ConfigError(f"code: {reference!r}: {error}", hint=hint) from error
    except ValueError:  # written in C; it tells when it is called
        pass
    function: Function = found
    return function


class CodeFunction:
    """A function of the code tier, with its time limit and its threads."""

    def __init__(
        self, function: Function, *, name: str, seconds: float = SECONDS, abandoned_max: int = 4
    ) -> None:
        self.name = name
        self._function = function
        self._seconds = seconds
        self._workers = Workers(f"code {name}", abandoned_max=abandoned_max)

    @property
    def abandoned(self) -> int:
        """How many threads are stuck in the function now."""
        return self._workers.abandoned

    async def answer(self, step: Step) -> CodeAnswer | None:
        """Return the function's answer; None when it abstains.

        Raises:
            CodeCrashed: it raised, overstayed, is disabled, or answered nonsense.
        """
        try:
            # Its answer is read in the thread as well: a huge one must not hold up the loop.
            return await self._workers.run(
                lambda: self._read(self._function(step), step), seconds=self._seconds
            )
        except TookTooLong:
            raise self._crashed("timeout", f"took longer than {self._seconds:g} s") from None
        except NoThread as error:
            raise self._crashed("no_thread", str(error)) from None
        except Raised as error:
            if isinstance(error.__cause__, CodeCrashed):
                raise error.__cause__ from None
            raise self._crashed("raised", f"raised {error}") from error.__cause__

    def close(self) -> None:
        """Let its idle threads end; safe to call twice."""
        self._workers.close()

    def _read(self, returned: Any, step: Step) -> CodeAnswer | None:
        if returned is None:
            return None
        if isinstance(returned, ToolUse):
            return CodeAnswer(tool_calls=(self._call(returned, step),))
        text = returned if isinstance(returned, str) else self._json(returned)
        return CodeAnswer(text=self._measured(text))

    def _call(self, use: ToolUse, step: Step) -> ToolCall:
        if use.name not in (tool.name for tool in step.tools):
            raise self._crashed("nonsense", f"calls {use.name!r:.64}, which the request lacks")
        if not isinstance(use.arguments, Mapping):
            raise self._crashed("nonsense", "gives a tool arguments that are no mapping")
        return ToolCall(use.name, self._measured(self._json(use.arguments)))

    def _json(self, value: Any) -> str:
        if not is_json(value):
            raise self._crashed("nonsense", f"returned {type(value).__name__} that is not JSON")
        try:
            return msgspec.json.encode(value).decode()
        except (TypeError, ValueError, OverflowError) as error:
            raise self._crashed("nonsense", "returned what cannot be written as JSON") from error

    def _measured(self, text: str) -> str:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise self._crashed("nonsense", "returned text that is not Unicode") from None
        if size > ANSWER_BYTES_MAX:
            raise self._crashed("nonsense", f"returned more than {ANSWER_BYTES_MAX} bytes")
        return text

    def _crashed(self, kind: str, what: str) -> CodeCrashed:
        return CodeCrashed(f"the code function {self.name!r} {what}", kind=kind)


def is_json(value: Any, *, depth_max: int = 100) -> bool:
    """Say whether a value can be written as JSON without changing it."""
    if value is None or isinstance(value, str | bool | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth_max == 0:
        return False
    if isinstance(value, Mapping):
        return all(
            isinstance(key, str) and is_json(item, depth_max=depth_max - 1)
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return all(is_json(item, depth_max=depth_max - 1) for item in value)
    return False

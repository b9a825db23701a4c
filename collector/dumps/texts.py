"""Finds the text of a prompt and its answer among a span's attributes, in any dialect.

The receiver never keeps such text. The audit looks at it, takes fingerprints and forgets it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from evals.audit.texts import PROMPT_CHARS_MAX, Texts

MESSAGES_MAX: Final = 500
DEPTH_MAX: Final = 6
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_ANSWER_KEYS: Final = frozenset(
    {
        "gen_ai.output.messages", "output.value", "langfuse.observation.output", "ai.response.text",
        "ai.response.object", "gen_ai.completion", "response", "output",
    }
)  # fmt: skip
_PROMPT_KEYS: Final = frozenset(
    {
        "gen_ai.input.messages", "input.value", "langfuse.observation.input", "ai.prompt.messages",
        "ai.prompt", "gen_ai.prompt", "messages", "input", "prompt",
    }
)  # fmt: skip
_SYSTEM_KEYS: Final = frozenset({"gen_ai.system_instructions", "gen_ai.request.instructions"})
# Message by message: gen_ai.prompt.0.content, llm.input_messages.0.message.content ...
_NUMBERED: Final = re.compile(
    r"(gen_ai\.prompt|gen_ai\.completion|llm\.input_messages|llm\.output_messages)\.(\d{1,4})\."
    r"(?:message\.)?(role|content|contents\.\d{1,4}\.message_content\.text)"
)
_WORDS: Final = ("text", "content", "parts", "value", "refusal")
_WRAPPERS: Final = ("messages", "input", "prompt", "contents", "choices", "message", "output")

Said = tuple[str, str]  # role, text


def texts_of(pairs: Iterable[tuple[str, Any]]) -> Texts | None:
    """Return what was said in a call; None when its prompt is not among the attributes.

    Message-by-message attributes beat whole ones: ``output.value`` may hold a whole response body.
    """
    asked: list[Said] = []
    answered: list[Said] = []
    system: list[str] = []
    numbered: dict[tuple[str, int], dict[str, str]] = {}
    for key, value in pairs:
        found = _NUMBERED.fullmatch(key)
        if found is not None:
            part = "role" if found[3] == "role" else "content"
            message = numbered.setdefault((found[1], int(found[2])), {})
            message[part] = "\n".join(filter(None, (message.get(part), str(value))))
        elif key in _PROMPT_KEYS:
            asked = asked or list(messages(value))
        elif key in _ANSWER_KEYS:
            answered = answered or list(messages(value))
        elif key in _SYSTEM_KEYS:
            system += [text for _, text in messages(value)]
    one_by_one = _numbered(numbered)
    return _whole(one_by_one[0] or asked, one_by_one[1] or answered, system)


def _numbered(found: Mapping[tuple[str, int], Mapping[str, str]]) -> tuple[list[Said], list[Said]]:
    """Return what was asked and answered, from attributes that hold one message each."""
    asked: list[Said] = []
    answered: list[Said] = []
    for (where, _), message in sorted(found.items()):
        if "content" in message:
            inward = where in ("gen_ai.prompt", "llm.input_messages")
            role = message.get("role", "user" if inward else "assistant")
            (asked if inward else answered).append((role, message["content"]))
    return asked, answered


def _whole(asked: list[Said], answered: list[Said], system: list[str]) -> Texts | None:
    if not asked:
        return None
    system += [text for role, text in asked if role in _SYSTEM_ROLES]
    others = [text for role, text in asked if role not in _SYSTEM_ROLES]
    user = next((text for role, text in reversed(asked) if role in ("user", "human", "")), "")
    return Texts(
        system="\n".join(system)[:PROMPT_CHARS_MAX],
        user=(user or (others[-1] if others else ""))[:PROMPT_CHARS_MAX],
        prompt="\n".join(f"{role}: {text}" for role, text in asked)[:PROMPT_CHARS_MAX],
        answer="\n".join(text for _, text in answered)[:PROMPT_CHARS_MAX],
    )


def messages(value: Any) -> Iterator[Said]:
    """Yield (role, text) of messages in any of the usual forms, or of a plain text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            yield "", value
            return
        if not value:
            return  # what a table writes for nothing
        if not _speaks(value):
            yield "", msgspec.json.encode(value).decode()  # the JSON itself was said
            return
    yield from _messages(value, role="", depth=0)


def _speaks(value: Any) -> bool:
    """Say whether JSON holds messages, rather than being what was said."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) and _speaks(item) for item in value)
    return isinstance(value, dict) and (
        "role" in value or any(key in value for key in (*_WRAPPERS, "parts"))
        or ("type" in value and any(key in value for key in _WORDS))
    )  # fmt: skip


def _messages(value: Any, *, role: str, depth: int) -> Iterator[Said]:
    if isinstance(value, str):
        if value:
            yield role, value
    elif isinstance(value, list) and depth < DEPTH_MAX:
        for item in value[:MESSAGES_MAX]:
            yield from _messages(item, role=role, depth=depth + 1)
    elif isinstance(value, Mapping) and depth < DEPTH_MAX:
        yield from _of_object(value, role=role, depth=depth)


def _of_object(value: Mapping[str, Any], *, role: str, depth: int) -> Iterator[Said]:
    named = value.get("role")
    if isinstance(named, str):
        role = named
        parts: list[Said] = []
        for key in _WORDS:
            parts += _messages(value.get(key), role=role, depth=depth + 1)
        if parts:
            yield role, "\n".join(text for _, text in parts)
        return
    if isinstance(value.get("system"), str | list):
        yield from _messages(value["system"], role="system", depth=depth + 1)
    for key in (*_WRAPPERS, *_WORDS):
        if key in value:
            yield from _messages(value[key], role=role, depth=depth + 1)
            return

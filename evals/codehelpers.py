"""Small functions from which a module of the code tier is put together.

Each takes what it needs and returns None when it has nothing to say, so that they chain::

    from evals.codehelpers import first, lookup, said_any
    from evals.steps import Step

    TEAMS = {"invoice": "billing", "password": "accounts"}

    def route(step: Step) -> str | None:
        return first(
            lambda: "refunds" if said_any(step, ["refund", "money back"]) else None,
            lambda: lookup(step.last_user_text, TEAMS),
        )
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from evals.steps import Step

T = TypeVar("T")


def first(*attempts: Callable[[], T | None]) -> T | None:
    """Return the first result that is not None; the rest is not called.

    >>> first(lambda: None, lambda: "b", lambda: "c")
    'b'
    """
    return next((found for attempt in attempts if (found := attempt()) is not None), None)


def said_any(step: Step, words: Sequence[str]) -> bool:
    """Say whether the last user text holds one of ``words``, in any letter case."""
    text = step.last_user_text.casefold()
    return any(word.casefold() in text for word in words)


def json_value(text: str) -> Any:
    """Return the JSON value that ``text`` is, or the first object or list that stands in it.

    >>> json_value('The order: {"id": 7}, please')
    {'id': 7}
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        pass
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    ends = [place for place in (text.rfind("}"), text.rfind("]")) if place >= 0]
    if not starts or not ends:
        return None
    try:
        return msgspec.json.decode(text[min(starts) : max(ends) + 1])
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def json_field(text: str, path: str) -> Any:
    """Return the member at a dotted path of the JSON in ``text``; numbers step into lists.

    >>> json_field('{"order": {"lines": [{"sku": "A1"}]}}', "order.lines.0.sku")
    'A1'
    """
    value = json_value(text)
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def extracted(text: str, pattern: str) -> str | None:
    """Return what the pattern's first group matches in ``text``, or the whole match without one.

    >>> extracted("Order #4711 is late", r"#([0-9]+)")
    '4711'
    """
    found = re.search(pattern, text)
    if found is None:
        return None
    matched = found.group(1 if found.re.groups else 0)
    return matched if isinstance(matched, str) else None


def lookup(text: str, table: Mapping[str, T]) -> T | None:
    """Return the value of the one key that stands in ``text`` as a word, in any letter case.

    None when no key stands there, and when keys with different values do: then a model is asked.

    >>> lookup("My INVOICE is wrong", {"invoice": "billing", "password": "accounts"})
    'billing'
    """
    folded = text.casefold()
    found = [
        value
        for key, value in table.items()
        if re.search(rf"(?<!\w){re.escape(key.casefold())}(?!\w)", folded)
    ]
    return found[0] if found and all(value == found[0] for value in found) else None


def filled(step: Step, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an object for the request's own schema, its fields taken from ``values``.

    Fields that are None are left out. None when the request has no object schema, when a required
    field has no value, or when a value stands for no field and the schema allows no others.
    """
    if step.schema is None:
        return None
    try:
        schema = msgspec.json.decode(step.schema)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    properties, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return None
    known = {key: value for key, value in values.items() if value is not None}
    if any(key not in known for key in required):
        return None
    if schema.get("additionalProperties") is False and any(key not in properties for key in known):
        return None
    return known

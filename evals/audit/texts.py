"""What the text of a prompt and its answer gives away: repeats, and answers that need no model.

Only fingerprints and one word leave this file; no text does.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

PROMPT_CHARS_MAX: Final = 200_000
ANSWER_CHARS_MAX: Final = 4_000
LEAVES_MAX: Final = 200
LEAVES_MIN: Final = 2
_WORD: Final = re.compile(r"[^\W_]+")
# Words that may come and go without changing what is asked.
_FILLERS: Final = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "can", "could", "do", "does",
        "for", "from", "give", "has", "have", "i", "if", "in", "is", "it", "just", "let",
        "may", "me", "my", "now", "of", "on", "or", "our", "please", "shall", "should",
        "so", "tell", "that", "the", "then", "this", "to", "us", "was", "we", "what",
        "which", "will", "with", "would", "you", "your",
    }
)  # fmt: skip
_BAG_WORDS_MIN: Final = 3


class Plain(StrEnum):
    """How code could have given the answer."""

    FORM = "schema fill"  # a JSON answer whose every value stands in the prompt
    FIELD = "JSON field"  # a value of JSON that stands in the prompt
    COPY = "substring"  # copied out of the prompt word for word


MEANINGS: Final[dict[str, str]] = {
    Plain.FORM: "the answer is JSON, and each of its values stands in the prompt",
    Plain.FIELD: "the answer is one value of the JSON in the prompt",
    Plain.COPY: "the answer stands in the prompt, word for word",
    "lookup": "the same input always got the same answer",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What was said in one call; empty is unknown."""

    system: str = ""
    user: str = ""  # the last thing the caller said
    prompt: str = ""  # all of it
    answer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Fingerprints of one call's texts, in 16 hex digits, and how code could have answered."""

    prompt: str = ""
    user: str = ""
    bag: str = ""  # of the telling words, whatever their order
    answer: str = ""
    plain: Plain | None = None
    structured: bool = False  # the answer is a JSON object or list with something in it


def marks_of(texts: Texts) -> Marks:
    """Return the marks of a call's texts; what is unknown leaves its mark empty."""
    answer = texts.answer.strip()
    found = _parsed(answer)
    user = texts.user or texts.prompt
    return Marks(
        prompt=_print(texts.prompt),
        user=_print(user),
        bag=_bag(user),
        answer=_print(answer),
        plain=plain_way(texts) if answer and user else None,
        structured=isinstance(found, dict | list) and bool(found),
    )


def plain_way(texts: Texts) -> Plain | None:
    """Return how code could have given this very answer, or None.

    One answer proves little (a label may stand in the prompt by chance); a role proves it.
    """
    answer = texts.answer.strip()
    if not answer or len(answer) > ANSWER_CHARS_MAX:
        return None
    said = (texts.user or texts.prompt)[:PROMPT_CHARS_MAX]
    parsed = _parsed(answer)
    if isinstance(parsed, dict):
        return Plain.FORM if _filled(parsed, said) else None
    if isinstance(parsed, list):
        return None
    bare = answer.strip("\"'`. \n")
    if bare and any(bare == leaf for leaf in _leaves_within(said)):
        return Plain.FIELD
    return Plain.COPY if _copied(bare, said=said, system=texts.system) else None


def _filled(answer: dict[str, Any], said: str) -> bool:
    leaves = list(_leaves(answer))
    telling = [leaf for leaf in leaves if len(leaf) >= 3]
    return len(telling) >= LEAVES_MIN and all(_stands(leaf, said) for leaf in leaves)


def _copied(bare: str, *, said: str, system: str) -> bool:
    """Say whether a telling answer stands in what was said, and not among the instructions."""
    telling = any(c.isdigit() for c in bare) or " " in bare or len(bare) >= 12
    return telling and 3 <= len(bare) <= 200 and bare not in system and _stands(bare, said)


def _stands(text: str, said: str) -> bool:
    """Say whether ``text`` stands in ``said`` as whole words."""
    at = said.find(text)
    while at >= 0:
        end = at + len(text)
        before, after = said[at - 1 : at], said[end : end + 1]
        if not (before.isalnum() and text[0].isalnum()) and not (
            after.isalnum() and text[-1].isalnum()
        ):
            return True
        at = said.find(text, at + 1)
    return False


def _leaves_within(said: str) -> Iterator[str]:
    start, end = said.find("{"), said.rfind("}")
    if 0 <= start < end:
        found = _parsed(said[start : end + 1])
        if isinstance(found, dict):
            yield from _leaves(found)


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the values of JSON as text; what cannot be found in a text (true, null) as itself."""
    if isinstance(value, dict | list) and depth < 8:
        items = list(value.values() if isinstance(value, dict) else value)[:LEAVES_MAX]
        for item in items:
            yield from _leaves(item, depth + 1)
    elif isinstance(value, str):
        if value:
            yield value
    else:
        yield json.dumps(value, default=str)


def _parsed(text: str) -> Any:
    """Return JSON, also inside a code fence; None when it is none."""
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _print(text: str) -> str:
    text = text.strip()
    return _digest(text) if text else ""


def _bag(text: str) -> str:
    """Return the fingerprint of the telling words, in any order; empty for too few of them.

    >>> _bag("Please tell me the total of invoice 12.") == _bag("total of the invoice 12?")
    True
    >>> _bag("Total of the invoice 12") == _bag("Total of the invoice 13")
    False
    """
    words = {word for word in _WORD.findall(text.lower()) if word not in _FILLERS}
    return _digest(" ".join(sorted(words))) if len(words) >= _BAG_WORDS_MIN else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()

"""A revision as a file that people review: TOML in a stable order, the evidence as comments.

``rendered`` writes it and ``parsed`` takes it back. An unchanged file is the same revision; one
whose shares somebody edited is a new revision on the stated base, without the learner's evidence:
no figure speaks for what a person chose.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from collector.diffs import ArmChange, Difference
from collector.refusals import Refusal
from learning.revision import Revision, parse_arm

FORMAT: Final = 1
DECLARED: Final = "declared"
KEYS: Final = frozenset(
    {"format", "revision", "base", "policy_hash", "parent", "shares", "evidence"}
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionFile:
    """What a file says: a revision, and the one that was in force when it was written."""

    revision: Revision
    base: str  # a revision's id, or `declared`
    edited: bool


def rendered(revision: Revision, *, base: str, known: Difference | None = None) -> str:
    """Return the file of ``revision``; ``known`` gives what is said beside shares, if anything."""
    lines = [
        "# A learned revision of the routing policy. Edit shares if need be; then",
        "#   tierwise policy activate --file FILE",
        "# It is refused once another revision than `base` is in force.",
        f"format = {FORMAT}",
        f"revision = {_quoted(revision.revision_id)}",
        f"base = {_quoted(base)}",
        f"policy_hash = {_quoted(revision.policy_hash)}",
        f"parent = {_quoted(revision.parent or DECLARED)}",
    ]
    said = {} if known is None else {
        (cell.cell, arm.arm): arm for cell in known.cells for arm in cell.arms
    }  # fmt: skip
    for cell, arms in sorted(revision.shares.items()):
        lines += ["", f"[shares.{_quoted(cell)}]"]
        lines += [_share(arm, share, said.get((cell, arm))) for arm, share in sorted(arms.items())]
    for cell, facts in sorted(revision.evidence.items()):
        lines += ["", f"[evidence.{_quoted(cell)}]"]
        lines += [f"{_key(name)} = {_number(value)}" for name, value in sorted(facts.items())]
    return "\n".join(lines) + "\n"


def parsed(text: str) -> RevisionFile:
    """Return what a file says.

    Raises:
        Refusal: it is no such file; the message names the place.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _wrong(f"not TOML: {error}") from error
    if unknown := sorted(set(table) - KEYS):
        raise _wrong(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(KEYS))}")
    if missing := sorted(KEYS - {"shares", "evidence"} - set(table)):
        raise _wrong(f"{missing[0]} is missing")
    if table["format"] != FORMAT:
        raise _wrong(f"format {table['format']!r} is not {FORMAT}")
    base, parent = _text(table, "base"), _text(table, "parent")
    policy_hash, stated = _text(table, "policy_hash"), _text(table, "revision")
    shares = _tables(table, "shares", arms=True)
    evidence = _tables(table, "evidence", arms=False)
    whole = _revision(policy_hash, parent, shares, evidence)
    if whole.revision_id == stated:
        return RevisionFile(revision=whole, base=base, edited=False)
    mine = _revision(policy_hash, base, shares, {})
    return RevisionFile(revision=mine, base=base, edited=True)


def _revision(
    policy_hash: str,
    parent: str,
    shares: Mapping[str, Mapping[str, float]],
    evidence: Mapping[str, Mapping[str, float]],
) -> Revision:
    above = None if parent == DECLARED else parent
    try:
        return Revision(policy_hash=policy_hash, parent=above, shares=shares, evidence=evidence)
    except ValueError as error:
        raise _wrong(str(error)) from error


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise _wrong(f"{key} is not a text")
    return value


def _tables(table: Mapping[str, Any], key: str, *, arms: bool) -> dict[str, dict[str, float]]:
    found = table.get(key, {})  # absent where there is nothing in it
    if not isinstance(found, dict):
        raise _wrong(f"{key} is not a table")
    return {
        cell: dict(_numbers(f"{key}.{cell}", inner, arms=arms)) for cell, inner in found.items()
    }


def _numbers(place: str, inner: Any, *, arms: bool) -> Iterator[tuple[str, float]]:
    if not isinstance(inner, dict):
        raise _wrong(f"{place} is not a table")
    for name, value in inner.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(f"{place}.{name}: {value!r} is not a number")
        if not abs(value) < float("inf"):
            raise _wrong(f"{place}.{name}: {value!r} is not finite")
        try:
            yield (str(parse_arm(name)) if arms else name), float(value)
        except ValueError as error:
            raise _wrong(f"{place}: {name!r} is not an arm: {error}") from error


def _share(arm: str, share: float, known: ArmChange | None) -> str:
    line = f"{_key(arm)} = {_number(share)}"
    if known is None:
        return line
    facts = [f"was {known.before:.4g}", f"{known.steps} steps"]
    if known.usd_per_step is not None:
        facts.append(f"${known.usd_per_step:.6g} per step")
    if known.quality is not None:
        facts.append(f"quality {known.quality:.3f} over {known.graded}")
    return f"{line}  # {', '.join(facts)}"


def _number(value: float) -> str:
    return repr(float(value))  # the shortest text that reads back as the same number


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text)


def _wrong(message: str) -> Refusal:
    return Refusal(
        "invalid_field",
        f"the revision's file: {message}",
        hint="`tierwise policy export` writes one that can be edited",
    )

"""The tables of docs/configuration.md, made from the forms of the two files.

``python -m router.keytable`` writes them into the page again; a test fails while it is stale.
"""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from router.config import Config
from router.policyfile import PolicyFile
from telemetry.configfile import Section, plain
from telemetry.filling import filled

PAGE: Final = Path(__file__).parent.parent / "docs" / "configuration.md"
FORMS: Final[dict[str, type[Section]]] = {"tierwise.toml": Config, "policy.toml": PolicyFile}

_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    date: "date",
    Path: "path",
}
_LIMITS: Final = (
    ("ge", "at least {}"),
    ("gt", "more than {}"),
    ("le", "at most {}"),
    ("min_length", "{} or more"),
    ("max_length", "at most {} long"),
)
# What a table's name is called where people choose it.
_CHOSEN: Final = {
    "providers": "provider",
    "tiers": "tier",
    "roles": "role",
    "mode": "mode",
    "prices": '"provider/model"',
    "evaluators": "<evaluator>",
}


def tables(form: type[Section], header: str = "") -> Iterator[str]:
    """Yield one Markdown section per table of the file, in the order of the form."""
    rows: list[str] = []
    below: list[tuple[str, type[Section]]] = []
    for name, field in form.model_fields.items():
        key = field.alias or name
        table = _table_of(field.annotation)
        if table is None:
            rows.append(f"| `{key}` | {_kind(field)} | {_default(field)} | {_meaning(field)} |")
        else:
            below.append((_header(header, key, field.annotation), table))
    title = f"### `{header}`" if header else "### Before the first table"
    lines = [title, "", (form.__doc__ or "").strip().partition("\n")[0], ""]
    if rows:
        lines += ["| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    yield "\n".join(lines)
    for inner, table in below:
        yield from tables(table, inner)


def keys(form: type[Section], header: str = "") -> Iterator[tuple[str, str]]:
    """Yield each (table, key) of the file that holds a value."""
    for name, field in form.model_fields.items():
        key = field.alias or name
        table = _table_of(field.annotation)
        if table is None:
            yield header, key
        else:
            yield from keys(table, _header(header, key, field.annotation))


def refreshed(page: str) -> str:
    """Return ``page`` with the tables of both files as they should be.

    Raises:
        ValueError: a table's place, between its two comments, is not in the page.
    """
    parts = {name: "".join(f"{table}\n" for table in tables(form)) for name, form in FORMS.items()}
    return filled(page, parts)


def _header(above: str, key: str, annotation: Any) -> str:
    inside = above.strip("[]")
    path = f"{inside}.{key}" if inside else key
    bare = plain(annotation)
    if get_origin(bare) is dict:
        return f"[{path}.{_CHOSEN[key]}]"
    return f"[[{path}]]" if get_origin(bare) is tuple else f"[{path}]"


def _table_of(annotation: Any) -> type[Section] | None:
    """Return the form of the tables that a field holds, or None when it holds values."""
    bare = plain(annotation)
    if get_origin(bare) is dict:
        bare = plain(get_args(bare)[1])
    elif get_origin(bare) is tuple:
        bare = plain(get_args(bare)[0])
    return bare if isinstance(bare, type) and issubclass(bare, Section) else None


def _kind(field: FieldInfo) -> str:
    kind = _kind_of(field.annotation)
    limits = [
        wording.format(_number(getattr(limit, attribute)))
        for attribute, wording in _LIMITS
        for limit in [*field.metadata, *_inner_limits(field.annotation)]
        if getattr(limit, attribute, None) is not None
    ]
    return ", ".join([kind, *limits])


def _kind_of(annotation: Any) -> str:  # noqa: PLR0911 - one return a kind reads best
    bare = plain(annotation)
    arguments = get_args(bare)
    if get_origin(bare) is Literal:
        return " · ".join(f"`{value}`" for value in arguments)
    if get_origin(bare) is tuple:
        if arguments[-1] is not Ellipsis:
            return f"list of {len(arguments)}: {_kind_of(arguments[0])}"
        return f"list of {_kind_of(arguments[0])}"
    if get_origin(bare) is dict:
        return "table"
    if bare is None:
        return " or ".join(_kind_of(part) for part in get_args(annotation))
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        return " · ".join(f"`{value}`" for value in bare)
    return _WORDS[bare]


def _inner_limits(annotation: Any) -> Iterator[Any]:
    """Yield the limits that an alias such as ``Share`` brings along."""
    if get_origin(annotation) is Annotated:
        for extra in annotation.__metadata__:
            yield from extra.metadata if isinstance(extra, FieldInfo) else ()
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _inner_limits(part)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ({}, (), ""):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: FieldInfo) -> str:
    assert field.description, f"{field} has no description"
    return field.description.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

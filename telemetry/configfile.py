"""Load one TOML file into one frozen model; every fault is worded for the person who wrote it."""

import difflib
import re
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name

FILE_BYTES_MAX = 1_048_576
KEYS = "correct it; docs/configuration.md has every key"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _env_name(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise ValueError(
            "is not the name of an environment variable; write the name here and keep the "
            "secret itself in the environment"
        )
    return value


EnvName = Annotated[str, AfterValidator(_env_name)]


class Section(BaseModel):
    """A table of a file that people write: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # somebody will paste a key into the wrong place
        protected_namespaces=(),
        validate_by_alias=True,
        validate_by_name=True,
    )


SectionT = TypeVar("SectionT", bound=Section)


def load(path: Path, model: type[SectionT]) -> SectionT:
    """Return the file at ``path`` as ``model``.

    Raises:
        ConfigError: naming the file, the key, what is wrong with it and the nearest right key.
    """
    return parse(read(path), model, name=path.name)


def read(path: Path, *, remedy: str = "`tierwise init` writes a first one") -> bytes:
    """Return the file's bytes; raise ``ConfigError`` when it is absent, unreadable or huge."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=remedy) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}", hint="name a file that this user may read"
        ) from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(
            f"{path}: larger than {FILE_BYTES_MAX} bytes", hint="is it the right file?"
        )
    return content


def parse(content: bytes, model: type[SectionT], *, name: str) -> SectionT:
    """Return TOML ``content`` as ``model``; ``name`` is the file's name in messages."""
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not TOML: {error}", hint="is it the right file?") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{name}: not TOML: {error}",
            hint="texts stand in quotes, lists in brackets; see https://toml.io",
        ) from error
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_wording(error, model, name), hint=KEYS) from error


def _wording(error: ValidationError, model: type[Section], name: str) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        path = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        lines.append(f"{name}: {path + ': ' if path else ''}{_sentence(fault, model)}")
    return "\n".join(lines)


def _sentence(fault: Any, model: type[Section]) -> str:
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        if near:
            return f"unknown key; did you mean {near[0]!r}?"
        return f"unknown key; known here: {', '.join(sorted(known))}"
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "literal_error" and isinstance(fault["input"], str):
        return f"{fault['msg']}{nearest_name(fault['input'], _words(fault['ctx']['expected']))}"
    message = str(fault["msg"])
    return message.removeprefix("Value error, ")


def _words(expected: str) -> list[str]:
    """Return the words of a sentence such as "'off' or 'on'"."""
    return expected.split("'")[1::2]


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Return the keys that ``model`` knows at a place inside it, walking maps and lists."""
    here: Any = model
    for part in location:
        here = plain(_inside(here, part))
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [field.alias or key for key, field in here.model_fields.items()]
    return []


def _inside(here: Any, part: Any) -> Any:
    """Return the annotation of ``part``: a field of a table, or an entry of a map or a list."""
    if isinstance(here, type) and issubclass(here, BaseModel):
        fields = here.model_fields.items()
        return next((f.annotation for key, f in fields if part in (key, f.alias)), None)
    if get_origin(here) is dict:
        return get_args(here)[1]
    return get_args(here)[0] if get_origin(here) is tuple else None


def plain(annotation: Any) -> Any:
    """Return the annotation without ``Annotated`` and without ``| None``."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kept = [part for part in get_args(annotation) if part is not NoneType]
        return plain(kept[0]) if len(kept) == 1 else None
    return annotation

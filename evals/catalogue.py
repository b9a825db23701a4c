"""Every check by name, and a role's list of checks made from what its policy says."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pydantic import ValidationError

from evals.builtin.code import PythonParses, UnifiedDiffApplies
from evals.builtin.confidence import MinLogprob
from evals.builtin.form import MaxLength, NotEmpty, NotTruncated
from evals.builtin.refusal import NotRefusal
from evals.builtin.structure import Json, JsonSchema, RequiredKeys, ToolCallValid
from evals.builtin.values import Contains, NumberRange, OneOf, Regex
from evals.checks import AnyCheck, BuiltIn, CheckSection
from evals.external import Command, External, Http
from evals.judge import LlmJudge
from evals.slow import Guarded
from telemetry.clock import Clock, SystemClock
from telemetry.errors import ConfigError

GROUP: Final = "tierwise.checks"
CHECKS_MAX: Final = 32
OWN_CHECK_SECONDS: Final = 1.0
OWN_CHECK_SECONDS_MAX: Final = 30.0

BUILT_IN: Final[dict[str, type[BuiltIn]]] = {
    kind.name: kind
    for kind in (
        NotTruncated,
        NotEmpty,
        NotRefusal,
        MaxLength,
        Json,
        JsonSchema,
        RequiredKeys,
        ToolCallValid,
        OneOf,
        Contains,
        Regex,
        NumberRange,
        PythonParses,
        UnifiedDiffApplies,
        MinLogprob,
    )
}
EXTERNAL: Final[dict[str, type[External]]] = {kind.name: kind for kind in (Command, Http, LlmJudge)}


def build_checks(
    specs: Sequence[str | Mapping[str, Any]], *, clock: Clock | None = None
) -> tuple[AnyCheck, ...]:
    """Return the checks that a policy names, in its order.

    A spec is a check's name, or a table with the name under ``check`` and its parameters.

    Raises:
        ConfigError: an unknown name, with the nearest right one; a wrong parameter; one name twice.
    """
    if len(specs) > CHECKS_MAX:
        raise ConfigError(f"checks: {len(specs)} are too many", hint=f"at most {CHECKS_MAX}")
    kinds = known_checks()
    checks: list[AnyCheck] = []
    for number, spec in enumerate(specs, 1):
        where = f"checks: number {number}"
        name, table = _named(spec, where)
        if name not in kinds:
            raise ConfigError(f"{where}: no check is called {name!r}", hint=_nearest(name, kinds))
        made = _made(name, kinds[name], table, where, clock or SystemClock())
        if any(made.name == check.name for check in checks):
            raise ConfigError(
                f"{where}: {made.name!r} stands in the list already",
                hint='give the second one a name of its own: {check = "...", name = "..."}',
            )
        checks.append(made)
    return tuple(checks)


def _named(spec: str | Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(spec, str):
        return spec, {}
    table = dict(spec)
    name = table.pop("check", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"{where}: names no check", hint='write {check = "one_of", values = ["a", "b"]}'
        )
    return name, table


def _nearest(name: str, kinds: Iterable[str]) -> str:
    known = sorted(kinds)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


@cache
def known_checks() -> Mapping[str, Any]:
    """Return every check's class, or entry point, by name; installed packages are read once.

    Raises:
        ConfigError: an own check would hide one of ours, or another own one.
    """
    kinds: dict[str, Any] = {**BUILT_IN, **EXTERNAL}
    for entry in entry_points(group=GROUP):
        if entry.name in kinds:
            raise ConfigError(
                f"the entry point {entry.value!r} of {GROUP} is called {entry.name!r}, "
                "and so is another check",
                hint="rename it, or uninstall the package that brings it",
            )
        kinds[entry.name] = entry
    return kinds


def _made(name: str, kind: Any, table: dict[str, Any], where: str, clock: Clock) -> AnyCheck:
    if isinstance(kind, EntryPoint):
        return _own(kind, table, where, clock)
    parameters = _parameters(kind.Parameters, table, f"{where}: {name}")
    if name in EXTERNAL:
        return EXTERNAL[name](parameters, clock)
    return BUILT_IN[name](parameters)  # type: ignore[return-value]


def _own(entry: EntryPoint, table: dict[str, Any], where: str, clock: Clock) -> AnyCheck:
    """Return somebody else's check, guarded: it may hang, crash or answer nonsense."""
    place = f"{where}: {entry.name} ({entry.value})"
    kind = _tried(entry.load, place, "cannot be loaded")
    section = getattr(kind, "Parameters", CheckSection)
    parameters = _parameters(section, table, f"{where}: {entry.name}")
    check = _tried(lambda: kind(parameters), place, "cannot be made")
    if not callable(getattr(check, "check", None)) or not isinstance(
        getattr(check, "version", None), str
    ):
        raise ConfigError(
            f"{place}: is no check", hint="it needs a version and a method check(answer)"
        )
    check.name = parameters.name or entry.name
    seconds = getattr(kind, "seconds", OWN_CHECK_SECONDS)
    if not isinstance(seconds, int | float) or not 0 < seconds <= OWN_CHECK_SECONDS_MAX:
        raise ConfigError(
            f"{place}: seconds is {seconds!r}",
            hint=f"a number above 0, at most {OWN_CHECK_SECONDS_MAX:g}",
        )
    return Guarded(check, seconds=seconds, clock=clock)


def _tried(make: Callable[[], Any], place: str, what: str) -> Any:
    try:
        return make()
    except Exception as error:
        raise ConfigError(
            f"{place}: {what}: {type(error).__name__}: {error}", hint="repair or remove it"
        ) from error


def _parameters(section: type[CheckSection], table: dict[str, Any], where: str) -> CheckSection:
    try:
        return section.model_validate(table)
    except ValidationError as error:
        known = [field.alias or key for key, field in section.model_fields.items()]
        lines = [f"{where}: {_sentence(fault, known)}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _sentence(fault: Any, known: Sequence[str]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown parameter; {_nearest(key, known)}"
    if fault["type"] == "missing":
        return f"{key}: is missing"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message

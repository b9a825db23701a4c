"""A suite: cases, the checks that judge their answers, and the tiers to compare, in one file.

SUITE.toml holds the cases itself or names a file beside it with one JSON object a line. Everything
that is wrong with it is said before a call is paid for.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, ValidationError

from evals.catalogue import build_checks
from evals.checks import AnyCheck, close_checks
from evals.steps import Step, read_step
from telemetry.configfile import Section, parse, read
from telemetry.errors import ConfigError
from telemetry.records import Dialect

CASES_MAX: Final = 10_000
CASES_BYTES_MAX: Final = 256 * 1_048_576
MESSAGES_TOKENS_MAX: Final = 1_024  # the Messages API wants a limit
INPUT: Final = "{input}"

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Specs = tuple[str | dict[str, JsonValue], ...]


class CaseConfig(Section):
    """One case: what is asked, and what its answer must be."""

    id: str = Field(min_length=1, max_length=200, description="its name in reports")
    input: str | None = Field(None, description="stands for {input} in the suite's template")
    request: dict[str, JsonValue] | None = Field(
        None, description="the request's body in place of template and input, without its model"
    )
    expect: str | None = Field(
        None, description="the whole answer, but for case and white space around it"
    )
    checks: Specs = Field((), max_length=32, description="checks of this case alone")
    about: str = Field("", max_length=2_000, description="for people: where it comes from")


class SuiteFile(Section):
    """SUITE.toml, whole."""

    schema_: Literal[1] = Field(alias="schema", description="version of the file's format")
    name: Word = Field(description="the suite's name in reports and feedback")
    role: Word = Field("eval", description="the role that its steps go by at the gateway")
    dialect: Dialect = Field(Dialect.CHAT, description="chat, responses or messages")
    tiers: tuple[Word, ...] = Field(
        (), max_length=16, description="tiers to compare; the last is what others are held against"
    )
    system: str = Field("", description="system prompt of every case")
    template: str = Field(INPUT, description="what the user says; {input} is the case's input")
    request: dict[str, JsonValue] = Field(
        default_factory=dict, description="further fields of every request's body"
    )
    checks: Specs = Field((), max_length=32, description="checks of every answer")
    cases: tuple[CaseConfig, ...] = Field((), max_length=CASES_MAX, description="the cases")
    cases_file: str | None = Field(
        None, description="NDJSON file with further cases, relative to this file"
    )
    margin: float = Field(
        0.05, gt=0, lt=1, description="how much lower a pass rate may be and still match"
    )
    usd_max: float = Field(1.0, gt=0, le=10_000, description="US dollars that a run may spend")
    running_max: int = Field(4, ge=1, le=64, description="calls at once")
    seconds: float = Field(120.0, gt=0, le=3_600, description="deadline of one call")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A case that is ready to be asked."""

    id: str
    body: bytes  # JSON, with the model left empty
    step: Step
    checks: tuple[AnyCheck, ...]

    def asking(self, model: str) -> bytes:
        """Return the body that asks ``model``."""
        return json.dumps(json.loads(self.body) | {"model": model}).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A suite that can be run."""

    file: SuiteFile
    cases: tuple[Case, ...]
    _shared: tuple[AnyCheck, ...] = field(repr=False)

    async def close(self) -> None:
        """Give back what slow checks hold."""
        await close_checks(self._shared)
        for case in self.cases:
            await close_checks(case.checks[len(self._shared) :])


def load_suite(path: Path) -> Suite:
    """Return the suite at ``path``.

    Raises:
        ConfigError: naming the file, and the case or line, and what is wrong with it.
    """
    content = read(path, remedy="name a suite's file; docs/evals.md shows one")
    file = parse(content, SuiteFile, name=path.name)
    found = [(f"{path.name}: case {case.id!r}", case) for case in file.cases]
    if file.cases_file is not None:
        found += _read_cases(path.parent / file.cases_file)
    if not found:
        raise ConfigError(
            f"{path.name}: the suite has no cases",
            hint="add [[cases]], or name a file of them in cases_file",
        )
    if len(found) > CASES_MAX:
        raise ConfigError(f"{path.name}: {len(found)} cases are too many", hint=f"{CASES_MAX}")
    if file.dialect is Dialect.EMBEDDINGS:
        raise ConfigError(f"{path.name}: dialect: embeddings have no answer that could be judged")
    _must_differ(found)
    shared = _checks(file.checks, where=path.name)
    return Suite(
        file=file,
        cases=tuple(_case(file, case, where, shared) for where, case in found),
        _shared=shared,
    )


def _read_cases(path: Path) -> list[tuple[str, CaseConfig]]:
    found = []
    for number, record in ndjson(path):
        where = f"{path.name}:{number}"
        try:
            found.append((where, CaseConfig.model_validate(record)))
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            known = ", ".join(CaseConfig.model_fields)
            raise ConfigError(f"{where}: {key}: {fault['msg']}", hint=f"keys: {known}") from error
    return found


def ndjson(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object of a file with its line number, from 1; empty lines are left out.

    Raises:
        ConfigError: the file cannot be read, is huge, or a line is no JSON object.
    """
    try:
        if path.stat().st_size > CASES_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {CASES_BYTES_MAX} bytes")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", hint="name the right file") from (
            error
        )
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path.name}:{number}: not JSON: {error}", hint="one JSON object a line"
            ) from error
        if not isinstance(record, dict):
            raise ConfigError(f"{path.name}:{number}: no JSON object", hint="one object a line")
        yield number, record


def _must_differ(found: list[tuple[str, CaseConfig]]) -> None:
    seen: dict[str, str] = {}
    for where, case in found:
        if case.id in seen:
            raise ConfigError(
                f"{where}: the id {case.id!r} stands at {seen[case.id]} already",
                hint="pairs are told by their ids, so each case needs its own",
            )
        seen[case.id] = where


def _checks(specs: Specs, *, where: str) -> tuple[AnyCheck, ...]:
    try:
        return build_checks(specs)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def _case(file: SuiteFile, case: CaseConfig, where: str, shared: tuple[AnyCheck, ...]) -> Case:
    own = case.checks
    if case.expect is not None:
        expected: dict[str, JsonValue] = {
            "check": "one_of", "name": "expected", "values": [case.expect], "ignore_case": True,
        }  # fmt: skip
        own = (*own, expected)
    checks = (*shared, *_checks(own, where=where))
    if not checks:
        raise ConfigError(
            f"{where}: nothing judges its answer", hint="add expect, or checks to it or the suite"
        )
    body = json.dumps({"model": "", **_body(file, case, where)}).encode()
    return Case(
        id=case.id,
        body=body,
        step=read_step(body, role=file.role, dialect=file.dialect),
        checks=checks,
    )


def _body(file: SuiteFile, case: CaseConfig, where: str) -> Mapping[str, Any]:
    if (case.input is None) == (case.request is None):
        raise ConfigError(f"{where}: give one of input and request", hint="a case asks one thing")
    if case.request is not None:
        left_out = ("model", "stream", "stream_options")
        kept = {key: value for key, value in case.request.items() if key not in left_out}
        return {**file.request, **kept}
    text = file.template.replace(INPUT, case.input or "")
    if file.dialect is Dialect.RESPONSES:
        system: dict[str, Any] = {"instructions": file.system} if file.system else {}
        return {**system, "input": text, **file.request}
    user = [{"role": "user", "content": text}]
    if file.dialect is Dialect.MESSAGES:
        system = {"system": file.system} if file.system else {}
        return {"max_tokens": MESSAGES_TOKENS_MAX, **system, "messages": user, **file.request}
    before = [{"role": "system", "content": file.system}] if file.system else []
    return {"messages": before + user, **file.request}

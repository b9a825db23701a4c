"""No answer of the gateway or of the collector says no without saying what to do next."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import collector.alerts.engine
import collector.alerts.explaining
import collector.duckdb_store
import collector.refusals
import collector.silences  # noqa: F401 - their errors are subclasses that are walked here
from telemetry.errors import ApiError

ROOT = Path(__file__).parents[2]
ROOMS = ("collector", "router", "telemetry")
# The one function of each room that writes an error's envelope.
WRITERS = {"collector/refusals.py", "router/envelopes.py"}


def family(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    yield kind
    below: type[ApiError]
    for below in kind.__subclasses__():
        yield from family(below)


def trees() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


NAMES = {kind.__name__ for kind in family(ApiError)}


@pytest.mark.parametrize("kind", sorted(family(ApiError), key=str))
def test_no_api_error_can_be_made_without_a_hint(kind: type[ApiError]) -> None:
    hint = inspect.signature(kind).parameters["hint"]
    assert hint.default is inspect.Parameter.empty


def test_no_api_error_is_made_with_an_empty_hint() -> None:
    empty = [
        f"{path}:{call.lineno}"
        for path, tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in NAMES
        for given in call.keywords
        if given.arg == "hint" and isinstance(given.value, ast.Constant) and not given.value.value
    ]
    assert not empty


def test_an_error_s_envelope_is_written_in_one_place_of_each_room() -> None:
    written = {
        path
        for path, tree in trees()
        for found in ast.walk(tree)
        if isinstance(found, ast.Dict)
        and {"type", "code", "message"} <= {getattr(key, "value", None) for key in found.keys}
    }
    assert written == WRITERS

"""Limits that no linter of ours keeps: small files, small functions, no leftovers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("router", "collector", "evals", "learning", "telemetry")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# Written in halves, so that this file does not hold them.
LEFTOVERS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
DRAWERS = ("utils", "util", "common", "core", "helpers", "misc", "types")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 50
    assert {name_of(path).partition("/")[0] for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    long = {
        f"{function.name} at line {function.lineno}"
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long == set()


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name_of)
def test_nothing_was_left_for_later(path: Path) -> None:
    found = LEFTOVERS.findall(path.read_text(encoding="utf-8"))
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_named_for_what_it_holds(path: Path) -> None:
    assert not set(path.with_suffix("").relative_to(ROOT).parts) & set(DRAWERS)


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in TESTS if path.name != "__init__.py"}
    missing = {name_of(folder) for folder in folders if not (folder / "__init__.py").is_file()}
    assert missing == set()


def test_no_two_test_files_are_one_file_copied() -> None:
    contents = [path.read_bytes() for path in TESTS if path.read_bytes()]
    assert len(contents) == len(set(contents))

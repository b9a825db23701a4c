import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals import catalogue
from evals.catalogue import build_checks
from evals.checks import close_checks, run_checks
from telemetry.errors import ConfigError
from telemetry.records import Result
from tests.evals.answering import says


def refusal_of(*specs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build_checks(specs)
    return str(caught.value)


def test_a_name_and_a_table_make_the_same_check() -> None:
    by_name, by_table = build_checks(["json"]), build_checks([{"check": "json"}])
    assert type(by_name[0]) is type(by_table[0])
    assert (by_name[0].name, by_name[0].version) == ("json", "1")


def test_the_order_of_the_policy_is_kept() -> None:
    specs: list[Any] = ["not_truncated", {"check": "one_of", "values": ["a", "b"]}, "json"]
    assert [check.name for check in build_checks(specs)] == ["not_truncated", "one_of", "json"]


def test_a_misspelt_name_names_the_nearest_right_one() -> None:
    assert refusal_of("json", "json_shema") == (
        "checks: number 2: no check is called 'json_shema'; did you mean 'json_schema'?"
    )


def test_a_name_like_no_other_lists_them_all() -> None:
    assert "known: command, contains, http, json, json_schema," in refusal_of("zzzzzz")


def test_a_misspelt_parameter_names_the_nearest_right_one() -> None:
    assert refusal_of({"check": "json_schema", "shema": {}}) == (
        "checks: number 1: json_schema: shema: unknown parameter; did you mean 'schema'?"
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("one_of", "one_of: values: is missing"),
        ({"check": "one_of", "values": []}, "one_of: values: "),
        ({"values": ["a"]}, "names no check; write {check ="),
        ({"check": 7}, "names no check"),
        ("max_length", "give at least one of characters, words, lines"),
        ("contains", "give at least one of values, absent"),
        ({"check": "contains", "values": [""]}, "an empty text is everywhere"),
        ("min_logprob", "give at least one of mean, token"),
        ({"check": "min_logprob", "mean": 0.5}, "min_logprob: mean: "),
        ("number_range", "give at least one of min, max"),
        ({"check": "number_range", "min": 2, "max": 1}, "min 2.0 is above max 1.0"),
        ({"check": "regex", "pattern": r"(a)\1"}, "is not a pattern that runs in linear time"),
        ({"check": "regex", "pattern": "(?=a)"}, "look-around"),
        ({"check": "regex", "pattern": "((a{999}){999}){999}"}, "huge repetitions"),
        ({"check": "regex", "pattern": "("}, "is not a pattern"),
        ({"check": "json_schema", "schema": {"type": "nope"}}, "the schema does not compile"),
        ({"check": "http", "url": "ftp://x"}, "is not an http or https address"),
        ({"check": "http", "url": "http://user:pw@x"}, "without a password"),
        ({"check": "command", "argv": []}, "command: argv: "),
        ({"check": "json", "name": "Bad Name"}, "json: name: "),
    ],
)
def test_a_wrong_parameter_is_said_in_words(spec: Any, words: str) -> None:
    assert words in refusal_of(spec)


def test_one_check_twice_needs_a_name_of_its_own() -> None:
    first, second = {"check": "regex", "pattern": "a"}, {"check": "regex", "pattern": "b"}
    assert "'regex' stands in the list already; give the second one" in refusal_of(first, second)
    checks = build_checks([first, {**second, "name": "has_b"}])
    assert [check.name for check in checks] == ["regex", "has_b"]


def test_too_many_checks_are_refused() -> None:
    assert refusal_of(*["json"] * 33) == "checks: 33 are too many; at most 32"


OWN = """
import time
from pydantic import Field
from evals.checks import CheckSection
from telemetry.records import Result, Verdict

class Parameters(CheckSection):
    word: str = Field(description="must be there")

class HasWord:
    version = "2"
    Parameters = Parameters
    seconds = 0.2
    def __init__(self, parameters):
        self.word = parameters.word
    def check(self, answer):
        if answer.text == "hang":
            time.sleep(1.5)
        if answer.text == "raise":
            raise SystemExit(answer.text)
        if answer.text == "nonsense":
            return True
        found = self.word in answer.text
        return Verdict(check="?", version="?", result=Result.PASS if found else Result.FAIL)

class NoCheck:
    def __init__(self, parameters):
        pass

def broken(parameters):
    raise RuntimeError("no database")

class Endless(HasWord):
    seconds = -1
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs a package with entry points, as pip would leave it."""
    (tmp_path / "own_checks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(**points: str) -> None:
        info = tmp_path / "own_checks-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-checks\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = own_checks:{target}" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[{catalogue.GROUP}]\n{lines}\n")
        catalogue.known_checks.cache_clear()

    yield install
    catalogue.known_checks.cache_clear()
    sys.modules.pop("own_checks", None)


async def test_an_own_check_is_found_by_its_entry_point(installed: Any) -> None:
    installed(has_word="HasWord")
    checks = build_checks([{"check": "has_word", "word": "yes"}])
    checked = await run_checks(checks, says("yes, it is"))
    (verdict,) = checked.verdicts
    assert (verdict.check, verdict.version, verdict.result) == ("has_word", "2", Result.PASS)
    assert (await run_checks(checks, says("no"))).overall.result is Result.FAIL
    await close_checks(checks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hang", "took longer than 0.2 s"),
        ("raise", "raised SystemExit"),
        ("nonsense", "returned bool, not a Verdict"),
    ],
)
async def test_an_own_check_that_misbehaves_is_an_error(
    installed: Any, text: str, words: str
) -> None:
    installed(has_word="HasWord")
    checks = build_checks([{"check": "has_word", "word": "yes"}])
    checked = await run_checks(checks, says(text))
    assert checked.verdicts == ()
    assert words in str(checked.errors[0])
    await close_checks(checks)


def test_the_parameters_of_an_own_check_are_validated(installed: Any) -> None:
    installed(has_word="HasWord")
    assert refusal_of("has_word") == "checks: number 1: has_word: word: is missing"


def test_an_own_check_may_not_hide_one_of_ours(installed: Any) -> None:
    installed(json="HasWord")
    assert "is called 'json', and so is another check; rename it" in refusal_of("not_empty")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("Missing", "cannot be loaded: AttributeError"),
        ("NoCheck", "is no check; it needs a version and a method check(answer)"),
        ("broken", "cannot be made: RuntimeError: no database"),
        ("Endless", "seconds is -1; a number above 0"),
    ],
)
def test_an_own_check_that_cannot_be_used_is_refused(
    installed: Any, target: str, words: str
) -> None:
    installed(mine=target)
    spec = {"check": "mine", "word": "x"} if target == "Endless" else "mine"
    assert words in refusal_of(spec)


def test_an_own_check_that_nobody_names_is_not_loaded(installed: Any) -> None:
    installed(mine="Missing")
    assert [check.name for check in build_checks(["json"])] == ["json"]

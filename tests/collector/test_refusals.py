"""Every refusal stands on its page, and the page's numbers are the code's."""

from pathlib import Path

import pytest

from collector import answers, holds, preview, recent_steps, revisions
from collector.diffs import GRADED_MIN
from collector.refusals import REFUSALS, Refusal, body_of
from collector.revision_book import MOVES, Status

PAGE = (Path(__file__).parents[2] / "docs" / "policy-review.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_is_documented(code: str) -> None:
    known = REFUSALS[code]
    assert f"| `{code}` | {known.status} | {known.meaning} |" in PAGE


def test_a_refusal_says_what_and_what_next_in_one_shape() -> None:
    refusal = Refusal("unknown_key", "no key", hint="send one")
    error = {
        "type": "unauthorized",
        "code": "unknown_key",
        "message": "no key; send one",
        "hint": "send one",
    }
    assert (refusal.status, body_of(refusal)) == (401, {"error": error})


def test_every_status_is_documented_with_what_it_may_become() -> None:
    for status in Status:
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {status.value} |"))
        said = {word.strip() for word in row.split("|")[3].split(",")} - {""}
        assert said == {one.value for one in MOVES[status]}


def test_the_numbers_of_the_page_are_the_code_s() -> None:
    assert f"fewer than {GRADED_MIN} graded steps" in PAGE
    assert f"the last {recent_steps.STEPS_DEFAULT:,} decisions" in PAGE
    assert f"at most {preview.SLACK} under the floor" in PAGE
    assert f"at most {holds.PIN_DAYS_MAX} days" in PAGE
    assert f"the newest {revisions.KEPT_MAX:,} are kept" in PAGE
    assert f"remembered for {answers.ANSWERS_DAYS} days" in PAGE

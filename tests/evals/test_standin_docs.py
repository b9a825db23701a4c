"""The table in the documentation is the one the stand-ins answer by."""

from pathlib import Path

from evals.standin.skills import SKILLS, Step

DOCUMENT = Path(__file__).parents[2] / "docs" / "demo.md"


def rows() -> list[str]:
    models = SKILLS.values()
    shares = [
        (step.value, *(f"{model.steps[step].right:.1%}" for model in models))
        for step in Step
        if step is not Step.OTHER
    ]
    hidden = [
        (
            f"reasoning tokens, {step}",
            *(str(model.steps[step].reasoning_tokens) for model in models),
        )
        for step in (Step.DECIDE, Step.VERIFY, Step.PLAN)
    ]
    paces = [
        ("first byte, s", *(f"{model.first_byte_seconds:g}" for model in models)),
        ("seconds a token", *(f"{model.token_seconds:g}" for model in models)),
    ]
    return [f"| {' | '.join(row)} |" for row in shares + hidden + paces]


def test_the_documented_table_is_the_one_in_force() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("<!-- skills: begin -->\n")[2].partition("\n<!-- skills: end -->")[0]
    assert table.splitlines()[0] == f"| chance of a right answer | {' | '.join(SKILLS)} |"
    assert table.splitlines()[2:] == rows()

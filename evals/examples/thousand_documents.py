"""1,000 documents, each with one step that needs judgement and twenty that do not."""

from evals.examples.example import (
    FRONTIER,
    Ask,
    Example,
    Figure,
    Phase,
    Played,
    Role,
    Turns,
    saved,
)
from evals.examples.prices import FLASH_LITE, HAIKU, OPUS
from evals.examples.prompts import AMOUNT_TOKENS, NUMBERS_MIN, amount, note

DOCUMENTS = 10  # of 1,000
MECHANICAL = 20
TOKENS_IN = 1_000
JUDGEMENT = Role(name="judgement", tokens_in=TOKENS_IN, tokens_out=300, path=("frontier",))
FIELD = Role(name="field", tokens_in=TOKENS_IN, tokens_out=20, path=("small", "mid", "frontier"))
PRICES = {"small": FLASH_LITE, "mid": HAIKU, FRONTIER: OPUS}


def example() -> Example:
    """Return the example; models err as the stand-ins' table says."""
    judged = [
        Ask(role=JUDGEMENT.name, prompt=prompt, answer=answer)
        for number in range(DOCUMENTS)
        for prompt, answer in [
            note(NUMBERS_MIN + number, tokens_in=TOKENS_IN, tokens_out=JUDGEMENT.tokens_out)
        ]
    ]
    fields = [
        Ask(role=FIELD.name, prompt=prompt, answer=answer)
        for number in range(DOCUMENTS * MECHANICAL)
        for prompt, answer in [amount(NUMBERS_MIN + number, tokens_in=TOKENS_IN)]
    ]
    sure = {"standin-frontier": {"extract": 1.0}}
    return Example(
        name="thousand-documents",
        title="1,000 documents x (1 reasoning + 20 mechanical steps)",
        claim="up to 90 % less than uniform frontier",
        inputs="1,000 tokens in at every step; 300 out for judgement, 20 out for each of 20 "
        "fields; small is right in 94 % of fields, mid in 98 %",
        scale=f"{DOCUMENTS} of 1,000 documents (1:{1_000 // DOCUMENTS})",
        prices=PRICES,
        roles=(JUDGEMENT, FIELD),
        phases=(Phase(name="all", skills=sure, asks=[*judged, *fields]),),
        uniform=(
            _turns(JUDGEMENT, judged),
            _turns(FIELD, fields),
        ),
        tokens_thought={"transform": FIELD.tokens_out - AMOUNT_TOKENS},
        figures=figures,
    )


def _turns(role: Role, asks: list[Ask]) -> Turns:
    return Turns(
        name=role.name,
        tokens_in=role.tokens_in,
        tokens_out=role.tokens_out,
        prompts=[ask.prompt for ask in asks],
    )


def figures(example: Example, played: Played) -> list[Figure]:
    """Return the saving, and the ceiling that the one reasoning step puts on it."""
    judged = OPUS.usd(TOKENS_IN, JUDGEMENT.tokens_out)
    whole = judged + MECHANICAL * OPUS.usd(TOKENS_IN, FIELD.tokens_out)
    ours = saved(sum(map(example.usd, played.billed)), of=sum(map(example.usd, played.uniform)))
    fields = played.of(role=FIELD.name)
    escalated = sum(one.attempts > 1 for one in fields) / len(fields)
    return [
        Figure(
            name="the most that any routing of the mechanical steps saves",
            unit="share",
            claimed="up to 90 %",
            low=0.88,
            high=0.92,
            ours=saved(judged, of=whole),
            why="the step that needs judgement stays where it was, and is the rest of the bill",
        ),
        Figure(
            name="saved, retries counted",
            unit="share",
            claimed="up to 90 %",
            low=0.85,
            high=0.90,
            ours=ours,
            why=f"under the ceiling by what small calls cost and the {escalated:.1%} of fields "
            "that were asked again on a dearer tier",
        ),
    ]

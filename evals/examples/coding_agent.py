"""A coding agent tiered by role: planner, worker, critic and file mover."""

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
from evals.examples.prices import HAIKU, OPUS, SONNET
from evals.examples.prompts import AMOUNT_TOKENS, NUMBERS_MIN, amount, note

TASKS = 10
CALLS = {"planner": 1, "worker": 6, "critic": 2, "file_mover": 10}  # of one task
ROLES = (
    Role(name="planner", tokens_in=3_000, tokens_out=1_000, path=("frontier",)),
    Role(name="worker", tokens_in=4_000, tokens_out=800, path=("mid", "frontier")),
    Role(name="critic", tokens_in=3_000, tokens_out=400, path=("small",)),
    Role(name="file_mover", tokens_in=2_000, tokens_out=150, path=("small",)),
)
CHECKED = "worker"


def example() -> Example:
    """Return the example; the worker's answers are checked, mid is right in 98 % of them."""
    asks: list[Ask] = []
    turns = []
    for role in ROLES:
        own = [
            Ask(role=role.name, prompt=prompt, answer=answer)
            for number in range(TASKS * CALLS[role.name])
            for prompt, answer in [_prompt(role, NUMBERS_MIN + number)]
        ]
        asks += own
        turns.append(
            Turns(
                name=role.name,
                tokens_in=role.tokens_in,
                tokens_out=role.tokens_out,
                prompts=[ask.prompt for ask in own],
            )
        )
    sure = {f"standin-{tier}": {"extract": 1.0} for tier in ("small", "mid", FRONTIER)}
    worker = next(role for role in ROLES if role.name == CHECKED)
    return Example(
        name="coding-agent",
        title="Planner / worker / critic / file mover tiered by role",
        claim="about half (51 % for a three-tier coding agent)",
        inputs="a task is 1 plan, 6 pieces of work, 2 reviews and 10 file moves: "
        "3,000/1,000, 4,000/800, 3,000/400 and 2,000/150 tokens in/out a call",
        scale=f"{TASKS} tasks",
        prices={"small": HAIKU, "mid": SONNET, FRONTIER: OPUS},
        roles=ROLES,
        phases=(Phase(name="all", skills=sure, asks=asks),),
        uniform=tuple(turns),
        tokens_thought={"transform": worker.tokens_out - AMOUNT_TOKENS},
        figures=figures,
    )


def _prompt(role: Role, number: int) -> tuple[str, str]:
    if role.name == CHECKED:
        return amount(number, tokens_in=role.tokens_in)
    return note(number, tokens_in=role.tokens_in, tokens_out=role.tokens_out)


def figures(example: Example, played: Played) -> list[Figure]:
    """Return the saving, and what it would be with a worker left at the frontier."""
    spent = sum(map(example.usd, played.billed))
    uniform = sum(map(example.usd, played.uniform))
    worker = example.role(CHECKED)
    work = TASKS * CALLS[CHECKED]
    at_top = work * OPUS.usd(worker.tokens_in, worker.tokens_out)
    retried = sum(one.attempts > 1 for one in played.of(role=CHECKED))
    at_mid = sum(
        example.usd(entry)
        for entry in played.billed
        if (entry.tokens_in, entry.tokens_out) == (worker.tokens_in, worker.tokens_out)
    )
    return [
        Figure(
            name="saved, retries counted",
            unit="share",
            claimed="about half (51 %)",
            low=0.48,
            high=0.54,
            ours=saved(spent, of=uniform),
            why=f"{retried} of {work} pieces of work were done again at the frontier; the rest is "
            "the mix of roles, which is ours",
        ),
        Figure(
            name="saved when the worker stays at the frontier",
            unit="share",
            ours=saved(spent - at_mid + at_top, of=uniform),
            why=f"{at_top / uniform:.0%} of the frontier's bill is the worker's: the claim stands "
            "and falls with moving it",
        ),
    ]

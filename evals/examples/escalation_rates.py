"""How often may a cheap start fail before it saves nothing? Two starts, four rates."""

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
from evals.examples.prices import FLASH_LITE, OPUS, SONNET, Price
from evals.examples.prompts import AMOUNT_TOKENS, NUMBERS_MIN, amount

TASKS = 75  # for each start at each rate
RATES = (0.05, 0.10, 0.40, 0.60)
CLAIMED = ("5%", "10%")
TOKENS_IN, TOKENS_OUT = 1_000, 500
FROM_SMALL = Role(
    name="from_small", tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT, path=("small", FRONTIER)
)
FROM_MID = Role(name="from_mid", tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT, path=("mid", FRONTIER))
ROLES = (FROM_SMALL, FROM_MID)
PRICES = {"small": FLASH_LITE, "mid": SONNET, FRONTIER: OPUS}


def example() -> Example:
    """Return the example; wrong answers of the cheap start are caught and done again on top."""
    phases, number = [], NUMBERS_MIN
    for rate in RATES:
        asks = []
        for role in ROLES:
            for _ in range(TASKS):
                prompt, answer = amount(number, tokens_in=TOKENS_IN)
                asks.append(Ask(role=role.name, prompt=prompt, answer=answer))
                number += 1
        skills = {
            f"standin-{tier}": {"transform": right}
            for tier, right in (("small", 1 - rate), ("mid", 1 - rate), (FRONTIER, 1.0))
        }
        phases.append(Phase(name=f"{rate:.0%}", skills=skills, asks=asks))
    prompts = [ask.prompt for phase in phases for ask in phase.asks]
    return Example(
        name="escalation-rates",
        title="Escalation rates with retries counted",
        claim="at 5 to 10 % of escalations, savings remain",
        inputs="1,000 tokens in and 500 out; a start fails in 5, 10, 40 and 60 % of tasks, the "
        "check knows, and the frontier does them again",
        scale=f"{TASKS} tasks for each start at each rate",
        prices=PRICES,
        roles=ROLES,
        phases=phases,
        uniform=(
            Turns(name="every task", tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT, prompts=prompts),
        ),
        tokens_thought={"transform": TOKENS_OUT - AMOUNT_TOKENS},
        figures=figures,
    )


def break_even(start: Price) -> float:
    """Return the rate of escalations to the frontier at which a start saves nothing.

    Each task costs a start's call and, at the rate, a frontier call beside: start + r·top = top.

    >>> round(break_even(SONNET), 9), round(break_even(FLASH_LITE), 4)
    (0.4, 0.9829)
    """
    start_usd = start.usd(TOKENS_IN, TOKENS_OUT)
    return 1.0 - start_usd / OPUS.usd(TOKENS_IN, TOKENS_OUT)


def figures(example: Example, played: Played) -> list[Figure]:
    """Return each start's saving at each rate, and where it would end."""
    found = []
    top = OPUS.usd(TOKENS_IN, TOKENS_OUT)
    for role in ROLES:
        ends = break_even(PRICES[role.path[0]])
        for phase in example.phases:
            made = played.of(phase=phase.name, role=role.name)
            realised = sum(one.attempts > 1 for one in made) / len(made)
            ours = saved(sum(one.cost_usd for one in made), of=len(made) * top)
            found.append(
                Figure(
                    name=f"saved from {role.path[0]} at {realised:.0%} escalated "
                    f"(asked for {phase.name})",
                    unit="share",
                    claimed="savings remain" if phase.name in CLAIMED else None,
                    low=0.0,
                    high=1.0,
                    ours=ours,
                    why=f"break-even at {ends:.1%}: the start costs {1 - ends:.1%} of the frontier "
                    "on every task, escalated or not",
                )
            )
    return found

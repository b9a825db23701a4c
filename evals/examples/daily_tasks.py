"""10,000 tasks a day of one size, a tenth of them for the frontier."""

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
from evals.examples.prices import FLASH, FLASH_LITE, HAIKU, NANO, OPUS, Price
from evals.examples.prompts import NUMBERS_MIN, note

TASKS = 200  # of 10,000
TOKENS_IN, TOKENS_OUT = 1_000, 500
SHARES = {"hard": 0.10, "medium": 0.35, "easy": 0.55}
TIERS = {"hard": "frontier", "medium": "mid", "easy": "small"}
ROLES = tuple(
    Role(name=name, tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT, path=(tier,))
    for name, tier in TIERS.items()
)
PRICES = {"small": NANO, "mid": FLASH, FRONTIER: OPUS}


def example() -> Example:
    """Return the example; every model gets every task right, so nothing escalates."""
    asks: list[Ask] = []
    for role in ROLES:
        for _ in range(round(TASKS * SHARES[role.name])):
            prompt, answer = note(
                NUMBERS_MIN + len(asks), tokens_in=TOKENS_IN, tokens_out=TOKENS_OUT
            )
            asks.append(Ask(role=role.name, prompt=prompt, answer=answer))
    assert len(asks) == TASKS, "the shares divide the tasks"
    sure = {f"standin-{tier}": {"extract": 1.0} for tier in PRICES}
    return Example(
        name="daily-tasks",
        title="10,000 tasks a day, 10 / 35 / 55 % frontier / mid / small",
        claim="about 86 % less than uniform frontier",
        inputs="1,000 tokens in and 500 out for every task; every model is right",
        scale=f"{TASKS} of 10,000 tasks (1:{10_000 // TASKS})",
        prices=PRICES,
        roles=ROLES,
        phases=(Phase(name="all", skills=sure, asks=asks),),
        uniform=(
            Turns(
                name="every task",
                tokens_in=TOKENS_IN,
                tokens_out=TOKENS_OUT,
                prompts=[ask.prompt for ask in asks],
            ),
        ),
        figures=figures,
    )


def blended(prices: dict[str, Price]) -> float:
    """Return what a task costs on average at these prices by tier, in US dollars."""
    return sum(
        share * prices[TIERS[name]].usd(TOKENS_IN, TOKENS_OUT) for name, share in SHARES.items()
    )


def figures(example: Example, played: Played) -> list[Figure]:
    """Return the saving, and the same split where mid costs a fifth of the frontier."""
    ours = saved(sum(map(example.usd, played.billed)), of=sum(map(example.usd, played.uniform)))
    dearer = {"small": FLASH_LITE, "mid": HAIKU, FRONTIER: OPUS}
    return [
        Figure(
            name="saved",
            unit="share",
            claimed="about 86 %",
            low=0.855,
            high=0.865,
            ours=ours,
            why=f"mid and small like {FLASH.like} and {NANO.like}",
        ),
        Figure(
            name=f"the same split with {HAIKU.like} as mid and {FLASH_LITE.like} as small",
            unit="share",
            ours=saved(blended(dearer), of=OPUS.usd(TOKENS_IN, TOKENS_OUT)),
            why="86 % needs a mid tier at about a tenth of the frontier's price; at a fifth, "
            "the 35 % alone cost four points more",
        ),
    ]

"""Everything starts small, and a tenth of each tier's answers goes one tier up: 90 / 9 / 1."""

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
from evals.examples.prompts import AMOUNT_TOKENS, NUMBERS_MIN, amount

TASKS = 300
TASK = Role(name="task", tokens_in=1_000, tokens_out=500, path=("small", "mid", "frontier"))
PRICES = {"small": FLASH_LITE, "mid": HAIKU, FRONTIER: OPUS}


def example() -> Example:
    """Return the example; small and mid are right in nine of ten, the frontier always."""
    asks = [
        Ask(role=TASK.name, prompt=prompt, answer=answer)
        for number in range(TASKS)
        for prompt, answer in [amount(NUMBERS_MIN + number, tokens_in=TASK.tokens_in)]
    ]
    skills = {
        f"standin-{tier}": {"transform": right}
        for tier, right in (("small", 0.9), ("mid", 0.9), (FRONTIER, 1.0))
    }
    return Example(
        name="split",
        title="90 / 9 / 1 split over small / mid / frontier",
        claim="mid-tier price at frontier ceiling",
        inputs="1,000 tokens in and 500 out; small and mid are right in 90 %, the frontier always, "
        "and the check knows",
        scale=f"{TASKS} tasks",
        prices=PRICES,
        roles=(TASK,),
        phases=(Phase(name="all", skills=skills, asks=asks),),
        uniform=(
            Turns(
                name=TASK.name,
                tokens_in=TASK.tokens_in,
                tokens_out=TASK.tokens_out,
                prompts=[ask.prompt for ask in asks],
            ),
        ),
        tokens_thought={"transform": TASK.tokens_out - AMOUNT_TOKENS},
        figures=figures,
    )


def figures(example: Example, played: Played) -> list[Figure]:
    """Return the split, the price as a share of mid's, the ceiling, and the saving."""
    spent = sum(map(example.usd, played.billed))
    mid = len(played.made) * HAIKU.usd(TASK.tokens_in, TASK.tokens_out)
    by_tier = {tier: sum(one.tier == tier for one in played.made) for tier in PRICES}
    small, medium = (PRICES[t].usd(TASK.tokens_in, TASK.tokens_out) for t in ("small", "mid"))
    top = OPUS.usd(TASK.tokens_in, TASK.tokens_out)
    level = (medium - 0.1 * medium - 0.01 * top) / medium
    split = " / ".join(f"{by_tier[tier] / len(played.made):.1%}" for tier in PRICES)
    return [
        Figure(
            name=f"answered by small (small / mid / frontier: {split})",
            unit="share",
            claimed="90 %",
            low=0.87,
            high=0.93,
            ours=by_tier["small"] / len(played.made),
            why="drawn at random at 90 % and 90 % of the rest",
        ),
        Figure(
            name="right answers: the ceiling",
            unit="share",
            claimed="the frontier's, 100 %",
            low=1.0,
            high=1.0,
            ours=sum(one.right for one in played.made) / len(played.made),
            why="every wrong answer is caught; a check that misses some lowers the ceiling by them",
        ),
        Figure(
            name="cost as a multiple of mid alone",
            unit="ratio",
            claimed="1, mid-tier price",
            low=0.9,
            high=1.1,
            ours=spent / mid,
            why=f"cheaper than claimed: it is mid's price only where small costs {level:.0%} of "
            f"mid, and {FLASH_LITE.like} costs {small / medium:.0%} of {HAIKU.like}",
        ),
        Figure(
            name="saved against uniform frontier, retries counted",
            unit="share",
            ours=saved(spent, of=sum(map(example.usd, played.uniform))),
            why="the claim names no share; mid alone would save 80 %",
        ),
    ]

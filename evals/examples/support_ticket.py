"""A support ticket: a loop of fourteen frontier calls, or six bounded calls and four functions."""

from evals.examples.example import (
    CODE,
    FRONTIER,
    Ask,
    Example,
    Figure,
    Phase,
    Played,
    Role,
    Turns,
)
from evals.examples.prices import FLASH_LITE, HAIKU, OPUS
from evals.examples.prompts import NUMBERS_MIN, note

TICKETS = 5
TURNS = 14
CONTEXT = 2_450  # rules, tools and the ticket, in tokens
GROWTH = 700  # what each turn of a loop adds to what the next one reads
TURN_TOKENS_OUT = 1_000
CACHED_INPUT = 0.1  # of the input price, for what a provider's prompt cache still holds
CALLS = {  # role: tier and tokens out, each call reading the context once and no history
    "categoriser": ("small", 50), "extractor": ("small", 80), "summariser": ("small", 150),
    "decider": ("frontier", 350), "writer": ("mid", 300), "critic": ("mid", 100),
}  # fmt: skip
STEPS = {  # role: what the function is asked, and what it answers, about ticket {n}
    "intake": ("From: a@example.com\nSubject: DE-{n}0", "DE-{n}0"),
    "look_up": ("look up DE-{n}0", "DE-{n}0 delivered"),
    "eligibility": ("days since delivery: 12, allowed: 30", "yes"),
    "sender": ("send DE-{n}0 to a@example.com", "sent DE-{n}0 to a@example.com"),
}
ROLES = (
    *(
        Role(name=name, tokens_in=CONTEXT, tokens_out=tokens, path=(tier,))
        for name, (tier, tokens) in CALLS.items()
    ),
    *(Role(name=name, tokens_in=0, tokens_out=0, path=(CODE,)) for name in STEPS),
)


def example() -> Example:
    """Return the example; every model is right, so nothing escalates."""
    asks = []
    for ticket in range(TICKETS):
        number = NUMBERS_MIN + ticket
        for name, (ask, answer) in STEPS.items():
            asks.append(Ask(role=name, prompt=ask.format(n=number), answer=answer.format(n=number)))
        for place, role in enumerate(ROLES[: len(CALLS)]):
            unique = NUMBERS_MIN + ticket * len(CALLS) + place
            prompt, right = note(unique, tokens_in=CONTEXT, tokens_out=role.tokens_out)
            asks.append(Ask(role=role.name, prompt=prompt, answer=right))
    sure = {f"standin-{tier}": {"extract": 1.0} for tier in ("small", "mid", FRONTIER)}
    return Example(
        name="support-ticket",
        title="Support ticket: fourteen frontier calls, or six model calls and four code steps",
        claim="$0.84 → about $0.03 a ticket",
        inputs=f"a loop whose turn n reads {CONTEXT:,} + {GROWTH} n tokens (n = 0 … {TURNS - 1}) "
        f"and writes {TURN_TOKENS_OUT:,}; or six calls that each read {CONTEXT:,} tokens once and "
        "write 50 to 350, and four functions",
        scale=f"{TICKETS} tickets, and one loop of {TURNS} turns",
        prices={"small": FLASH_LITE, "mid": HAIKU, FRONTIER: OPUS},
        roles=ROLES,
        phases=(Phase(name="all", skills=sure, asks=asks),),
        uniform=tuple(_turn(number) for number in range(TURNS)),
        uniform_times=TICKETS,
        functions="support_functions.py",
        figures=figures,
    )


def _turn(number: int) -> Turns:
    tokens_in = CONTEXT + GROWTH * number
    prompt, _ = note(NUMBERS_MIN + number, tokens_in=tokens_in, tokens_out=TURN_TOKENS_OUT)
    return Turns(
        name=f"turn {number}", tokens_in=tokens_in, tokens_out=TURN_TOKENS_OUT, prompts=[prompt]
    )


def with_cache() -> float:
    """Return what the loop costs when each turn reads the one before from a prompt cache."""
    reads = [CONTEXT + GROWTH * number for number in range(TURNS)]
    fresh = reads[0] + GROWTH * (TURNS - 1)
    cached = sum(reads) - fresh
    return OPUS.usd(fresh + CACHED_INPUT * cached, TURNS * TURN_TOKENS_OUT)


def figures(example: Example, played: Played) -> list[Figure]:
    """Return both costs of a ticket, and the loop's with a prompt cache."""
    ticket = sum(map(example.usd, played.billed)) / TICKETS
    calls = len(played.billed) / TICKETS
    routed = sum(role.tokens_in + role.tokens_out for role in ROLES)
    looped = sum(turns.tokens_in + turns.tokens_out for turns in example.uniform)
    code = sum(one.tier == CODE for one in played.made) / TICKETS
    return [
        Figure(
            name="fourteen frontier calls",
            unit="usd",
            claimed="$0.84",
            low=0.835,
            high=0.845,
            ours=sum(map(example.usd, played.uniform)),
            why="6 cents a call are 7,000 tokens in and 1,000 out at the frontier's list price",
        ),
        Figure(
            name=f"{calls:g} model calls and {code:g} code steps",
            unit="usd",
            claimed="about $0.03",
            low=0.025,
            high=0.035,
            ours=ticket,
            why=f"{routed:,} tokens instead of {looped:,}: no call reads a history, and only the "
            "decision pays the frontier's price",
        ),
        Figure(
            name="the loop, each turn reading the one before from a prompt cache",
            unit="usd",
            ours=with_cache(),
            why="the claim prices all input in full; a cache at a tenth of the price halves the "
            "loop before anything is routed",
        ),
    ]

"""Which budgets a step counts towards, and the most that asking a model can cost."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from router import shape
from router.body import Body
from router.budget import pico
from router.ladder import Candidate
from router.policyfile import BudgetConfig
from router.route import Route
from router.rules import CODE
from telemetry.prices import Price
from telemetry.records import Context, Dialect

DAILY: Final = ("role", "key", "day")


class Size(NamedTuple):
    """What a step's cost is bounded by."""

    input_bytes: int  # no token is shorter than a byte
    output_tokens: int | None  # the request's own limit
    output_tokens_default: int  # where neither the request nor its tier sets one
    choices: int  # answers asked for at once


def size_of(body: Body, dialect: Dialect, *, output_tokens_default: int) -> Size:
    """Return the size of a step whose request has ``body``."""
    return Size(
        input_bytes=len(body.raw),
        output_tokens=shape.output_tokens_max(body.fields, dialect),
        output_tokens_default=output_tokens_default,
        choices=_choices(body, dialect),
    )


def applying(
    budgets: Iterable[BudgetConfig], context: Context, *, session: str | None
) -> Iterator[tuple[BudgetConfig, str | None]]:
    """Yield the budgets that a step counts towards, each with whose spend it limits.

    ``session`` is the one that the caller names; a task may also be a trace, and of a step
    that names neither is None: a task of its own.
    """
    subjects = {
        "request": "",
        "task": context.session,
        "session": session,
        "role": context.role,
        "key": context.budget or context.key,
        "day": "",
    }
    for budget in budgets:
        subject = subjects[budget.scope]
        if budget.scope == "key" and budget.name and budget.name == context.key:
            subject = budget.name
        if budget.name is not None and subject != budget.name:
            continue
        if subject is None and budget.scope != "task":
            continue
        yield budget, subject


def bound(route: Route, candidate: Candidate, size: Size) -> int:
    """Return the most that asking ``candidate`` can cost, in picodollars."""
    if candidate.tier == CODE:
        return 0
    params = route.params(candidate.tier)
    set_here = [
        value
        for key in shape.OUTPUT_LIMITS[route.dialect]
        if isinstance(value := params.get(key), int)
    ]
    output = set_here[0] if set_here else size.output_tokens or size.output_tokens_default
    return pico(
        bound_usd(
            candidate.target.price,
            input_tokens=size.input_bytes,
            output_tokens=output * size.choices,
        )
    )


def bound_usd(price: Price, *, input_tokens: int, output_tokens: int) -> float:
    """Return the most that a call of at most so many tokens can cost, in US dollars.

    Every rate that an input of up to ``input_tokens`` can meet is looked at, and of its kinds of
    input and output the dearest.
    """
    dearest = 0.0
    for rates in price.rates:
        if rates.above >= input_tokens:
            break
        per_input = max(rates.input, rates.cache_read, rates.cache_write)
        per_output = max(rates.output or 0.0, rates.reasoning or 0.0)
        dearest = max(dearest, input_tokens * per_input + output_tokens * per_output)
    return price.request + dearest


def _choices(body: Body, dialect: Dialect) -> int:
    """Return how many answers are asked for at once; OpenAI's chat completions bill each."""
    if dialect is not Dialect.CHAT or "n" not in body.fields:
        return 1
    stated = bytes(body.fields["n"])
    return max(1, int(stated)) if stated.isdigit() and len(stated) < 10 else 1

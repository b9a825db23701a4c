"""Play an example: every step through the gateway, then what the frontier alone would have done."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

import aiohttp

from evals.examples.example import (
    FRONTIER,
    PROVIDER,
    Ask,
    Billed,
    Example,
    Made,
    Phase,
    Played,
)
from evals.standin.running import StandinProcess
from evals.standin.skills import SKILLS
from telemetry.clock import Clock
from telemetry.errors import TierwiseError

CALLERS: Final = 8
TIMEOUT: Final = aiohttp.ClientTimeout(total=60.0)


class StepFailed(TierwiseError):
    """A step of an example got no answer."""


async def play(example: Example, *, gateway: str, standin: StandinProcess, clock: Clock) -> Played:
    """Return what a run found; ``gateway`` is the base URL, ending in ``/v1``.

    Raises:
        StepFailed: the gateway or the stand-in refused a step (in a group: several are under way).
    """
    began = clock.monotonic()
    made: list[Made] = []
    await asyncio.to_thread(standin.reset_ledger)
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        for phase in example.phases:
            await asyncio.to_thread(standin.change_skills, _skills(example, phase))
            made += await _phase(phase, session, gateway=gateway)
        billed = await asyncio.to_thread(_ledger, standin)
        await asyncio.to_thread(standin.reset_ledger)
        for turns in example.uniform:
            await _shared(iter(turns.prompts), session, url=standin.base_url)
    uniform = await asyncio.to_thread(_ledger, standin)
    seconds = clock.monotonic() - began
    return Played(made=made, billed=billed, uniform=uniform, seconds=seconds)


def _skills(example: Example, phase: Phase) -> dict[str, Any]:
    """Return the stated table with a phase's changes, whatever was changed before."""
    patch: dict[str, Any] = {}
    for model, stated in SKILLS.items():
        right = {step.value: skill.right for step, skill in stated.steps.items()}
        thought = {step.value: skill.reasoning_tokens for step, skill in stated.steps.items()}
        patch[model] = {
            "right": right | dict(phase.skills.get(model, {})),
            "reasoning_tokens": thought | dict(example.tokens_thought),
        }
    return patch


async def _phase(phase: Phase, session: aiohttp.ClientSession, *, gateway: str) -> list[Made]:
    """Make a phase's steps, ``CALLERS`` at a time, and return them in the order they were asked."""
    found: list[Made | None] = [None] * len(phase.asks)
    work = iter(enumerate(phase.asks))

    async def caller() -> None:
        for number, ask in work:
            found[number] = await _made(phase, ask, session, gateway=gateway)

    await _at_once(caller)
    return [one for one in found if one is not None]


async def _made(phase: Phase, ask: Ask, session: aiohttp.ClientSession, *, gateway: str) -> Made:
    said, headers = await _chat(
        session, gateway, model="tierwise/auto", prompt=ask.prompt, role=ask.role
    )
    return Made(
        phase=phase.name,
        ask=ask,
        tier=headers["x-tierwise-tier"],
        attempts=int(headers["x-tierwise-attempts"]),
        cost_usd=float(headers["x-tierwise-cost-usd"]),
        right=said.strip() == ask.answer,
    )


async def _shared(prompts: Iterator[str], session: aiohttp.ClientSession, *, url: str) -> None:
    """Ask the frontier itself, past the gateway."""

    async def caller() -> None:
        for prompt in prompts:
            await _chat(session, url, model=f"{PROVIDER}-{FRONTIER}", prompt=prompt)

    await _at_once(caller)


async def _at_once(caller: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())


async def _chat(
    session: aiohttp.ClientSession, url: str, *, model: str, prompt: str, role: str | None = None
) -> tuple[str, Mapping[str, str]]:
    """Return an answer's text and headers; the official clients would only add their own time."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    headers = {} if role is None else {"x-tierwise-role": role}
    try:
        async with session.post(f"{url}/chat/completions", json=body, headers=headers) as answer:
            content = await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StepFailed(f"{url} did not answer a step: {error!r}") from error
    if answer.status != 200:
        raise StepFailed(f"{url} answered a step with {answer.status}: {content[:400]!r}")
    return json.loads(content)["choices"][0]["message"]["content"] or "", answer.headers


def _ledger(standin: StandinProcess) -> Sequence[Billed]:
    """Return what was billed; the stand-ins of the examples know no cache and refuse nothing."""
    ledger = standin.ledger()
    entries = ledger["entries"]
    assert ledger["dropped"] == 0, "an example fits into the ledger"
    assert all(entry["status"] == 200 and not entry["cache_read"] for entry in entries)
    return [
        Billed(model=entry["model"], tokens_in=entry["input"], tokens_out=entry["output"])
        for entry in entries
    ]

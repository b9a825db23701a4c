"""Praise without proof over real HTTP, for real and for made-up decisions: nothing gets cheaper."""

import asyncio
from collections.abc import Callable
from typing import Any

from collector.learning_queries import OPEN_WORDS_PER_MINUTE
from collector.rollup_queries import NS
from tests.collector.chains import SECOND, Try, chain
from tests.collector.conftest import Running, Start
from tests.collector.otlp import NOW_NS
from tests.collector.teaching import role, role_terms, terms

TOKEN = "s3cret"
STEPS = 240  # half of them at each tier, all within a minute
MINUTE_NS = (NOW_NS // NS - 3) * NS


async def said(running: Running, decision: str, source: str, *, token: str | None = None) -> int:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    words = {"decision": decision, "name": "grade", "score": 1.0, "source": source}
    async with running.session.post(
        f"{running.console}/v1/feedback", json=words, headers=headers
    ) as answer:
        return answer.status


async def report(running: Running, when: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The learner's report once it is as wanted; roll-ups are made every two seconds."""
    for _ in range(100):
        async with running.session.post(
            f"{running.console}/api/learning/tick",
            headers={"authorization": f"Bearer {TOKEN}"},
        ) as answer:
            found: dict[str, Any] = await answer.json()
            assert answer.status == 200, found
        if when(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"never as wanted: {found}")


def aims_small(found: dict[str, Any]) -> float:
    arms = role(found, "worker")["arms"]
    return sum(float(arm["share_aim"]) for arm in arms if arm["arm"].startswith("small"))


async def test_only_proven_words_move_a_role_and_what_one_source_says_too_much_is_reported(
    start: Start,
) -> None:
    running = await start(token=TOKEN, terms=terms(role_terms("worker", floor=0.8)))
    tiers = ("small", "frontier")
    await asyncio.gather(
        *(
            running.writer.submit(
                chain(
                    n, [Try(tier=tiers[n % 2], seconds=0.01)],
                    start_ns=MINUTE_NS + n * SECOND // 4,
                )
            )
            for n in range(STEPS)
        )
    )  # fmt: skip
    small = [f"d{n}" for n in range(0, STEPS, 2)]
    statuses = await asyncio.gather(
        *(said(running, each, "flood") for each in small),
        *(said(running, f"never-{n}", "liar") for n in range(20)),
    )
    assert set(statuses) == {202}  # taken; the last ones wait for decisions that never come
    forged = await report(running, lambda found: bool(found.get("left_out")))
    entry = role(forged, "worker")
    assert (entry["labels"], entry["labels_without_proof"]) == (OPEN_WORDS_PER_MINUTE, True)
    assert aims_small(forged) < 0.15  # what exploration asks for without any word
    assert forged["left_out"] == [
        {
            "cell": "worker||plain",
            "source": "feedback:flood",
            "words": STEPS // 2 - OPEN_WORDS_PER_MINUTE,
        }
    ]
    graded = (said(running, f"d{each}", "grader", token=TOKEN) for each in range(STEPS))
    assert set(await asyncio.gather(*graded)) == {202}
    proven = await report(running, lambda found: role(found, "worker")["labels"] == STEPS)
    assert aims_small(proven) > 0.5


async def test_a_word_without_proof_never_takes_the_place_of_one_with_it(start: Start) -> None:
    running = await start(token=TOKEN)
    assert await said(running, "d1", "backoffice") == 202
    assert await said(running, "d1", "backoffice", token=TOKEN) == 202
    assert await said(running, "d1", "backoffice", token=TOKEN) == 200  # the same again
    assert await said(running, "d1", "backoffice") == 200

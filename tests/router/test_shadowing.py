"""Shadow runs: what is drawn, what is sent, what is recorded, what bounds them."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from router.budget import Ledger
from router.shadowing import RUNNING_MAX, WAITING_MAX, Shadows
from router.spending import Spending
from telemetry.errors import ConfigError, StepError, UpstreamError
from telemetry.records import Decision, Outcome
from tests import streams
from tests.harness import until
from tests.inprocess import EVENTS, Bench, Script, make_bench

CHAT = "/v1/chat/completions"
POLICY = """
schema = 1
ladder = ["small", "mid", "frontier"]
callers = {{ pins = true }}
[tiers.small]
models = ["standin/standin-small"]
[tiers.small.params.chat]
temperature = 0
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.worker]
tier = "mid"
on_fail = "accept"
checks = ["not_empty"]
{more}
[roles.worker.shadow]
tier = "small"
share = {share}
usd_per_day = {usd}
[roles.default]
tier = "small"
"""


def policy(*, share: float = 1.0, usd: float = 1.0, more: str = "") -> bytes:
    return POLICY.format(share=share, usd=usd, more=more).encode()


def answer(text: str = "yes") -> Script:
    body = {
        "id": "chatcmpl-1",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
    }
    return Script(pieces=[json.dumps(body).encode()])


def ask(role: str = "worker", **fields: Any) -> bytes:
    fields = {"max_tokens": 100, **fields}
    return json.dumps({"model": f"tierwise/{role}", "messages": [], **fields}).encode()


@asynccontextmanager
async def shadowed(
    *scripts: Script | StepError | asyncio.Event,
    file: bytes | None = None,
    ledger: Ledger | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    bench = make_bench(file or policy(), **options)
    bench.upstream.scripts = list(scripts)
    shadows = Shadows(rng=random.Random(1))
    spending = Spending(ledger=ledger or Ledger())
    bench.gateway = replace(bench.gateway, shadows=shadows, spending=spending)
    try:
        yield bench
    finally:
        await shadows.close()


async def pairs(bench: Bench, count: int) -> list[tuple[Decision, Outcome]]:
    await until(lambda: len(bench.kept.pairs) == count, what=f"{count} records")
    return bench.kept.pairs


def counted(bench: Bench, result: str) -> float:
    text = bench.gateway.meters.render().decode()
    name = f'tierwise_shadow_runs_total{{result="{result}",role="worker",tier="small"}} '
    found = [line for line in text.splitlines() if line.startswith(name)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def test_the_same_step_is_asked_again_on_the_other_tier() -> None:
    async with shadowed(answer(), answer("")) as bench:
        delivered = await bench.post(CHAT, ask())
        assert delivered.headers["x-tierwise-model"] == "standin/standin-mid"
        assert delivered.headers["x-tierwise-attempts"] == "1"
        (own, _), (shadow, outcome) = await pairs(bench, 2)
    assert (own.shadow_of, shadow.shadow_of) == (None, own.decision_id)
    assert shadow.decision_id != own.decision_id
    assert (shadow.arm.tier, shadow.propensity, shadow.cell) == ("small", 1.0, None)
    (attempt,) = outcome.attempts
    # 1,000 tokens at 0.1 and 100 at 0.4 dollars per million
    assert attempt.cost_usd == pytest.approx(0.00014)
    assert outcome.quality == 0.0  # its empty answer failed the role's check
    first, second = (json.loads(body) for _, _, body in bench.upstream.sent)
    assert (first["model"], second["model"]) == ("standin-mid", "standin-small")
    assert second["temperature"] == 0  # the shadow's tier sets what it always sets


async def test_a_stream_is_asked_again_in_one_piece() -> None:
    stream = Script(pieces=[streams.chat()], headers=(EVENTS,))
    async with shadowed(stream, answer()) as bench:
        await bench.post(CHAT, ask(stream=True, stream_options={"include_usage": True}))
        await pairs(bench, 2)
    again = json.loads(bench.upstream.sent[1][2])
    assert again["stream"] is False
    assert "stream_options" not in again


async def test_the_caller_has_its_answer_while_the_shadow_still_waits() -> None:
    waiting = asyncio.Event()
    async with shadowed(answer(), waiting) as bench:
        delivered = await bench.post(CHAT, ask())
        assert delivered.status == 200
        await until(lambda: len(bench.upstream.sent) == 2, what="the shadow's call")
        assert len(bench.kept.pairs) == 1
    assert len(bench.kept.pairs) == 2  # called off, and what it may have cost is on record
    assert bench.kept.pairs[1][1].attempts[0].error_type == "client_closed"


async def test_a_shadow_that_fails_is_recorded_as_failed_and_harms_nobody() -> None:
    async with shadowed(
        answer(), UpstreamError("upstream_broken", "it broke off", hint="try again")
    ) as bench:
        assert (await bench.post(CHAT, ask())).status == 200
        _, (_, outcome) = await pairs(bench, 2)
        assert outcome.status == 502
        assert bench.gateway.breakers.allows("standin/standin-small")


async def test_runs_at_once_and_runs_that_wait_are_limited() -> None:
    steps = RUNNING_MAX + WAITING_MAX + 3
    async with shadowed() as bench:
        for _ in range(steps):
            bench.upstream.scripts.insert(0, answer())
            if len(bench.upstream.scripts) == 1:
                bench.upstream.scripts += [asyncio.Event() for _ in range(RUNNING_MAX)]
            await bench.post(CHAT, ask())
            await asyncio.sleep(0)
        assert len(bench.upstream.sent) == steps + RUNNING_MAX
        assert counted(bench, "dropped") == 3


async def test_a_day_costs_no_more_than_its_dollars() -> None:
    # The body has under 200 bytes, so a run costs at most 65 per million of a dollar.
    async with shadowed(answer(), answer(), answer(), file=policy(usd=0.00018)) as bench:
        await bench.post(CHAT, ask())
        await pairs(bench, 2)  # cost 0.00014, so that no other fits
        await bench.post(CHAT, ask())
        await until(lambda: counted(bench, "budget") == 1, what="the refusal")
        assert len(bench.upstream.sent) == 3


async def test_processes_share_the_dollars() -> None:
    # Four workers have 25 millionths of a dollar each, and a run may cost 65.
    ledger = Ledger(shares=4)
    async with shadowed(answer(), file=policy(usd=0.0001), ledger=ledger) as bench:
        await bench.post(CHAT, ask())
        await until(lambda: counted(bench, "budget") == 1, what="the refusal")
        (account,) = ledger.daily.values()
        assert (account.ceiling, account.used) == (25_000_000, 0)
        assert ledger.dirty == {account.name: account}  # more is asked for


async def test_what_was_spent_elsewhere_today_is_not_there_to_be_spent() -> None:
    ledger = Ledger()
    scripts = answer(), answer(), answer()
    async with shadowed(*scripts, file=policy(usd=0.001), ledger=ledger) as bench:
        await bench.post(CHAT, ask())
        await pairs(bench, 2)
        (account,) = ledger.daily.values()
        # 1,000 tokens at 0.1 and 100 at 0.4 dollars per million; nothing is held any more.
        assert (account.spent, account.reserved) == (140_000_000, 0)
        assert account.name.split("|")[0] == "shadow"
        account.ceiling = account.spent + 1  # the collector lent the rest to others
        await bench.post(CHAT, ask())
        await until(lambda: counted(bench, "budget") == 1, what="the refusal")
        assert len(bench.upstream.sent) == 3


async def test_a_run_of_unknown_cost_has_spent_all_that_was_held_for_it() -> None:
    ledger = Ledger()
    waiting = asyncio.Event()
    async with shadowed(answer(), waiting, ledger=ledger) as bench:
        await bench.post(CHAT, ask())
        await until(lambda: len(bench.upstream.sent) == 2, what="the shadow's call")
        (account,) = ledger.daily.values()
        held = account.reserved
        assert held > 0
    assert (account.spent, account.reserved) == (held, 0)


CODE_POLICY = """
schema = 1
ladder = ["code", "small"]
[tiers.small]
models = ["standin/standin-small"]
[roles.worker]
tier = "code"
code = "tests.router.test_shadowing:says_yes"
[roles.worker.shadow]
tier = "small"
share = 1.0
usd_per_day = 1.0
"""


def says_yes(_: object) -> str:
    return "yes"


async def test_a_step_that_code_answered_is_asked_of_a_model_so_that_its_worth_is_known() -> None:
    async with shadowed(answer(), file=CODE_POLICY.encode()) as bench:
        delivered = await bench.post(CHAT, ask())
        assert delivered.headers["x-tierwise-tier"] == "code"
        (own, _), (shadow, outcome) = await pairs(bench, 2)
    assert shadow.shadow_of == own.decision_id
    assert outcome.cost_usd == pytest.approx(0.00014)
    assert len(bench.upstream.sent) == 1  # the shadow's alone


async def test_only_the_drawn_share_is_run_again() -> None:
    async with shadowed(answer(), answer(), file=policy(share=0.0)) as bench:
        await bench.post(CHAT, ask())
        await bench.post(CHAT, ask())
        await asyncio.sleep(0.01)
        assert len(bench.kept.pairs) == 2


@pytest.mark.parametrize("role", ["default"])
async def test_other_roles_are_left_alone(role: str) -> None:
    async with shadowed(answer()) as bench:
        await bench.post(CHAT, ask(role))
        await asyncio.sleep(0.01)
        assert len(bench.kept.pairs) == 1


async def test_what_a_caller_pinned_is_asked_nowhere_else() -> None:
    async with shadowed(answer()) as bench:
        body = json.dumps({"model": "standin/standin-mid", "messages": []}).encode()
        headers = {"content-type": "application/json", "x-tierwise-role": "worker"}
        await bench.post(CHAT, body, headers=headers)
        await asyncio.sleep(0.01)
        assert len(bench.upstream.sent) == 1


async def test_a_busy_gateway_runs_nothing_again() -> None:
    async with shadowed(answer()) as bench:
        bench.gateway.load.steps_max = 1
        await bench.post(CHAT, ask())
        assert counted(bench, "busy") == 1
        assert len(bench.upstream.sent) == 1


async def test_an_error_is_not_run_again() -> None:
    async with shadowed(Script(status=400, pieces=[b"{}"])) as bench:
        assert (await bench.post(CHAT, ask())).status == 400
        await asyncio.sleep(0.01)
        assert len(bench.kept.pairs) == 1


async def test_text_is_kept_only_where_the_operator_keeps_it() -> None:
    async with shadowed(answer(), answer("no"), content_bytes_max=1_000) as bench:
        await bench.post(CHAT, ask())
        await pairs(bench, 2)
        content = bench.kept.contents[1]
    assert content is not None
    assert content.answers[0] is not None
    assert b'"no"' in content.answers[0]


def test_steps_with_side_effects_and_pins_may_not_be_run_again() -> None:
    with pytest.raises(ConfigError, match="side effects, so none of them may be asked again"):
        make_bench(policy(more="side_effects = true"))
    pin = 'pin = { model = "standin/standin-mid", reason = "law", owner = "eva@example.com" }'
    with pytest.raises(ConfigError, match="pinned to one model"):
        make_bench(policy(more=pin))


def test_a_tier_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        make_bench(policy().replace(b'tier = "small"\nshare', b'tier = "smal"\nshare'))

"""Budgets in the request path: a scripted provider, hand-computed costs, every scope and edge."""

import asyncio
import json
import random
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from router.allowance import bound_usd
from router.budget import Ledger, pico
from router.reload import build
from router.spending import Spending
from telemetry.clock import ManualClock
from telemetry.errors import ConfigError, UpstreamError
from telemetry.prices import Price, Rates
from telemetry.records import Outcome, Reason
from tests.harness import TODAY, config_for
from tests.inprocess import Bench, Delivered, Script, make_bench

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
POLICY = """
schema = 1
ladder = ["small", "mid", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.mid]
models = ["standin/standin-mid"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.worker]
tier = "mid"
range = ["small", "frontier"]
[roles.checked]
tier = "small"
checks = [{ check = "contains", values = ["yes"] }]
[roles.default]
tier = "mid"
"""
# On the mid tier 1,000 input tokens at 1 dollar and 100 output tokens at 4 dollars per million.
COST = 0.0014
SMALL_COST = 0.00014
OUTPUT_MAX = 100
KEYS = """
[[keys]]
name = "support"
key_env = "KEY_SUPPORT"
[[keys]]
name = "batch"
key_env = "KEY_BATCH"
budget = "night"
"""
SUPPORT, BATCH = "tw-client-0123456789abcdef", "tw-other-0123456789abcdef"


def ask(role: str = "worker", *, size: int = 1_000, **fields: Any) -> bytes:
    """Return a chat request of exactly ``size`` bytes, one for each token it can have."""
    found = {"model": f"tierwise/{role}", "max_tokens": OUTPUT_MAX, "messages": [], **fields}
    bare = len(json.dumps({**found, "user": ""}))
    body = json.dumps({**found, "user": "x" * (size - bare)}).encode()
    assert len(body) == size
    return body


def answer(prompt: int = 1_000, completion: int = 100, text: str = "yes") -> Script:
    said = {
        "id": "chatcmpl-1",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
    }
    return Script(pieces=[json.dumps(said).encode()])


def bench_of(budgets: str, *scripts: Script, keys: bool = False) -> Bench:
    # Cache writes cost what plain input costs here, so that a bound can be met exactly.
    config = config_for(9, extra=KEYS if keys else "")
    for dearer, plain in ((b"1.25", b"1.0"), (b"0.125", b"0.1"), (b"6.25", b"5.0")):
        config = config.replace(b"cache_write = " + dearer, b"cache_write = " + plain)
    bench = make_bench(
        (POLICY + budgets).encode(),
        config=config,
        environment={"KEY_SUPPORT": SUPPORT, "KEY_BATCH": BATCH},
    )
    bench.upstream.scripts = list(scripts)
    return bench


def budget(scope: str, usd: float, on_exhausted: str = "refuse", name: str = "") -> str:
    named = f'name = "{name}"\n' if name else ""
    return f'[[budgets]]\nscope = "{scope}"\nusd = {usd}\non_exhausted = "{on_exhausted}"\n{named}'


async def post(bench: Bench, body: bytes, *, path: str = CHAT, **headers: str) -> Delivered:
    sent = {"content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await bench.post(path, body, headers=sent)


def last(bench: Bench) -> Outcome:
    return bench.kept.pairs[-1][1]


async def test_exactly_the_limit_may_be_spent_and_not_a_dollar_more() -> None:
    bench = bench_of(budget("day", 2 * COST), answer(), answer())
    assert (await post(bench, ask())).status == 200
    assert (await post(bench, ask())).status == 200
    assert (await post(bench, ask())).status == 402
    assert len(bench.upstream.sent) == 2


async def test_a_bound_that_is_one_byte_over_the_limit_is_refused() -> None:
    bench = bench_of(budget("request", COST), answer())
    assert (await post(bench, ask(size=1_001))).status == 402
    assert (await post(bench, ask(size=1_000))).status == 200


async def test_what_was_reserved_and_not_spent_is_free_again() -> None:
    # 100 of 1,000 bytes were tokens and 10 of 100 came back: 0.00014, a tenth of the bound.
    bench = bench_of(budget("day", 2 * COST), *[answer(100, 10) for _ in range(12)])
    statuses = [(await post(bench, ask())).status for _ in range(13)]
    # After n steps n x 0.00014 is gone; the next needs 0.0014 of 0.0028: it fits while n <= 10.
    assert statuses == [200] * 11 + [402] * 2


# The edge, under concurrency ------------------------------------------------------------------


async def test_of_200_callers_at_once_exactly_as_many_are_served_as_fit() -> None:
    bench = bench_of(budget("role", 50 * COST, name="worker"))
    bench.gateway.load.steps_max = 512
    gate = asyncio.Event()
    whole = answer().pieces
    bench.upstream.scripts = [Script(pieces=[gate, *whole]) for _ in range(200)]
    callers = [asyncio.create_task(post(bench, ask())) for _ in range(200)]
    while sum(caller.done() for caller in callers) < 150:
        await asyncio.sleep(0)
    assert len(bench.upstream.sent) == 50
    gate.set()
    statuses = [(await caller).status for caller in callers]
    assert (statuses.count(200), statuses.count(402)) == (50, 150)
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert (account.spent, account.reserved, account.limit) == (70_000_000_000, 0, 70_000_000_000)
    assert (await post(bench, ask())).status == 402


async def test_a_caller_that_hangs_up_is_settled_once() -> None:
    bench = bench_of(budget("day", 2 * COST))
    never, gone = asyncio.Event(), asyncio.Event()
    bench.upstream.scripts = [Script(pieces=[never])]
    step = asyncio.create_task(bench.post(CHAT, ask(), hung_up=gone))
    while not bench.upstream.sent:
        await asyncio.sleep(0)
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert (account.spent, account.reserved) == (0, 1_400_000_000)
    gone.set()
    await step
    # What it cost is not known, so all that was reserved counts as spent.
    assert (account.spent, account.reserved) == (1_400_000_000, 0)
    assert last(bench).cost_usd is None


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        (Script(status=400, pieces=[b'{"error": {}}']), 0),
        (Script(pieces=[b'{"choices": []}']), 1_400_000_000),
        (UpstreamError("upstream_unreachable", "nobody there", hint="try again"), 0),
    ],
    ids=["an error is not billed", "usage unknown", "never connected"],
)
async def test_what_did_not_happen_costs_nothing_and_what_is_unknown_all(
    script: Script, spent: int
) -> None:
    bench = bench_of(budget("day", 1.0))
    bench.upstream.scripts = [
        script,
        UpstreamError("upstream_unreachable", "nobody there", hint="try again"),
    ]
    await post(bench, ask())
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert (account.spent, account.reserved) == (spent, 0)


# What a step may cost at most -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 1_400_000_000),
        ({"max_tokens": 200}, 1_800_000_000),
        ({"max_tokens": None}, 33_768_000_000),  # 1,000 x 1 + 8,192 x 4 dollars per million
        ({"max_completion_tokens": 50}, 1_200_000_000),
        ({"n": 3}, 2_200_000_000),
        ({"n": "three"}, 1_400_000_000),
    ],
)
async def test_a_bound_counts_bytes_as_tokens_and_the_limit_of_output(
    fields: dict[str, Any], bound: int
) -> None:
    bench = bench_of(budget("day", 1.0))
    never = asyncio.Event()
    bench.upstream.scripts = [never]
    step = asyncio.create_task(post(bench, ask(**fields)))
    while not bench.upstream.sent:
        await asyncio.sleep(0)
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert account.reserved == bound
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)


async def test_the_policy_says_what_an_unlimited_step_is_taken_to_write() -> None:
    reservations = "[reservations]\noutput_tokens = 100\n"
    bench = bench_of(budget("request", COST) + reservations, answer())
    assert (await post(bench, ask(max_tokens=None))).status == 200


async def test_what_the_tier_sets_stands_above_the_requests_own_limit() -> None:
    bench = bench_of(
        "[tiers.mid.params.chat]\nmax_completion_tokens = 10\n" + budget("request", 0.00104),
        answer(1_000, 10),
    )
    assert (await post(bench, ask(max_tokens=5_000))).status == 200


def test_a_bound_looks_at_every_price_that_the_input_can_meet() -> None:
    rates = [
        Rates(above=above, input=price, output=2 * price, cache_read=0.0, cache_write=1.5 * price)
        for above, price in ((-1, 1e-6), (100, 4e-6))
    ]
    price = Price(rates=tuple(rates), request=0.5, source="config", entry="x")
    # 100 tokens stay at the first price: 100 x 1.5 + 10 x 2; 101 may meet the second.
    assert bound_usd(price, input_tokens=100, output_tokens=10) == pytest.approx(0.5 + 170e-6)
    assert bound_usd(price, input_tokens=101, output_tokens=10) == pytest.approx(0.5 + 686e-6)


# Whose budget ---------------------------------------------------------------------------------


async def test_a_request_budget_is_each_steps_own() -> None:
    bench = bench_of(budget("request", COST), *[answer() for _ in range(3)])
    assert [(await post(bench, ask())).status for _ in range(3)] == [200] * 3
    assert bench.gateway.spending.ledger.dirty == {}


async def test_a_task_is_a_session_or_else_a_trace_or_else_one_step() -> None:
    bench = bench_of(budget("task", COST), *[answer() for _ in range(9)])
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    other = "00-" + "ab" * 16 + "-" + "ef" * 8 + "-01"
    assert (await post(bench, ask(), x_tierwise_session="s1")).status == 200
    assert (await post(bench, ask(), x_tierwise_session="s1")).status == 402
    assert (await post(bench, ask(), x_session_id="s2", traceparent=trace)).status == 200
    assert (await post(bench, ask(), x_session_id="s2")).status == 402
    assert (await post(bench, ask(), traceparent=trace)).status == 200
    assert (await post(bench, ask(), traceparent=other)).status == 402
    assert [(await post(bench, ask())).status for _ in range(3)] == [200] * 3


async def test_a_session_budget_counts_sessions_and_leaves_traces_alone() -> None:
    bench = bench_of(budget("session", COST), *[answer() for _ in range(4)])
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    assert [(await post(bench, ask(), traceparent=trace)).status for _ in range(2)] == [200] * 2
    named: dict[str, Any] = {"metadata": {"session_id": "s1"}}
    assert [(await post(bench, ask(**named))).status for _ in range(2)] == [200, 402]


async def test_a_role_budget_with_a_name_is_that_roles_and_without_one_each_roles_own() -> None:
    one = budget("role", COST, name="worker")
    bench = bench_of(one, *[answer() for _ in range(9)])
    assert [(await post(bench, ask("default"))).status for _ in range(2)] == [200, 200]
    assert [(await post(bench, ask("worker"))).status for _ in range(2)] == [200, 402]
    bench = bench_of(budget("role", COST), *[answer() for _ in range(9)])
    asked = [(await post(bench, ask(role))).status for role in ("default", "worker") * 2]
    assert asked == [200, 200, 402, 402]


@pytest.mark.parametrize(
    ("name", "support", "batch"),
    [("", [200, 402], [200, 402]), ("support", [200, 402], [200, 200]),
     ("night", [200, 200], [200, 402]), ("batch", [200, 200], [200, 402])],
)  # fmt: skip
async def test_a_key_budget_goes_by_the_keys_name_or_by_its_budget(
    name: str, support: list[int], batch: list[int]
) -> None:
    bench = bench_of(budget("key", COST, name=name), *[answer() for _ in range(9)], keys=True)
    for key, wanted in ((SUPPORT, support), (BATCH, batch)):
        headers = {"authorization": f"Bearer {key}"}
        assert [(await post(bench, ask(), **headers)).status for _ in range(2)] == wanted


async def test_all_budgets_that_apply_must_hold() -> None:
    both = budget("day", 3 * COST) + budget("role", 2 * COST, name="worker")
    bench = bench_of(both, *[answer() for _ in range(9)])
    assert [(await post(bench, ask())).status for _ in range(3)] == [200, 200, 402]
    assert [(await post(bench, ask("default"))).status for _ in range(2)] == [200, 402]


async def test_counting_tokens_is_not_held_to_budgets() -> None:
    bench = bench_of(budget("day", 0.000001), Script(pieces=[b'{"input_tokens": 7}']))
    asked = json.dumps({"model": "tierwise/worker", "messages": []}).encode()
    assert (await post(bench, asked, path="/v1/messages/count_tokens")).status == 200


async def test_a_day_ends_at_midnight_utc() -> None:
    bench = bench_of(budget("day", COST), answer(), answer())
    clock = ManualClock(start_ns=1_800_000_000_000_000_000)  # 2027-01-15T08:00:00Z
    bench.gateway = replace(bench.gateway, clock=clock)
    assert (await post(bench, ask())).status == 200
    refused = await post(bench, ask())
    assert (refused.status, refused.headers["retry-after"]) == (402, str(16 * 3_600))
    assert json.loads(refused.body)["error"]["budget"]["reset"] == "2027-01-16T00:00:00Z"
    clock.advance(16 * 3_600 - 1)
    assert (await post(bench, ask())).headers["retry-after"] == "1"
    clock.advance(1)
    assert (await post(bench, ask())).status == 200


# What the caller gets -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_exhausted_budget_is_named_in_every_dialect(path: str, stream: bool) -> None:
    bench = bench_of(budget("role", 0.0001, name="worker"))
    asked = {"model": "tierwise/worker", "stream": stream, "messages": [], "max_tokens": 100}
    refused = await post(bench, json.dumps(asked).encode(), path=path)
    assert refused.status == 402
    said = json.loads(refused.body)
    error = said["error"]
    assert (error["type"], error["code"]) == ("budget_exceeded", "budget_exceeded")
    assert "role 'worker'" in error["message"]
    budget_said = error["budget"]
    assert datetime.fromisoformat(budget_said.pop("reset")).tzinfo is not None
    assert budget_said == {"scope": "role", "name": "worker", "spent": 0.0, "limit": 0.0001}
    assert (said.get("request_id") is not None) == (path == MESSAGES)
    for header in ("decision", "role", "reason", "revision", "attempts", "overhead-ms"):
        assert f"x-tierwise-{header}" in refused.headers
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert bench.upstream.sent == []
    outcome = last(bench)
    assert (outcome.status, outcome.error_code, outcome.attempts) == (402, "budget_exceeded", ())
    meters = bench.gateway.meters
    assert meters.value("tierwise_budget_refused_total", {"scope": "role"}) == 1


async def test_a_budget_that_is_never_reset_says_so() -> None:
    bench = bench_of(budget("task", COST), answer())
    await post(bench, ask(), x_tierwise_session="s1")
    refused = await post(bench, ask(), x_tierwise_session="s1")
    said = json.loads(refused.body)["error"]["budget"]
    assert said == {"scope": "task", "name": None, "spent": COST, "limit": COST, "reset": None}
    assert "retry-after" not in refused.headers


async def test_a_refusal_for_want_of_a_share_says_that_others_hold_the_rest() -> None:
    bench = bench_of(budget("day", 2 * COST))
    bench.gateway = replace(bench.gateway, spending=Spending(ledger=Ledger(shares=4)))
    refused = await post(bench, ask())
    assert (refused.status, refused.headers["retry-after"]) == (402, "1")
    assert "held by other gateway workers" in json.loads(refused.body)["error"]["message"]


async def test_an_answer_in_hand_is_delivered_when_the_next_tier_is_too_dear() -> None:
    # small: 0.0001 + 0.00004; mid would hold back 0.0014 more.
    bench = bench_of(budget("request", SMALL_COST + COST - 0.000001), answer(text="no"))
    delivered = await post(bench, ask("checked"))
    assert delivered.status == 200
    assert delivered.headers["x-tierwise-check"] == "fail"
    assert delivered.headers["x-tierwise-attempts"] == "1"
    assert delivered.headers["x-tierwise-cost-usd"] == "0.00014"
    exact = bench_of(budget("request", SMALL_COST + COST), answer(text="no"), answer())
    assert (await post(exact, ask("checked"))).headers["x-tierwise-attempts"] == "2"


@pytest.mark.parametrize("failed", [answer(text="no"), Script(status=500)])
async def test_an_escalation_that_a_budget_withholds_does_not_count_against_the_plan(
    failed: Script,
) -> None:
    room = SMALL_COST + COST
    plans = "[plans]\nescalations_max = 1\n"
    short = bench_of(plans + budget("request", SMALL_COST + 0.000001), replace(failed))
    delivered = await post(short, ask("checked"), x_tierwise_plan="p1")
    assert delivered.headers["x-tierwise-attempts"] == "1"
    assert "x-tierwise-replan" not in delivered.headers
    assert short.gateway.memory.escalations("p1") == 0
    enough = bench_of(plans + budget("request", room), replace(failed), answer())
    delivered = await post(enough, ask("checked"), x_tierwise_plan="p1")
    assert delivered.headers["x-tierwise-attempts"] == "2"
    assert delivered.headers["x-tierwise-replan"] == "true"
    assert enough.gateway.memory.escalations("p1") == 1


async def test_a_provider_that_is_down_is_relayed_when_the_next_tier_is_too_dear() -> None:
    down = Script(status=500, pieces=[b'{"error": {"message": "down"}}'])
    bench = bench_of(budget("request", COST), down)
    delivered = await post(bench, ask())
    assert (delivered.status, delivered.body) == (500, b'{"error": {"message": "down"}}')


async def test_a_spent_budget_sends_steps_to_the_cheapest_tier() -> None:
    bench = bench_of(budget("day", COST, "cheapest"), *[answer() for _ in range(3)])
    first, second = await post(bench, ask()), await post(bench, ask())
    assert (first.headers["x-tierwise-tier"], first.headers["x-tierwise-reason"]) == (
        "mid", "declared",
    )  # fmt: skip
    assert (second.headers["x-tierwise-tier"], second.headers["x-tierwise-reason"]) == (
        "small", "budget",
    )  # fmt: skip
    decision = bench.kept.pairs[1][0]
    assert (decision.reason, decision.propensity, str(decision.arm)) == (
        Reason.BUDGET, 1.0, "small/accept",
    )  # fmt: skip
    meters = bench.gateway.meters
    assert meters.value("tierwise_budget_cheapest_total", {"scope": "day"}) == 1
    # Spend goes on, at the cheapest price.
    (account,) = bench.gateway.spending.ledger.daily.values()
    assert account.spent == 1_540_000_000


async def test_from_the_cheapest_tier_a_spent_budget_lets_nothing_climb() -> None:
    bench = bench_of(budget("day", SMALL_COST, "cheapest"), answer(text="no"), answer(text="no"))
    for _ in range(2):
        delivered = await post(bench, ask("checked"))
        assert delivered.headers["x-tierwise-attempts"] == "1"
        assert delivered.headers["x-tierwise-tier"] == "small"


async def test_another_budget_may_still_refuse_what_the_cheapest_tier_costs() -> None:
    both = budget("day", COST, "cheapest") + budget("day", COST + SMALL_COST)
    bench = bench_of(both, *[answer() for _ in range(3)])
    delivered = [await post(bench, ask()) for _ in range(3)]
    assert [one.status for one in delivered] == [200, 200, 402]
    assert delivered[1].headers["x-tierwise-tier"] == "small"
    assert delivered[2].headers["x-tierwise-reason"] == "budget"


async def test_a_soft_limit_under_a_hard_one_counts_the_same_spend() -> None:
    both = budget("day", COST, "cheapest") + budget("day", 2 * COST)
    bench = bench_of(both, *[answer() for _ in range(12)])
    statuses = [(await post(bench, ask())).status for _ in range(12)]
    # One step on mid, ten on small, and the twelfth would be over.
    assert statuses == [200] * 11 + [402]


# What a policy may say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        (budget("day", 1.0, name="worker"), "a budget of scope 'day' has no name"),
        (budget("role", 1.0, name="wroker"), "did you mean 'worker'?"),
        (budget("key", 1.0, name="suport"), "did you mean 'support'?"),
        (budget("day", 1.0) + budget("day", 2.0), "budget 0 limits the same spend"),
        (budget("day", 0.0), "greater than 0"),
        (budget("month", 1.0), "'request', 'task', 'session', 'role', 'key' or 'day'"),
    ],
)
def test_a_budget_that_fits_nothing_is_refused_with_its_remedy(budgets: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        build(
            config_for(9, extra=KEYS), (POLICY + budgets).encode(), today=TODAY,
            environment={"KEY_SUPPORT": SUPPORT, "KEY_BATCH": BATCH},
        )  # fmt: skip


def test_a_policy_without_budgets_has_the_hash_it_had() -> None:
    plain = build(config_for(9), POLICY.encode(), today=TODAY, environment={})
    limited = build(
        config_for(9), (POLICY + budget("day", 1.0)).encode(), today=TODAY, environment={}
    )
    assert plain.policy.hash != limited.policy.hash
    assert "budgets" not in plain.policy.file.model_dump(exclude_defaults=True)


async def test_accounts_are_the_sum_of_the_recorded_attempts_whatever_happened() -> None:
    rng = random.Random(20_261_122)
    everything = "".join(budget(scope, 10.0) for scope in ("request", "task", "role", "day"))
    bench = bench_of(everything)
    bench.gateway.load.steps_max = 512
    broken = UpstreamError("upstream_broken", "it broke off", hint="try again")

    def script() -> Script | UpstreamError:
        kinds: list[Script | UpstreamError] = [
            answer(rng.randint(1, 1_000), rng.randint(1, 100), rng.choice(["yes", "no"])),
            Script(status=rng.choice([400, 429, 500]), pieces=[b'{"error": {}}']),
            Script(pieces=[b'{"choices": []}']),  # usage unknown
            Script(pieces=[b'{"cho', broken]),
            Script(pieces=[asyncio.Event()]),  # until the caller hangs up
            UpstreamError("upstream_unreachable", "nobody there", hint="try again"),
        ]
        return rng.choices(kinds, weights=[8, 1, 1, 1, 1, 1])[0]

    bench.upstream.scripts = [script() for _ in range(2_000)]
    gone = asyncio.Event()
    steps = [
        asyncio.create_task(
            bench.post(
                CHAT,
                ask(rng.choice(["worker", "checked", "default"])),
                headers={"content-type": "application/json", "x-tierwise-session": f"s{n % 3}"},
                hung_up=gone,
            )
        )
        for n in range(150)
    ]
    await asyncio.wait(steps, timeout=1.0)
    gone.set()
    await asyncio.gather(*steps)
    bounds = {"small": 140_000_000, "mid": 1_400_000_000, "frontier": 7_500_000_000}
    attempts = [attempt for _, outcome in bench.kept.pairs for attempt in outcome.attempts]
    costs = [bounds[one.tier] if one.cost_usd is None else pico(one.cost_usd) for one in attempts]
    assert len(bench.kept.pairs) == 150
    assert sum(one.cost_usd is None for one in attempts) > 10
    ledger = bench.gateway.spending.ledger
    for scope in ("role", "day"):
        found = [a for a in ledger.daily.values() if a.name.startswith(scope)]
        assert sum(account.spent for account in found) == sum(costs)
    assert sum(account.spent for account in ledger.lasting.values()) == sum(costs)
    assert len(ledger.lasting) == 3
    assert all(a.reserved == 0 for a in (*ledger.daily.values(), *ledger.lasting.values()))


def test_the_example_of_the_page_is_a_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text(encoding="utf-8")
    block = re.search(r"```toml\n(.*?)```", page, re.S)
    assert block is not None
    text = POLICY + '[roles.researcher]\ntier = "mid"\n' + block[1]
    loaded = build(config_for(9), text.encode(), today=TODAY, environment={})
    assert [one.scope for one in loaded.policy.file.budgets] == ["task", "role", "role"]

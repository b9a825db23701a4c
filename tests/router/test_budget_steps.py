"""Budgets in the request path: a scripted provider, hand-computed costs, every scope and edge."""

import json
from typing import Any

from telemetry.records import Outcome
from tests.harness import config_for
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
    return (
        f'[[budgets]]\nscope = "{scope}"\nusd = {usd}\non_exhausted = "{on_exhausted}"\n{named}'
    )


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

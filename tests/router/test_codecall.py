"""The tier `code` in the gateway: a function answers, abstains, crashes, hangs, talks nonsense."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from evals.standin.running import serving
from router.reload import build
from telemetry import names
from telemetry.errors import ConfigError
from telemetry.records import Cause
from telemetry.spans import describe
from tests.harness import TODAY, Running, config_for, running

FUNCTIONS = """
import time

def refund(step):
    return "yes" if "refund" in step.last_user_text else "no"

def abstain(step):
    return None

def crash(step):
    raise RuntimeError("sk-canary-4711")

def hang(step):
    time.sleep(1.5)

def nonsense(step):
    return object()
"""
POLICY = """
schema = 1
ladder = ["code", "small", "frontier"]
[tiers.small]
models = ["standin/standin-small"]
[tiers.frontier]
models = ["standin/standin-frontier"]
[roles.asker]
tier = "code"
code = "{module}:{function}"
{extra}
"""


@contextlib.asynccontextmanager
async def gateway(folder: Path, function: str, *, extra: str = "") -> AsyncIterator[Running]:
    module = f"functions_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(FUNCTIONS)
    policy = POLICY.format(module=module, function=function, extra=extra).encode()
    async with (
        serving() as standin,
        running(config_for(standin.port), policy, directory=folder) as at,
    ):
        yield at


async def chat(at: Running, **options: Any) -> Any:
    client = openai.AsyncOpenAI(base_url=at.base_url, api_key="unused", max_retries=0)
    async with client:
        return await client.chat.completions.with_raw_response.create(
            model="tierwise/asker",
            messages=[{"role": "user", "content": "I want a refund for order 4711"}],
            **options,
        )


async def test_a_function_answers_for_nothing_in_openais_dialect(tmp_path: Path) -> None:
    async with gateway(tmp_path, "refund") as at:
        raw = await chat(at)
        answer = raw.parse()
    assert answer.choices[0].message.content == "yes"
    assert answer.usage.total_tokens == 0
    assert raw.headers["x-tierwise-tier"] == "code"
    assert float(raw.headers["x-tierwise-cost-usd"]) == 0.0
    ((_, outcome),) = at.kept.pairs
    (attempt,) = outcome.attempts
    assert (attempt.provider, attempt.tier, attempt.cost_usd) == (names.CODE_PROVIDER, "code", 0.0)
    assert outcome.cost_usd == 0.0


async def test_a_function_answers_a_stream_in_anthropics_dialect(tmp_path: Path) -> None:
    async with gateway(tmp_path, "refund") as at:
        client = anthropic.AsyncAnthropic(base_url=at.origin, api_key="unused", max_retries=0)
        async with (
            client,
            client.messages.stream(
                model="tierwise/asker",
                max_tokens=10,
                messages=[{"role": "user", "content": "no money back, please"}],
            ) as stream,
        ):
            text = await stream.get_final_text()
    assert text == "no"


@pytest.mark.parametrize(
    ("function", "error_type"),
    [
        ("abstain", "abstained"),
        ("crash", "code_raised"),
        ("hang", "code_timeout"),
        ("nonsense", "code_nonsense"),
    ],
)
async def test_a_function_without_an_answer_hands_the_step_to_the_next_tier(
    tmp_path: Path, function: str, error_type: str
) -> None:
    async with gateway(tmp_path, function) as at:
        raw = await chat(at)
        assert raw.parse().choices[0].message.content
    assert raw.headers["x-tierwise-tier"] == "small"
    assert raw.headers["x-tierwise-escalated-from"] == "code"
    ((decision, outcome),) = at.kept.pairs
    first, second = outcome.attempts
    assert (first.tier, first.error_type, first.cost_usd) == ("code", error_type, 0.0)
    assert (second.tier, second.cause) == ("small", Cause.ESCALATION)
    assert decision.arm.tier == "code"
    assert decision.propensity == 1.0
    assert "canary" not in repr((decision, outcome))


async def test_an_answer_of_a_function_is_checked_like_any_other(tmp_path: Path) -> None:
    extra = 'checks = [{check = "one_of", values = ["no"]}]\non_fail = "step"'
    async with gateway(tmp_path, "refund", extra=extra) as at:
        raw = await chat(at)
    ((_, outcome),) = at.kept.pairs
    assert outcome.attempts[0].verdicts[0].result == "fail"
    assert outcome.attempts[1].tier == "small"
    assert raw.headers["x-tierwise-attempts"] in ("2", "3")


async def test_a_function_with_nobody_above_it_gives_a_clean_error(tmp_path: Path) -> None:
    async with gateway(tmp_path, "abstain", extra='range = ["code", "code"]') as at:
        with pytest.raises(openai.APIStatusError) as caught:
            await chat(at)
    assert caught.value.status_code == 502
    assert caught.value.code == "no_answer"


async def test_the_span_of_a_function_is_no_model_call(tmp_path: Path) -> None:
    async with gateway(tmp_path, "refund") as at:
        await chat(at)
    ((decision, outcome),) = at.kept.pairs
    route, code = describe(decision, outcome)
    assert route.attributes[names.TIER] == "code"
    assert code.name.startswith("code functions_")
    assert not any(key.startswith("gen_ai.") for key in code.attributes)
    assert code.attributes[names.COST_USD] == 0.0


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ('tier = "code"', "names no function"),
        ('tier = "small"\ncode = "a:b"', "does not reach the tier"),
        ('tier = "code"\ncode = "nowhere_at_all:f"', "nowhere_at_all"),
        ('tier = "code"\ncode = "functions"', "module:function"),
    ],
)
def test_a_code_tier_that_cannot_work_is_refused_with_its_remedy(role: str, told: str) -> None:
    policy = f"""
schema = 1
ladder = ["code", "small"]
[tiers.small]
models = ["standin/standin-small"]
[roles.asker]
{role}
"""
    with pytest.raises(ConfigError, match=told):
        build(config_for(1), policy.encode(), environment={}, today=TODAY)

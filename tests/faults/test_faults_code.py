"""Functions of the tier `code` that raise, block or return nonsense: the step is answered above."""

import pytest

from telemetry.records import Dialect
from tests.faults.answers import frames, whole
from tests.faults.house import house

DIALECTS = (Dialect.CHAT, Dialect.MESSAGES)
POLICY = """
schema = 1
ladder = ["code", "small", "mid"]
[tiers.small]
models = ["bad/fault-BEHAVIOUR"]
[tiers.mid]
models = ["good/fault-ok"]
[roles.alone]
tier = "code"
range = ["code", "code"]
code = "tests.faults.functions:FUNCTION"
[roles.backed]
tier = "code"
code = "tests.faults.functions:FUNCTION"
[roles.default]
tier = "small"
"""
FUNCTIONS = {
    "raises": "code_raised",
    "exits": "code_raised",
    "recurses": "code_raised",
    "blocks": "code_timeout",
    "nonsense": "code_nonsense",
    "endless": "code_nonsense",
}


def written(function: str, behaviour: str) -> bytes:
    return POLICY.replace("FUNCTION", function).replace("BEHAVIOUR", behaviour).encode()


@pytest.mark.parametrize(("function", "error"), FUNCTIONS.items())
async def test_a_function_that_goes_wrong_costs_the_step_nothing(
    function: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = DIALECTS if function != "blocks" else DIALECTS[:1]
    async with house("ok", caplog, written=lambda name: written(function, name)) as at:
        for dialect in asked:
            for stream in (True, False):
                reply, outcome = await at.post(dialect, "backed", stream=stream)
                assert reply.body == (b"".join(frames(dialect)) if stream else whole(dialect))
                assert reply.headers["x-tierwise-escalated-from"] == "code"
                first, second = outcome.attempts
                assert (first.tier, first.error_type, first.cost_usd) == ("code", error, 0.0)
                assert second.error_type is None
                assert at.contacts() == ["ok"]
                await at.check(reply, [outcome])
                refused, outcome = await at.post(dialect, "alone", stream=stream)
                assert refused.status == 502
                assert b"no_answer" in refused.body
                assert outcome.cost_usd == 0.0
                assert at.contacts() == []
                await at.check(refused, [outcome])
        await at.at.gateway.loaded().policy.close()


async def test_a_function_and_the_tier_above_it_that_both_fail_leave_the_one_above(
    caplog: pytest.LogCaptureFixture,
) -> None:
    behaviour = "close_before_headers"
    async with house(behaviour, caplog, written=lambda name: written("raises", name)) as at:
        for dialect in DIALECTS:
            for stream in (True, False):
                reply, outcome = await at.post(dialect, "backed", stream=stream)
                assert reply.body == (b"".join(frames(dialect)) if stream else whole(dialect))
                assert [attempt.tier for attempt in outcome.attempts] == ["code", "small", "mid"]
                await at.check(reply, [outcome])
        await at.at.gateway.loaded().policy.close()

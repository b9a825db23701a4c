"""The decision that `tierwise bench` times: of a role that learns, by its shape."""

import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from learning.revision import Revision
from learning.standing import Standing
from router import body
from router.decider import Decider
from router.reload import build
from router.roles import Asked, resolve
from router.shape import shape_of
from telemetry.records import Context, Dialect

CONFIG = b"""
schema = 1
[providers.one]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat", "responses", "messages"]
[prices]
"one/small" = { input = 1, output = 1 }
"one/mid" = { input = 1, output = 1 }
"one/large" = { input = 1, output = 1 }
"""
POLICY = b"""
schema = 1
ladder = ["small", "mid", "large"]
[tiers]
small = { models = ["one/small"] }
mid = { models = ["one/mid"] }
large = { models = ["one/large"] }
[roles.worker]
tier = "mid"
range = ["small", "large"]
learn = "bounded"
quality_floor = 0.9
[alerts.cost]
budget_usd_per_day = 120
[alerts.quality]
[[shapes]]
role = "worker"
tools = true
"""
SHARES = {"small/step": 0.3, "mid/step": 0.5, "large/accept": 0.2}
# 4 KB: a system prompt, a question and its answer, and what is asked now.
TURNS = ["system", "user", "assistant", "user"]
BODY = {
    "model": "tierwise/auto",
    "messages": [{"role": role, "content": "word " * 170} for role in TURNS],
    "tools": [{"type": "function", "function": {"name": "read", "description": "a file"}}] * 2,
}


def decider() -> Callable[[], object]:
    """Return what makes one decision of a role that learns, all of it that a step waits for.

    The shape is read from the body, a shape rule gives the role, half of the sessions are served by
    the new revision, and the arm is drawn by the conversation's number.
    """
    today = datetime.now(UTC).date()
    policy = build(CONFIG, POLICY, environment={}, today=today).policy
    revision = Revision(
        policy_hash=policy.hash, parent=None, shares={"worker||": SHARES}, evidence={}
    )
    served = Decider()
    served.take(Standing(revision=revision, previous=revision, rollout=0.5))
    asked = Asked()
    content = json.dumps(BODY).encode()
    fields = body.parse(content).fields
    numbers = itertools.count()

    def decide() -> Any:
        shape = shape_of(fields, Dialect.CHAT, len(content))
        role, source, unknown = resolve(asked, policy, lambda: shape)
        number = next(numbers)
        context = Context(
            role=role,
            role_source=source,
            role_unknown=unknown,
            dialect=Dialect.CHAT,
            session=f"session-{number}",
            shape=shape,
        )
        return served.decide(policy, context, decision_id=f"{number:032x}", at_ns=time.time_ns())

    return decide

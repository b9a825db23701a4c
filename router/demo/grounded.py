"""A check over HTTP, as an operator would run one: an answer must stand in what was read.

It catches misread numbers and invented values. A value of which only a part is given stands in the
text as well, so this check passes it.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web

UNKNOWN = "unknown"  # the answer for what is not there
BODY_BYTES_MAX = 1_048_576


def verdict(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return pass or fail with the share of values that stand in the last user text.

    ``candidate`` is what docs/checks.md says that checks outside the process get; its values are
    the strings in its tool calls, else in its text's JSON object, else its text. Abstains when
    there are none.
    """
    values = [value for value in _values(candidate) if value != UNKNOWN]
    if not values:
        return {"verdict": "abstain", "reason": "nothing to look for"}
    source = candidate["last_user_text"]
    missing = sum(value not in source for value in values)
    return {
        "verdict": "fail" if missing else "pass",
        "score": 1 - missing / len(values),
        "reason": f"{missing} of {len(values)} values do not stand in the text",
    }


def _values(candidate: dict[str, Any]) -> Iterator[str]:
    calls = candidate["tool_calls"]
    for text in [call["arguments"] for call in calls] or [candidate["text"]]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict):
            yield from (part for part in value.values() if isinstance(part, str) and part)
        elif text.strip():
            yield text.strip()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Serve the check on a free port of 127.0.0.1; yield its address."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/check", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/check"
    finally:
        await runner.cleanup()


async def _answer(request: web.Request) -> web.Response:
    return web.json_response(verdict(await request.json()))

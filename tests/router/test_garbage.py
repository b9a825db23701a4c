"""Steps die by reference count: the garbage collector, which stops everything, finds nothing."""

import gc
import json

import pytest

from evals.bench.load import drive, request_bytes
from evals.standin.running import serving
from tests.harness import Running, config_for, running

CHAT = "/v1/chat/completions"
STEPS = 40


async def garbage(at: Running, content: bytes) -> int:
    """Return how many unreachable objects that many steps on one connection leave."""
    await drive(at.port, content, callers=1, requests=STEPS)  # what is made once
    gc.collect()
    await drive(at.port, content, callers=1, requests=STEPS)
    return gc.collect()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_step_leaves_no_cycles_behind(stream: bool) -> None:
    body = {
        "model": "tierwise/extractor",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
    }
    async with serving() as standin, running(config_for(standin.port)) as at:
        gc.disable()
        try:
            left = await garbage(at, request_bytes(at.port, CHAT, json.dumps(body).encode()))
        finally:
            gc.enable()
    # A connection and the server's own handling of it may leave a few dozen; steps leave none.
    assert left < 2 * STEPS

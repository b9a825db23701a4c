"""SIGKILL at random moments under load: whatever was acknowledged is there after the restart."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import duckdb
import pytest

from tests.collector.otlp import Trace
from tests.collector.program import free_ports, launch, running
from tests.needs import SAID

# Two hundred with TIERWISE_LONG=1; each kill takes two seconds or so.
KILLS = 200 if os.environ.get("TIERWISE_LONG") == "1" else 8
SENDERS = 3
SPANS = 200


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_no_acknowledged_span_is_lost_to_sigkill(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    store, ports = tmp_path / "t.duckdb", free_ports()
    rng = random.Random(20_261_122)
    acknowledged: set[str] = set()
    seed = 0

    async def sender(session: aiohttp.ClientSession) -> None:
        nonlocal seed
        while True:
            seed += 1
            trace = Trace(seed=seed)
            trace.trace_id = seed.to_bytes(16, "big")
            for _ in range(SPANS):
                trace.call(start_ns=time.time_ns())
            sent = {span.span_id.hex() for span in trace.scope.spans}
            try:
                async with session.post(
                    f"http://127.0.0.1:{ports.http}/v1/traces",
                    data=trace.body(),
                    headers={"content-type": "application/x-protobuf"},
                ) as answer:
                    if answer.status == 200:
                        assert await answer.read() == b""  # nothing was refused
                        acknowledged.update(sent)
            except aiohttp.ClientError:
                await asyncio.sleep(0.01)

    for _ in range(KILLS):
        child = await asyncio.to_thread(launch, store, ports)
        async with aiohttp.ClientSession() as session:
            senders = [asyncio.create_task(sender(session)) for _ in range(SENDERS)]
            await asyncio.sleep(rng.uniform(0.02, 0.6))
            child.kill()
            await asyncio.to_thread(child.wait)
            for task in senders:
                task.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
    with running(store, ports):
        pass
    with duckdb.connect(store, read_only=True) as connection:
        stored = [row[0] for row in connection.execute("SELECT span_id FROM calls").fetchall()]
    lost = len(acknowledged - set(stored))
    record_property(
        SAID,
        f"{KILLS} kills: {len(acknowledged)} spans acknowledged, {lost} lost, {len(stored)} kept",
    )
    assert acknowledged, "nothing was ever acknowledged"
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))

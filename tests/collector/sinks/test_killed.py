"""A poster that is killed at any moment loses nothing and says nothing twice in other words."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.desk import Desk
from tests.collector.sinks.receiver import Receiver, receiving

KILLS = 100 if os.environ.get("TIERWISE_LONG") == "1" else 5


async def start(path: Path, url: str, how: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.collector.sinks.program", str(path), url, how
    )


def logged(receiver: Receiver) -> dict[str, set[tuple[str, str, int]]]:
    """Return what each notice id said, of the sink that tells every event."""
    found = defaultdict(set)
    for one in receiver.received:
        if one.path != "/v1/logs":
            continue
        request = ExportLogsServiceRequest.FromString(one.body)
        for record in request.resource_logs[0].scope_logs[0].log_records:
            said = {each.key: each.value.string_value for each in record.attributes}
            found[said["tierwise.notice.id"]].add(
                (said["tierwise.alert.name"], said["tierwise.alert.status"], record.time_unix_nano)
            )
    return found


@pytest.mark.timeout(600)
async def test_killed_at_any_moment_every_event_arrives_under_one_id(tmp_path: Path) -> None:
    rng, path = random.Random(7), tmp_path / "a.desk"
    async with receiving() as receiver:
        for _ in range(KILLS):
            before = len(receiver.received)
            process = await start(path, receiver.url, "make")
            while len(receiver.received) < before + 3 and process.returncode is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        assert await (await start(path, receiver.url, "drain")).wait() == 0

    desk = Desk(path)
    made = int((desk.row("SELECT value FROM facts WHERE name = 'made'") or {})["value"])
    assert made >= KILLS
    assert desk.rows("SELECT * FROM deliveries WHERE state <> 'sent'") == []
    last = {
        row["fingerprint"]: row["status"]
        for row in desk.rows("SELECT fingerprint, status FROM outbox_alerts")
    }
    desk.close()

    said = logged(receiver)
    assert all(len(words) == 1 for words in said.values())
    told = sorted(
        at_ns - 1_800_000_000_000_000_000 for ((_, _, at_ns),) in map(tuple, said.values())
    )
    assert told == list(range(made))

    groups = defaultdict(set)
    final: dict[str, str] = {}
    for one in receiver.received:
        if one.path == "/":
            groups[one.headers["webhook-id"]].add(one.body)
            final |= {each["fingerprint"]: each["status"] for each in one.plain["alerts"]}
    assert all(len(bodies) == 1 for bodies in groups.values())
    assert final == last

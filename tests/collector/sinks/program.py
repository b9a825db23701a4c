"""A process that makes alerts and posts them until it is killed, for the test of that."""

import asyncio
import random
import sys
from pathlib import Path

from collector.desk import Desk
from collector.meters import Meters
from collector.outbox import enqueue
from collector.sinks.opening import Surroundings
from collector.sinks.poster import Poster
from telemetry.alerting import NotifyConfig
from telemetry.clock import SystemClock
from telemetry.config import TelemetryConfig
from tests.collector.sinks.posting import alert, webhook

NOTIFY = (
    webhook(group_wait_seconds=0, group_interval_seconds=0),
    NotifyConfig(kind="otel", url_env="HOOK", prove_hours=0),
)


def put_next(desk: Desk) -> None:
    """Let the next of five alerts begin or end; the count and the event go together."""
    with desk.transaction() as change:
        row = change.row("SELECT value FROM facts WHERE name = 'made'")
        number = int(row["value"]) if row else 0
        status = "firing" if number // 5 % 2 == 0 else "resolved"
        at_ns = 1_800_000_000_000_000_000 + number
        enqueue(change, alert(f"Alert{number % 5}", status=status, at_ns=at_ns))
        change.run(
            "INSERT INTO facts VALUES ('made', $value) ON CONFLICT (name) DO UPDATE SET "
            "value = $value",
            {"value": str(number + 1)},
        )


async def main(path: Path, url: str, *, make: bool) -> None:
    desk, clock = Desk(path), SystemClock()
    poster = Poster(
        desk,
        notify=lambda: NOTIFY,
        around=Surroundings(environment={"HOOK": url}, clock=clock, telemetry=TelemetryConfig()),
        meters=Meters(),
        rng=random.Random(1),
    )
    await poster.step()
    if make:
        while True:
            await asyncio.to_thread(put_next, desk)
            await poster.step()
    for _ in range(20):
        await poster.step()
        await asyncio.sleep(0.02)
    await poster.close()
    desk.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], make=sys.argv[3] == "make"))

"""A gateway worker's exporter as a process of its own, to be killed: `worker.py DIR NAME PORT`.

Records 50 steps towards a collector that is away, says `ready` once all of it is on disk, waits.
"""

import asyncio
import sys
from pathlib import Path

from tests.telemetry.exporting import make, record


async def main() -> None:
    state_dir, worker, port = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    exporter, meters = make(state_dir, collector=f"http://127.0.0.1:{port}", worker=worker)
    await exporter.start()
    ids = record(exporter, 50, seed=int(worker))
    while meters.value("tierwise_telemetry_spooled_total") < 150:
        await asyncio.sleep(0.01)
    sys.stdout.write(" ".join(["ready", *ids]) + "\n")
    sys.stdout.flush()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())

"""A process that takes steps in and ticks, for the test that kills it.

Prints the number of each batch once its tick is committed. Where it stands is in the two files.
"""

import sys
from pathlib import Path

from collector.alerts.engine import Alerts
from collector.desk import Desk
from collector.duckdb_store import DuckDBStore
from collector.meters import Meters
from collector.outbox import enqueue
from collector.rows import Batch
from tests.collector.alerts.world import SECOND, T0, decision, terms

STEPS = 20
GOOD, BAD = [1.0] * 19 + [0.0], [0.0, 1.0] * 10
BATCHES = [GOOD] * 6 + [BAD] * 4 + [GOOD] * 8


def work(folder: Path) -> None:
    """Go on from wherever the files are, to the end."""
    made = terms()
    store = DuckDBStore(folder / "k.duckdb", now_ns=T0)
    desk = Desk(folder / "k.desk")
    alerts = Alerts(desk=desk, store=store, terms=lambda: made, meters=Meters(), enqueue=enqueue)
    found = store.read("SELECT count(*) AS n FROM decisions")[0]["n"] // STEPS
    alerts.tick(T0 + found * 10 * SECOND + 1)  # what was stored and not looked at before the kill
    for number in range(found, len(BATCHES)):
        now = T0 + (number + 1) * 10 * SECOND
        first = number * STEPS
        rows = [
            decision(first + index, now + index, score)
            for index, score in enumerate(BATCHES[number])
        ]
        store.write([Batch(decisions=rows)], now_ns=now)
        alerts.tick(now + 1)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    desk.close()
    store.close()


if __name__ == "__main__":
    work(Path(sys.argv[1]))

"""A look at a store that no collector holds: what the learner would do, and nothing is done."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector.armed import Armory
from collector.desk import Desk, desk_path
from collector.duckdb_store import DuckDBStore
from collector.learner import Guards, Learner
from collector.meters import Meters
from collector.outbox import sink_proofs
from collector.revisions import Revisions
from collector.store import StoreUnavailable
from telemetry.clock import SystemClock
from telemetry.terms import Terms


def look(path: Path, *, terms: Callable[[], Terms | None], now_ns: int) -> dict[str, Any]:
    """Return the report of a dry tick over the store at ``path``; its desk is read from a copy.

    Raises:
        StoreUnavailable: there is no such file, or it cannot be read.
        StoreLocked: a process holds it.
    """
    if not path.exists():
        raise StoreUnavailable(
            f"there is no store at {path}", hint="start `tierwise serve`, or name it by --store"
        )
    store = DuckDBStore(path, now_ns=now_ns)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "desk"
        for each in desk_path(path).parent.glob(desk_path(path).name + "*"):
            shutil.copy(each, copy.with_name(each.name.replace(desk_path(path).name, copy.name)))
        desk = Desk(copy)
        try:
            while store.roll_up(now_ns):
                pass
            armory = Armory(desk=desk, terms=terms, proofs=lambda: sink_proofs(desk))
            learner = Learner(
                desk=desk,
                store=store,
                revisions=Revisions(desk, SystemClock(), terms=terms),
                terms=terms,
                guards=Guards(armed=armory.armed, unsafe=armory.unsafe_roles),
                meters=Meters(),
            )
            return learner.look(now_ns, dry=True)
        finally:
            desk.close()
            store.close()

"""Which steps drew their arm anew.

Steps that go on with a conversation draw by one number per session and role, so only the first of
them says anything about probabilities: the rest repeat it. A session is taken up again as new
after a day.
"""

from typing import Any, Final

from collector.alerts import queries
from collector.store import Rows, Store

DAY_NS: Final = 86_400_000_000_000


def fresh(store: Store, rows: Rows, *, at_ns: int) -> set[str]:
    """Return the ids of those steps of a page that are the first draw of their session and role.

    ``at_ns`` is the arrival after which the page begins. Pinned and certain steps draw nothing.

    Raises:
        StoreUnavailable: the store cannot be read.
    """
    drawn = [row for row in rows if _draws(row)]
    if not drawn:
        return set()
    ids = [row["decision_id"] for row in drawn]
    since = min(row["start_ns"] for row in drawn) - DAY_NS
    sessions = {
        row["decision_id"]: row["task"]
        for row in store.read(queries.SESSIONS, {"ids": ids, "since": since})
    }
    keys = {row["decision_id"]: (row["role"], _session(row, sessions)) for row in drawn}
    bound = {"ids": ids, "since": since, "at": at_ns, "tasks": [task for _, task in keys.values()]}
    known = {(row["role"], row["task"]) for row in store.read(queries.KNOWN_SESSIONS, bound)}
    found = set()
    for name, key in keys.items():
        if key not in known:
            known.add(key)
            found.add(name)
    return found


def _draws(row: dict[str, Any]) -> bool:
    propensity = row["propensity"]
    return propensity is not None and 0.0 < propensity < 1.0 and not row["pinned"]


def _session(row: dict[str, Any], sessions: dict[str, str]) -> str:
    """Return the session that a step's calls name; its own task while they have not arrived."""
    return sessions.get(row["decision_id"]) or str(row["task"])

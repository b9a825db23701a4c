"""When a sink that forgets is told again all that fires, and what has ended since it last heard.

An alert that begins while it is muted is kept back. One that the sink knows of already is named on,
muted or not: fallen silent, it would end there although it goes on here, and people would be told
that it is over. Keeping its people quiet meanwhile is that sink's own matter.
"""

import json
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from collector.alert_events import AlertEvent
from collector.desk import Transaction
from collector.outbox import firing
from collector.sinks import deliveries
from collector.sinks.alertmanager import RESEND_SECONDS, RESOLVED_SECONDS
from collector.sinks.grouping import NEVER_NS, Route
from collector.sinks.message import ALERTS_MAX, alert_of
from collector.sinks.sink import Answer, Verdict
from telemetry.clock import Clock

RESEND_NS: Final = int(RESEND_SECONDS * 1e9)
RESOLVED_NS: Final = int(RESOLVED_SECONDS * 1e9)
# One row beside the groups of other sinks: the fingerprints that this one knows as firing.
_TOLD: Final = "SELECT told FROM notice_groups WHERE sink = $sink AND group_key = ''"
_TELL: Final = """
INSERT INTO notice_groups VALUES ($sink, '', '{}', $never, NULL, $told, '[]', '[]')
ON CONFLICT (sink, group_key) DO UPDATE SET told = $told
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What is to be said now, and the last event that it takes into account."""

    alerts: tuple[AlertEvent, ...]
    cursor: int


class Restating:
    """One sink's state: said at an interval, and at once after news."""

    def __init__(
        self, route: Route, *, muted: Callable[[int], Collection[str]], clock: Clock,
        rng: random.Random,
    ) -> None:  # fmt: skip
        self._route = route
        self._sink = {"sink": route.sink}
        self._name = route.sink
        self._muted = muted
        self._clock = clock
        self._rng = rng

    def due(self, change: Transaction) -> Due | None:
        """Return what is to be said now; None when it is not time."""
        now_ns = self._clock.now_ns()
        if not deliveries.ready(change, self._name, now_ns):
            return None
        row = change.row("SELECT * FROM sinks WHERE sink = $sink", self._sink)
        assert row is not None, "a sink that is ready is known"
        if now_ns < row["resend_ns"] <= now_ns + RESEND_NS:
            return None
        # Whatever ended after the sink last heard of it, and for five minutes more.
        heard_ns = min(row["state_ns"] or now_ns, now_ns)
        ended = change.rows(
            "SELECT body FROM outbox_alerts WHERE status = 'resolved' AND ends_ns >= $since "
            "ORDER BY ends_ns DESC LIMIT $most",
            {"since": heard_ns - RESOLVED_NS, "most": ALERTS_MAX},
        )
        kept_back = set(self._muted(now_ns)) - self._told(change)
        burning = [one for key, one in firing(change).items() if key not in kept_back]
        over = [alert_of(json.loads(one["body"])) for one in ended]
        alerts = tuple(filter(self._route.takes, (*burning, *over)))
        return Due(alerts=alerts, cursor=row["cursor"])

    def settle(self, change: Transaction, due: Due, answer: Answer) -> None:
        """Write down what became of saying it; news that came meanwhile is due at once."""
        now_ns = self._clock.now_ns()
        if due.alerts:
            deliveries.note(change, self._name, answer, now_ns=now_ns, rng=self._rng)
        if answer.verdict is Verdict.RETRY:
            return
        heard = now_ns if answer.verdict is Verdict.ACCEPTED else None
        if heard is not None:
            known = [one.fingerprint for one in due.alerts if one.status == "firing"]
            told = json.dumps(sorted(known))
            change.run(_TELL, self._sink | {"told": told, "never": NEVER_NS})
        change.run(
            "UPDATE sinks SET state_ns = coalesce($heard, state_ns), "
            "resend_ns = CASE WHEN cursor = $cursor THEN $next ELSE 0 END WHERE sink = $sink",
            self._sink | {"heard": heard, "cursor": due.cursor, "next": now_ns + RESEND_NS},
        )

    def _told(self, change: Transaction) -> set[str]:
        row = change.row(_TOLD, self._sink)
        return set() if row is None else set(json.loads(row["told"]))

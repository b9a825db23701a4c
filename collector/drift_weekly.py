"""Once a week the drift report goes to the sinks that asked for it."""

from collections.abc import Callable
from typing import Final

from collector.desk import Desk
from collector.drift_report import DriftReport
from collector.outbox import enqueue_report

WEEK_NS: Final = 7 * 86_400_000_000_000
_FACT: Final = "drift report sent at ns"


class Weekly:
    """Remembers on the desk when the last report went out."""

    def __init__(
        self, desk: Desk, report: Callable[[], DriftReport], *, wanted: Callable[[], bool]
    ) -> None:
        self._desk = desk
        self._report = report
        self._wanted = wanted

    def look(self, now_ns: int) -> bool:
        """Put a report into the outbox if a week has passed; say whether one was put there.

        The first goes out a week after it was first wanted.
        """
        if not self._wanted():
            return False
        row = self._desk.row("SELECT value FROM facts WHERE name = $name", {"name": _FACT})
        last_ns = None if row is None else int(row["value"])
        if last_ns is not None and 0 <= now_ns - last_ns < WEEK_NS:
            return False
        report = None if last_ns is None or now_ns < last_ns else self._report()
        with self._desk.transaction() as change:
            change.run(
                "INSERT INTO facts VALUES ($name, $value) "
                "ON CONFLICT (name) DO UPDATE SET value = $value",
                {"name": _FACT, "value": str(now_ns)},
            )
            if report is not None:
                enqueue_report(
                    change,
                    report_id=f"drift {now_ns // WEEK_NS}",
                    summary=report.summary,
                    details=report.words(),
                    at_ns=now_ns,
                )
        return report is not None

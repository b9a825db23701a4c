"""How many words a source that shows no token may add in an hour; the store keeps each for long."""

from typing import Final

HOUR_NS: Final = 3_600_000_000_000
SOURCES_MAX: Final = 256  # told apart within an hour; all further ones share one count
_OTHERS: Final = None


class Quota:
    """Counts by source, from the start of each hour of the clock; bounded in memory."""

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        self._hour = -1
        self._taken: dict[str | None, int] = {}

    def wait_seconds(self, source: str, *, now_ns: int) -> int | None:
        """Take one from the hour of ``source``; None, or in how many seconds there is more.

        >>> quota = Quota(1)
        >>> quota.wait_seconds("ci", now_ns=0), quota.wait_seconds("ci", now_ns=HOUR_NS // 2)
        (None, 1800)
        >>> quota.wait_seconds("ci", now_ns=HOUR_NS)
        """
        hour = now_ns // HOUR_NS
        if hour != self._hour:
            self._hour = hour
            self._taken.clear()
        known = source in self._taken or len(self._taken) < SOURCES_MAX
        name = source if known else _OTHERS
        taken = self._taken.get(name, 0)
        if taken >= self._per_hour:
            return -(-((hour + 1) * HOUR_NS - now_ns) // 1_000_000_000)
        self._taken[name] = taken + 1
        return None

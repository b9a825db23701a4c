"""Which rows are certainly new, without asking the database: most of all that ever come.

To ask which ids of a commit are stored already was an eighth of a span's processor time.
"""

from collections.abc import Iterable
from typing import Final

MARKS_MAX: Final = 262_144  # remembered per table, and a commit's more: some 20 MB


class Seen:
    """Remembers the newest rows of one table; only what it cannot rule out need be looked up.

    It knows all rows that came since ``floor_ns`` was the latest time stored, but for those it
    forgot, and raises the floor above these. A row that is later than the floor and not remembered
    is therefore stored nowhere. Rows are remembered by 64-bit hashes: two that share one cost a
    look-up and nothing else. So does a row that was remembered and whose commit then failed, and
    all that begins before the latest that was forgotten: behind a clock that runs ahead, or when
    more came since than is remembered while a long call ran.
    """

    def __init__(self, floor_ns: int) -> None:
        """Start beside a table whose latest row is of ``floor_ns``."""
        self._floor_ns = floor_ns
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._young_ns = self._old_ns = floor_ns

    def doubtful(self, rows: Iterable[tuple[int, object]]) -> list[int]:
        """Return the places of those of ``rows``, as (time, id), that may be stored; remember all.

        A row that comes twice in one call is doubtful the second time.
        """
        young, old, floor, latest = self._young, self._old, self._floor_ns, self._young_ns
        places = []
        for place, (at_ns, key) in enumerate(rows):
            mark = hash(key)
            if at_ns <= floor or mark in young or mark in old:
                places.append(place)
            young.add(mark)
            latest = max(latest, at_ns)
        self._young_ns = latest
        if len(young) >= MARKS_MAX // 2:
            self._floor_ns = max(floor, self._old_ns)
            self._old, self._old_ns = young, latest
            self._young = set()
        return places

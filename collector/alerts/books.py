"""What the rules carry from tick to tick: detectors and small facts, loaded once, saved together.

A tick changes the books in memory and saves them in the transaction that moves the cursors and
records what fired, so a kill at any moment loses either all of a tick or nothing.
"""

import json
import logging
from typing import Any, Final

import msgspec

from collector.alerts.watched import Watched
from collector.desk import Desk, Transaction

PREFIX: Final = "alerts."

log = logging.getLogger("tierwise.collector")


class Books:
    """The detectors by (alert, role) and the facts by name."""

    def __init__(self, desk: Desk) -> None:
        """Read what the desk holds; what cannot be read is counted again from the store.

        Raises:
            StoreUnavailable: the desk cannot be read.
        """
        self._watched: dict[tuple[str, str], Watched] = {}
        self._touched: set[tuple[str, str]] = set()
        self._changed: set[str] = set()
        self.restarted: list[tuple[str, str | None, float]] = []  # with the evidence they had
        for row in desk.rows("SELECT name, role, state FROM detectors"):
            key = (row["name"], row["role"])
            try:
                self._watched[key] = msgspec.json.decode(row["state"], type=Watched)
            except msgspec.MsgspecError as error:
                log.error("detector %s of %r starts again: %s", *key, error)
        sql = "SELECT name, value FROM facts WHERE name LIKE 'alerts.%'"
        self._facts: dict[str, Any] = {
            row["name"].removeprefix(PREFIX): json.loads(row["value"]) for row in desk.rows(sql)
        }

    @property
    def empty(self) -> bool:
        return not self._watched and not self._facts

    def of(self, name: str, role: str | None) -> Watched:
        """Return the detector of an alert and a role (None: over all), to be changed freely."""
        key = (name, role or "")
        self._touched.add(key)
        return self._watched.setdefault(key, Watched())

    def peek(self, name: str, role: str | None) -> Watched | None:
        """Return a detector to look at, or None while it has seen nothing."""
        return self._watched.get((name, role or ""))

    def every(self) -> dict[tuple[str, str], Watched]:
        """Return all detectors to look at."""
        return dict(self._watched)

    def fact(self, name: str, otherwise: Any) -> Any:
        """Return a small fact as plain JSON values, or ``otherwise`` while there is none."""
        return self._facts.get(name, otherwise)

    def note(self, name: str, value: Any) -> None:
        """Set a small fact."""
        if self._facts.get(name) != value:
            self._facts[name] = value
            self._changed.add(name)

    def save(self, change: Transaction) -> None:
        """Write what was touched since the last save."""
        for key in sorted(self._touched):
            change.run(
                "INSERT INTO detectors VALUES ($name, $role, $state) "
                "ON CONFLICT (name, role) DO UPDATE SET state = $state",
                {
                    "name": key[0],
                    "role": key[1],
                    "state": msgspec.json.encode(self._watched[key]).decode(),
                },
            )
        for name in sorted(self._changed):
            change.run(
                "INSERT INTO facts VALUES ($name, $value) "
                "ON CONFLICT (name) DO UPDATE SET value = $value",
                {"name": PREFIX + name, "value": json.dumps(self._facts[name])},
            )

    def saved(self) -> None:
        """Forget what was touched, now that it is committed."""
        self.restarted.clear()
        self._touched.clear()
        self._changed.clear()

"""Freezes and pins, as people set and end them."""

from typing import Any

from collector import holds
from collector.answers import Answer, Ask
from collector.auditlog import Deed
from collector.changes import Changes
from collector.desk import Transaction
from collector.fitting import arm_named, present, role_in
from collector.holds import DAY_NS, EVERY_ROLE, Hold, Kind
from telemetry.terms import Terms


class Holding:
    """The desk where roles are held fixed; safe to use from any thread."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def freeze(self, ask: Ask, *, role: str | None, reason: str, days: float | None) -> Answer:
        """Keep the learner from moving a role, or all roles, for ``days`` or until thawed."""
        name = EVERY_ROLE if role is None else role_in(self._terms(), role).role
        hold = self._hold("freeze", name, ask, reason=reason, days=days)
        return self._put(ask, hold)

    def pin(self, ask: Ask, *, role: str, arm: str, reason: str, days: float) -> Answer:
        """Give a role one arm (a tier, or tier/on_fail) for ``days``, whatever a revision says."""
        terms = role_in(self._terms(), role)
        hold = self._hold("pin", role, ask, reason=reason, days=days, arm=arm_named(arm, terms))
        return self._put(ask, hold)

    def thaw(self, ask: Ask, *, role: str | None, reason: str | None) -> Answer:
        """Let the learner move a role again; without a role, everything that is frozen."""
        return self._drop(ask, "freeze", role, reason=reason)

    def unpin(self, ask: Ask, *, role: str, reason: str | None) -> Answer:
        """End a pin."""
        return self._drop(ask, "pin", role, reason=reason)

    def _hold(
        self, kind: Kind, role: str, ask: Ask, *, reason: str, days: float | None,
        arm: str | None = None,
    ) -> Hold:  # fmt: skip
        now_ns = self._changes.revisions.clock.now_ns()
        return Hold(
            kind=kind,
            role=role,
            arm=arm,
            owner=ask.person,
            reason=reason,
            since_ns=now_ns,
            until_ns=None if days is None else now_ns + int(days * DAY_NS),
        )

    def _put(self, ask: Ask, hold: Hold) -> Answer:
        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            holds.put(change, hold, deed)
            return {"hold": hold.plain()}

        return self._changes.make(ask, do, reason=hold.reason)

    def _drop(self, ask: Ask, kind: Kind, role: str | None, *, reason: str | None) -> Answer:
        def do(change: Transaction, deed: Deed) -> dict[str, Any]:
            every = [hold.role for hold in holds.holds(change) if hold.kind == kind]
            roles = every if role is None and every else [role or EVERY_ROLE]
            for name in roles:
                holds.drop(change, kind, deed, role=name)
            return {"ended": roles}

        return self._changes.make(ask, do, reason=reason)

    def _terms(self) -> Terms:
        return present(self._changes.revisions.terms())

"""What people hold fixed: pins give a role one arm, freezes keep the learner from moving it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from collector.auditlog import Deed, append
from collector.desk import Desk, Transaction
from collector.refusals import Refusal
from learning.revision import parse_arm
from telemetry.records import Arm

EVERY_ROLE: Final = "*"
PIN_DAYS_MAX: Final = 90
DAY_NS: Final = 86_400_000_000_000
CLOCK: Final = "expiry"  # who ends a hold whose time is over

Kind = Literal["pin", "freeze"]

_ALL: Final = "SELECT * FROM holds ORDER BY kind, role"
_PUT: Final = """
INSERT OR REPLACE INTO holds VALUES ($kind, $role, $arm, $owner, $reason, $since_ns, $until_ns)
"""
_DROP: Final = "DELETE FROM holds WHERE kind = $kind AND role = $role"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """One pin or freeze; ``role`` "*" freezes all roles, ``until_ns`` None has no end."""

    kind: Kind
    role: str
    arm: str | None  # tier/on_fail, of a pin
    owner: str
    reason: str
    since_ns: int
    until_ns: int | None

    def holds_at(self, now_ns: int) -> bool:
        """Say whether it is not over at ``now_ns``."""
        return self.until_ns is None or now_ns < self.until_ns

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def holds(change: Desk | Transaction) -> list[Hold]:
    """Return all holds, those included whose time is over but whose end is not written yet."""
    return [Hold(**row) for row in change.rows(_ALL)]


def pins_at(found: Iterable[Hold], now_ns: int) -> dict[str, Arm]:
    """Return the arm of every role that is pinned at ``now_ns``."""
    return {
        hold.role: parse_arm(hold.arm)
        for hold in found
        if hold.arm is not None and hold.holds_at(now_ns)
    }


def frozen_at(found: Iterable[Hold], now_ns: int) -> frozenset[str]:
    """Return the roles that are frozen at ``now_ns``; "*" stands for all."""
    return frozenset(hold.role for hold in found if hold.kind == "freeze" and hold.holds_at(now_ns))


def put(change: Transaction, hold: Hold, deed: Deed) -> None:
    """Hold a role, in place of an earlier hold of the same kind, and write it in the audit log."""
    former = find(change, hold.kind, hold.role)
    change.run(_PUT, hold.plain())
    append(
        change, deed, action=hold.kind, subject=hold.role,
        before=None if former is None else former.plain(), after=hold.plain(),
    )  # fmt: skip


def drop(change: Transaction, kind: Kind, deed: Deed, *, role: str) -> None:
    """End a hold, and write it in the audit log.

    Raises:
        Refusal: there is none.
    """
    former = find(change, kind, role)
    if former is None:
        held = "pinned" if kind == "pin" else "frozen"
        what = "all roles together are not" if role == EVERY_ROLE else f"role {role!r} is not"
        raise Refusal("not_held", f"{what} {held}", hint="`tierwise policy list` shows the holds")
    change.run(_DROP, {"kind": kind, "role": role})
    action = "unpin" if kind == "pin" else "thaw"
    append(change, deed, action=action, subject=role, before=former.plain(), after=None)


def drop_expired(change: Transaction, now_ns: int) -> list[Hold]:
    """End the holds whose time is over and return them."""
    over = [hold for hold in holds(change) if not hold.holds_at(now_ns)]
    deed = Deed(actor=CLOCK, at_ns=now_ns, reason="its time is over")
    for hold in over:
        drop(change, hold.kind, deed, role=hold.role)
    return over


def find(change: Transaction, kind: Kind, role: str) -> Hold | None:
    """Return one hold, or None."""
    return next((one for one in holds(change) if (one.kind, one.role) == (kind, role)), None)

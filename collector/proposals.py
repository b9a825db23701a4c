"""The learner's proposal while it waits for a person: when another takes its place, and when none.

Evidence arrives with every tick, and a reviewer reads for longer than that. So a proposal stands
until approving it would be wrong, or until something clearly different is aimed at; its figures
stay those of the tick that made it, and the preview at approval is what proves it on fresh data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collector import revision_book
from collector.auditlog import Deed
from collector.desk import Transaction
from collector.planning import Plan, current_of
from collector.preview import SLACK
from collector.revision_book import DECLARED, LEARNER, Record, Status
from learning.gate import MOVE_MIN, Block, moved_share
from learning.revision import Revision
from learning.tally import Floats

NEWS_MIN: Final = 0.10  # of some cell's steps: less than that apart two proposals say the same
STANDS_NS: Final = 3_600_000_000_000  # how long one is left to its readers if it stays safe
# Of a rebased one's note: the name it was made under, and since when it can be read.
FIRST: Final = "first"
SINCE: Final = "since_ns"
_HELD: Final = frozenset({Block.FROZEN, Block.QUALITY_DISARMED, Block.COST_DISARMED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What a proposal has to follow on: what is in force at ``now_ns``, under which policy."""

    now_ns: int
    active: str
    policy_hash: str


def waiting(change: Transaction) -> Record | None:
    """Return the learner's newest proposal that nobody has decided on."""
    found = revision_book.open_of(change, LEARNER)
    return found[-1] if found else None


def withdraw(change: Transaction, record: Record, *, reason: str, now_ns: int) -> None:
    """Take the learner's own proposal out of the queue, with the reason in the audit log.

    What somebody has decided on it since it was read holds.
    """
    record = revision_book.known(change, record.id)
    if record.status is Status.PROPOSED:
        deed = Deed(actor=LEARNER, at_ns=now_ns, reason=reason)
        revision_book.move(change, record, deed, to=Status.SUPERSEDED, action="withdraw")


def first(record: Record) -> str:
    """Return the name that a proposal was made under, before it was rebased."""
    return str(record.note.get(FIRST, record.id))


def since_ns(record: Record) -> int:
    """Return since when people can read a proposal; rebasing gives it no new hour."""
    if SINCE in record.note and record.status_ns == record.created_ns:
        return int(record.note[SINCE])
    return record.status_ns


def rested(record: Record, *, now_ns: int) -> bool:
    """Say whether people had ``STANDS_NS`` to read a proposal since it came into the queue."""
    return now_ns - since_ns(record) >= STANDS_NS


def successor(change: Transaction, record: Record) -> str | None:
    """Return the name under which a rebased proposal waits by now; None if it does not."""
    waits = None if record.status is not Status.SUPERSEDED else waiting(change)
    return waits.id if waits is not None and first(waits) == first(record) else None


def outdated(
    record: Record, plans: Sequence[Plan], *, news: Revision | None, at: Moment
) -> str | None:
    """Say why a proposal that waits should not be approved by now; None when it may be.

    ``news`` is what would be proposed now.
    """
    revision = record.revision
    parent = revision.parent or DECLARED
    if parent != at.active:
        return f"it follows on {parent}, but {at.active} is in force"
    if revision.policy_hash != at.policy_hash:
        return "it was made under another policy"
    why = _unsafe(revision, plans)
    if why is None and news is None:
        changed = differs(revision, plans, rested=rested(record, now_ns=at.now_ns))
        why = "by now something else is aimed at" if changed else None
    return why


def differs(proposal: Revision, plans: Iterable[Plan], *, rested: bool) -> bool:
    """Say whether what is aimed at by now is other than what was proposed, by more than noise.

    That is ``NEWS_MIN`` of some cell's steps, once the proposal has ``rested`` or while the role's
    quality alert fires; and at any time a cell that it moves to cheaper arms and that should go to
    dearer ones.
    """
    for plan in _asking(plans):
        mix, fresh = current_of(proposal, plan.aim, scope=plan.scope), _fresh(plan)
        due = rested or Block.UNSAFE in plan.passed.blocks
        for row in range(len(mix)):
            if due and moved_share(mix[row], fresh[row]) >= NEWS_MIN:
                return True
            if _falls(plan, mix, row) and _rises(plan, fresh, row):
                return True
    return False


def _unsafe(proposal: Revision, plans: Iterable[Plan]) -> str | None:
    """Say why a proposal is no longer safe to approve; None when it is as safe as it was.

    It is not once a lower bound that cleared the floor when it was made lies more than ``SLACK``
    under it, and while the quality alert of a role fires whose steps it moves to cheaper arms.
    """
    for plan in _asking(plans):
        rows = [row for row, cell in enumerate(plan.aim.cells) if cell in proposal.evidence]
        if not rows:
            continue
        mix = current_of(proposal, plan.aim, scope=plan.scope)
        figures = proposal.evidence[plan.aim.cells[rows[0]]]
        _, lower = plan.aim.quality(mix)
        cleared = _clears(figures["quality_lower"], floor=figures["floor"])
        if cleared and not _clears(lower, floor=plan.aim.floor):
            return (
                f"by now quality of {plan.scope.role} is proven to be at least {lower:.3f} only, "
                f"under its floor of {plan.aim.floor:g}"
            )
        if Block.UNSAFE in plan.passed.blocks and any(_falls(plan, mix, row) for row in rows):
            return f"the quality alert of {plan.scope.role} fires"
    return None


def _asking(plans: Iterable[Plan]) -> Iterable[Plan]:
    return (plan for plan in plans if plan.declared.learn == "propose")


def _fresh(plan: Plan) -> Floats:
    """What would be proposed by now (cells, arms); where guards alone hold a cell, its aim."""
    if not plan.passed.blocks & _HELD:
        return plan.passed.shares
    moved = np.isin(np.arange(len(plan.current)), plan.passed.moved)
    return np.where(moved[:, None], plan.passed.shares, plan.aim.shares)


def _clears(lower: float, *, floor: float) -> bool:
    """Aims lie on the floor itself, so what only touches it counts as the preview counts it."""
    return lower >= floor - SLACK


def _falls(plan: Plan, mix: Floats, row: int) -> bool:
    """Whether a mix moves a cell to cheaper arms than serve it now."""
    return _moves(plan, mix, row) and _dearer_usd(plan, mix, row) < 0.0


def _rises(plan: Plan, mix: Floats, row: int) -> bool:
    return _moves(plan, mix, row) and _dearer_usd(plan, mix, row) > 0.0


def _moves(plan: Plan, mix: Floats, row: int) -> bool:
    return moved_share(plan.current[row], mix[row]) >= MOVE_MIN


def _dearer_usd(plan: Plan, mix: Floats, row: int) -> float:
    return float((mix[row] - plan.current[row]) @ plan.aim.running_usd[row])

"""How a change takes place: whole, once, on the base it was made for, and in the audit log.

A change names what it was made for (``base``) and is refused when something else is in force by
then; of two that were made for the same base one takes place. A change that comes again under its
key gets the answer of the first time.
"""

from collections.abc import Callable
from typing import Any

from collector import answers
from collector.answers import Answer, Ask
from collector.auditlog import Deed
from collector.desk import Transaction
from collector.refusals import Refusal
from collector.revisions import Revisions, active_in
from learning.standing import decided

Do = Callable[[Transaction, Deed], dict[str, Any]]


class Changes:
    """The only way by which people change what is in force; safe to use from any thread."""

    def __init__(self, revisions: Revisions) -> None:
        self.revisions = revisions

    def make(self, ask: Ask, do: Do, *, reason: str | None) -> Answer:
        """Do it in one transaction, with its row in the audit log and its answer kept.

        Raises:
            Refusal: its base is missing or stale, its key came with another request, or ``do``
                refuses.
        """
        now_ns = self.revisions.clock.now_ns()
        with self.revisions.desk.transaction() as change:
            earlier = answers.earlier(change, ask)
            if earlier is not None:
                return earlier
            self._refuse_base(change, ask)
            body = do(change, Deed(actor=ask.person, at_ns=now_ns, reason=reason))
            found, _ = active_in(change, now_ns)
            body |= {"active": found.name, "etag": found.standing.etag}
            answers.keep(change, ask, body, now_ns)
        self.revisions.wake()
        return Answer(body=body)

    def earlier(self, ask: Ask) -> Answer | None:
        """Return the answer of the first time; refuse a stale base before anything is computed."""
        with self.revisions.desk.transaction() as change:
            earlier = answers.earlier(change, ask)
            if earlier is None:
                self._refuse_base(change, ask)
            return earlier

    def _refuse_base(self, change: Transaction, ask: Ask) -> None:
        found, _ = active_in(change, self.revisions.clock.now_ns())
        named = [tag.strip() for tag in (ask.base or "").split(",") if tag.strip()]
        if not named or "*" in named:
            raise Refusal(
                "missing_base",
                "If-Match must name what the change was made for",
                hint=f"the ETag of /api/policy/active, or the revision's base in quotes, "
                f'such as "{found.name}"',
            )
        made_for = {decided(tag) for tag in named}
        if not made_for & {decided(found.standing.etag), f'"{found.name}"'}:
            raise Refusal(
                "stale_base",
                f"{found.name} is in force by now, not what this was made for",
                hint="look at the present difference and decide again",
            )

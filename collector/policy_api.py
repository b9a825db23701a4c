"""The routes by which the policy's revisions are read."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from collector import auditlog, holds, revision_book
from collector.access import TOKEN, Access
from collector.diffs import difference
from collector.proposals import successor
from collector.recent_steps import STEPS_DEFAULT, STEPS_MAX, recent_steps
from collector.refusals import Refusal
from collector.review import Review
from collector.revision_book import DECLARED, OPEN, Record, Status
from collector.revisionfile import rendered
from collector.revisions import Revisions
from collector.store import Store
from learning.revision import Revision

WAIT_SECONDS_MAX: Final = 30.0
ACTIVE: Final = "active"  # what is in force, wherever a revision is named

Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX)]
Limit = Annotated[int, Query(ge=1, le=1_000)]
Before = Annotated[int | None, Query(ge=0, lt=2**63)]
Steps = Annotated[int, Query(ge=1, le=STEPS_MAX)]
Name = Annotated[str, Query(min_length=1, max_length=64)]


def active_routes(revisions: Revisions, *, access: Access) -> APIRouter:
    """Return the route by which gateways learn what to decide by."""
    routes = APIRouter()

    @routes.get("/api/policy/active")
    async def active(request: Request, wait: Wait = 0.0) -> Response:
        shown = request.headers.get("authorization", "").encode()
        if not access.allows(shown) and not (access.keyed and access.person(shown)):
            raise Refusal(
                "unknown_key",
                "this is neither the collector's token nor a key",
                hint=TOKEN,
            )
        # The comparison is a weak one: a proxy may have marked the tag as weak.
        known = request.headers.get("if-none-match", "").strip().removeprefix("W/")
        found = await revisions.wait_async(known, seconds=wait if known else 0.0)
        headers = {"etag": found.standing.etag, "cache-control": "no-cache"}
        if found.standing.etag == known:
            return Response(status_code=304, headers=headers)
        return Response(found.standing.text, media_type="application/json", headers=headers)

    return routes


def policy_routes(revisions: Revisions, *, review: Review, book: "Book") -> APIRouter:
    """Return the routes by which people and programs look at revisions."""
    routes = APIRouter()

    @routes.get("/api/policy/revisions")
    def listed(
        limit: Limit = 50, status: Status | None = None, before: Before = None
    ) -> dict[str, Any]:
        return book.listed(limit=limit, status=status, before=before)

    @routes.get("/api/policy/revisions/{revision_id}")
    def one(revision_id: str) -> dict[str, Any]:
        return book.shown(revision_id)

    @routes.get("/api/policy/diff")
    def diff(
        after: Name = ACTIVE, before: Name = DECLARED, steps: Steps = STEPS_DEFAULT
    ) -> dict[str, Any]:
        return book.diff(before, after, steps=steps)

    @routes.get("/api/policy/preview")
    def preview(revision: Name, steps: Steps = STEPS_DEFAULT) -> dict[str, Any]:
        return review.preview(book.content(revision), steps=steps).plain()

    @routes.get("/api/policy/export")
    def export(revision: Name = ACTIVE, steps: Steps = STEPS_DEFAULT) -> dict[str, str]:
        return {"file": book.file(revision, steps=steps)}

    @routes.get("/api/policy/holds")
    def held() -> dict[str, Any]:
        return {"holds": book.holds()}

    @routes.get("/api/audit-log")
    def log(limit: Limit = 100, before: Before = None) -> dict[str, Any]:
        rows = auditlog.page(revisions.desk, limit=limit, before=before)
        following = rows[-1]["sequence"] if len(rows) == limit else None
        return {"rows": rows, "next_before": following}

    @routes.get("/api/audit-log/verify")
    def verified(head: Annotated[str | None, Query(max_length=100)] = None) -> dict[str, Any]:
        found = auditlog.verify(revisions.desk, noted=head)
        return {"whole": found.fault is None, "rows": found.rows, "head": found.head,
                "fault": found.fault}  # fmt: skip

    return routes


class Book:
    """What there is to read about revisions, as JSON values."""

    def __init__(self, revisions: Revisions, store: Store) -> None:
        self._revisions = revisions
        self._store = store

    @property
    def active(self) -> str:
        """What is in force: a revision's id, or `declared`."""
        return self._revisions.active().name

    def listed(self, *, limit: int, status: Status | None, before: int | None) -> dict[str, Any]:
        """Return a page of revisions, newest first, with what is in force and held now."""
        found = self._revisions.active()
        with self._revisions.desk.transaction() as change:
            records = revision_book.page(change, limit=limit, status=status, before=before)
        return {
            "active": found.name,
            "activated_ns": found.activated_ns,
            "rollout": found.standing.rollout,
            "etag": found.standing.etag,
            "holds": self.holds(),
            "revisions": [self._plain(record, found.name) for record in records],
            "next_before": records[-1].number if len(records) == limit else None,
        }

    def shown(self, name: str) -> dict[str, Any]:
        """Return one revision, whole.

        Raises:
            Refusal: there is none of that name.
        """
        record = self._record(name)
        with self._revisions.desk.transaction() as change:
            later = successor(change, record)
        return self._plain(record, self._revisions.active().name) | {
            "successor": later,
            "shares": {cell: dict(arms) for cell, arms in record.revision.shares.items()},
            "evidence": {cell: dict(facts) for cell, facts in record.revision.evidence.items()},
        }

    def diff(self, before: str, after: str, *, steps: int) -> dict[str, Any]:
        """Return what differs between two revisions, by name."""
        terms = self._revisions.terms()
        recent = () if terms is None else recent_steps(self._store, terms, limit=steps).steps
        old, new = self.content(before), self.content(after)
        return difference(old, new, terms=terms, steps=recent).plain()

    def file(self, name: str, *, steps: int) -> str:
        """Return a revision as a file for review, by name.

        Raises:
            Refusal: there is none of that name, or the declared policy is meant.
        """
        revision = self.content(name)
        if revision is None:
            raise Refusal(
                "unknown_revision",
                "the declared policy is in force: there is no revision to export",
                hint="policy.toml is its file",
            )
        terms = self._revisions.terms()
        recent = () if terms is None else recent_steps(self._store, terms, limit=steps).steps
        known = difference(None, revision, terms=terms, steps=recent)
        return rendered(revision, base=self._revisions.active().name, known=known)

    def content(self, name: str) -> Revision | None:
        """Return the revision of that name (`active` and `declared` included), None: declared."""
        if name == DECLARED:
            return None
        if name == ACTIVE:
            return self._revisions.active().standing.revision
        return self._record(name).revision

    def holds(self) -> list[dict[str, Any]]:
        """Return the pins and freezes that hold now."""
        now_ns = self._revisions.clock.now_ns()
        with self._revisions.desk.transaction() as change:
            return [hold.plain() for hold in holds.holds(change) if hold.holds_at(now_ns)]

    def _record(self, name: str) -> Record:
        wanted = self._revisions.active().name if name == ACTIVE else name
        with self._revisions.desk.transaction() as change:
            return revision_book.known(change, wanted)

    def _plain(self, record: Record, active: str) -> dict[str, Any]:
        """Return a record with what hinders its approval, if anything does."""
        terms = self._revisions.terms()
        stale = None
        if terms is not None and terms.policy_hash != record.revision.policy_hash:
            stale = "made under another policy"
        elif record.status in OPEN and (record.revision.parent or DECLARED) != active:
            stale = "another revision than its parent is in force"
        return record.plain() | {"stale": stale}

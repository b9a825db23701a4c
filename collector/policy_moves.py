"""The routes by which people change what the policy's learned side does."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from collector.access import Access
from collector.answers import Answer, Ask, key_of
from collector.guard import acting
from collector.holding import Holding
from collector.holds import PIN_DAYS_MAX
from collector.policy_api import Book
from collector.refusals import Refusal
from collector.review import Review
from collector.revision_book import DECLARED
from collector.revisionfile import RevisionFile, parsed
from learning.revision import Revision

FILE_CHARS_MAX = 4_194_304

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Named = Annotated[str, StringConstraints(min_length=1, max_length=200)]
File = Annotated[str, StringConstraints(min_length=1, max_length=FILE_CHARS_MAX)]
Rollout = Annotated[float, Field(gt=0, le=1)]
Days = Annotated[float, Field(gt=0, le=PIN_DAYS_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reasoned(_Body):
    """Why."""

    reason: Text


class MaybeReasoned(_Body):
    """Why, if there is anything to say."""

    reason: Text | None = None


class Proposed(Reasoned):
    """A revision, as its file."""

    file: File


class Approved(_Body):
    """How far, and why in spite of the preview."""

    override: Text | None = None
    rollout: Rollout | None = None


class Activated(Approved):
    """Which revision: by its id or as its file."""

    revision: Named | None = None
    file: File | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.revision is None) == (self.file is None):
            raise ValueError("exactly one of revision and file is needed")
        return self


class RolledBack(Reasoned):
    """Where to; the parent of what is in force when absent."""

    to: Named | None = None


class Frozen(Reasoned):
    """Which role, all when absent, and for how long, until thawed when absent."""

    role: Named | None = None
    days: Days | None = None


class Thawed(MaybeReasoned):
    """Which role; everything frozen when absent."""

    role: Named | None = None


class Pinned(Reasoned):
    """Which role, to which tier or tier/on_fail, for how long."""

    role: Named
    arm: Named
    days: Days


class Unpinned(MaybeReasoned):
    """Which role."""

    role: Named


def move_routes(review: Review, holding: Holding, book: Book, *, access: Access) -> APIRouter:
    """Return the routes of revisions and of holds."""
    routes = APIRouter()
    _add_decisions(routes, review, access)
    _add_course(routes, review, book, access)
    _add_holds(routes, holding, access)
    return routes


def _add_decisions(routes: APIRouter, review: Review, access: Access) -> None:
    @routes.post("/api/policy/propose")
    def propose(body: Proposed, request: Request) -> JSONResponse:
        file = parsed(body.file)
        ask = _ask(request, access, body, base=file.base)
        return _answered(review.propose(ask, file.revision, reason=body.reason))

    @routes.post("/api/policy/revisions/{revision_id}/approve")
    def approve(revision_id: str, body: Approved, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(
            review.approve(ask, revision_id, override=body.override, rollout=body.rollout)
        )

    @routes.post("/api/policy/revisions/{revision_id}/reject")
    def reject(revision_id: str, body: Reasoned, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(review.reject(ask, revision_id, reason=body.reason))

    @routes.post("/api/policy/revisions/{revision_id}/shadow")
    def shadow(revision_id: str, body: MaybeReasoned, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(review.shadow(ask, revision_id, reason=body.reason))


def _add_course(routes: APIRouter, review: Review, book: Book, access: Access) -> None:
    @routes.post("/api/policy/activate")
    def activate(body: Activated, request: Request) -> JSONResponse:
        file = None if body.file is None else parsed(body.file)
        base = None if file is None else _base(book, file)
        ask = _ask(request, access, body, base=base)
        revision = _known(book, str(body.revision)) if file is None else file.revision
        return _answered(
            review.activate(ask, revision, override=body.override, rollout=body.rollout)
        )

    @routes.post("/api/policy/rollback")
    def rollback(body: RolledBack, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(review.rollback(ask, to=body.to, reason=body.reason))


def _add_holds(routes: APIRouter, holding: Holding, access: Access) -> None:
    @routes.post("/api/policy/freeze")
    def freeze(body: Frozen, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(holding.freeze(ask, role=body.role, reason=body.reason, days=body.days))

    @routes.post("/api/policy/thaw")
    def thaw(body: Thawed, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(holding.thaw(ask, role=body.role, reason=body.reason))

    @routes.post("/api/policy/pin")
    def pin(body: Pinned, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(
            holding.pin(ask, role=body.role, arm=body.arm, reason=body.reason, days=body.days)
        )

    @routes.post("/api/policy/unpin")
    def unpin(body: Unpinned, request: Request) -> JSONResponse:
        ask = _ask(request, access, body)
        return _answered(holding.unpin(ask, role=body.role, reason=body.reason))


def _ask(request: Request, access: Access, body: BaseModel, *, base: str | None = None) -> Ask:
    """Return who asks for what; a file's own base stands in for a missing If-Match."""
    person = acting(request, access)
    stated = request.headers.get("if-match")
    return Ask(
        person=person.name,
        action=request.url.path,
        body=body.model_dump(),
        base=stated if stated is not None or base is None else f'"{base}"',
        key=key_of(request.headers),
    )


def _base(book: Book, file: RevisionFile) -> str:
    """Return a file's base; once its revision is in force, the same file again changes nothing."""
    return file.revision.revision_id if book.active == file.revision.revision_id else file.base


def _known(book: Book, name: str) -> Revision:
    found = book.content(name)
    if found is None:
        raise Refusal(
            "invalid_field",
            f"{DECLARED} is no revision",
            hint="`tierwise policy rollback --to declared` goes back to the declared policy",
        )
    return found


def _answered(answer: Answer) -> JSONResponse:
    body: dict[str, Any] = dict(answer.body)
    headers = {"etag": body["etag"]}
    if answer.again:
        headers["idempotency-replayed"] = "true"
    return JSONResponse(body, headers=headers)

"""The alerts' part of the console's API: what stands, what is armed, silences, explanations."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from collector import answers, auditlog, silences
from collector.access import LOCAL, Access
from collector.alerts import ledger
from collector.alerts.engine import Alerts, NoAlert
from collector.alerts.explaining import NoRule, explain
from collector.alerts.groups import groups
from collector.alerts.raised import raised_roles
from collector.answers import Answer, Ask, key_of
from collector.armed import Armory
from collector.auditlog import Deed
from collector.desk import Desk
from collector.fitting import refuse_unknown
from collector.guard import acting
from collector.refusals import envelope
from collector.store import Store
from telemetry.clock import Clock
from telemetry.errors import ApiError
from telemetry.terms import Terms

HOUR_NS: Final = 3_600_000_000_000
HOURS_MAX: Final = 168.0

Words = Annotated[str, Field(min_length=1, max_length=1_000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Desks:
    """What the routes answer from."""

    alerts: Alerts
    armory: Armory
    desk: Desk
    store: Store
    terms: Callable[[], Terms | None]
    clock: Clock
    access: Access


class SilenceBody(BaseModel):
    """The body of ``POST /api/alerts/silences``."""

    model_config = ConfigDict(extra="forbid")

    matchers: dict[str, str]
    starts_ns: Annotated[int, Field(ge=0, lt=2**62)] | None = None  # now
    ends_ns: Annotated[int, Field(ge=0, lt=2**62)] | None = None
    hours: Annotated[float, Field(gt=0, le=HOURS_MAX)] | None = None  # in place of ends_ns
    author: str = ""
    comment: str = ""


class AckBody(BaseModel):
    """The body of ``POST /api/alerts/{fingerprint}/ack``."""

    model_config = ConfigDict(extra="forbid")

    author: str = ""
    comment: Words


def alert_routes(parts: Desks) -> APIRouter:
    """Return the routes under ``/api/alerts``."""
    routes = APIRouter()
    _add_readings(routes, parts)
    _add_silences(routes, parts)
    _add_ends(routes, parts)
    _add_details(routes, parts)
    return routes


def _add_readings(routes: APIRouter, parts: Desks) -> None:
    @routes.get("/api/alerts")
    def listed(
        request: Request,
        state: Annotated[str | None, Query(max_length=20)] = None,
        role: Annotated[str | None, Query(max_length=200)] = None,
        group_by: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        standing = ledger.read(parts.desk).values()
        refuse_unknown(role, parts.terms(), seen={alert.role or "" for alert in standing})
        found = [
            alert
            for alert in standing
            if state in (None, alert.standing.state.value) and role in (None, alert.role)
        ]
        found.sort(key=lambda alert: (alert.name, alert.role or "", alert.fingerprint))
        body: dict[str, Any] = {"alerts": [alert.plain() for alert in found]}
        if group_by is not None:
            body["groups"] = groups(found, by=tuple(group_by.split(",")))
        return _tagged(request, body)

    @routes.get("/api/alerts/armed")
    def armed(role: Annotated[str | None, Query(max_length=200)] = None) -> dict[str, Any]:
        now_ns = parts.clock.now_ns()
        sides = parts.armory.every(now_ns)
        if role is not None:
            refuse_unknown(role, parts.terms())
            sides = list(parts.armory.sides(role, now_ns))
        return {
            "armed": bool(sides) and all(side.armed for side in sides),
            "unsafe_roles": sorted(parts.armory.unsafe_roles()),
            "graded_roles": sorted(raised_roles(parts.desk)),
            "sides": [side.plain() for side in sides],
        }

    @routes.get("/api/alerts/explain/{name}")
    def explained(name: str, role: Annotated[str | None, Query(max_length=200)] = None) -> Response:
        refuse_unknown(role, parts.terms())
        try:
            body = explain(parts.store, parts.desk, parts.terms(), name=name, role=role)
        except NoRule as error:
            return _refusal(404, "not_found", error)
        return JSONResponse(body)


def _add_silences(routes: APIRouter, parts: Desks) -> None:
    @routes.get("/api/alerts/silences")
    def listed() -> dict[str, Any]:
        now_ns = parts.clock.now_ns()
        return {"silences": [one.plain(now_ns) for one in silences.all_of(parts.desk)]}

    @routes.post("/api/alerts/silences", status_code=201)
    def made(request: Request, body: SilenceBody) -> Response:
        person = acting(request, parts.access)
        now_ns, terms = parts.clock.now_ns(), parts.terms()
        starts_ns = now_ns if body.starts_ns is None else body.starts_ns
        ends_ns = body.ends_ns
        if ends_ns is None:
            hours = 0.0 if body.hours is None else body.hours  # without an end it is refused
            ends_ns = starts_ns + int(hours * HOUR_NS)
        asked = silences.Asked(
            matchers=body.matchers,
            starts_ns=starts_ns,
            ends_ns=ends_ns,
            author=body.author if person.name == LOCAL else person.name,
            comment=body.comment,
        )
        days = 7.0 if terms is None else terms.alerts.silence_days_max
        ask = _ask(request, person.name, body.model_dump())
        try:
            with parts.desk.transaction() as change:
                earlier = answers.earlier(change, ask)
                if earlier is not None:
                    return _again(earlier, status=201)
                silence = silences.checked(asked, now_ns=now_ns, days_max=days)
                silences.put(change, silence)
                deed = Deed(actor=silence.author, at_ns=now_ns, reason=silence.comment)
                after = silence.plain(now_ns)
                auditlog.append(
                    change, deed, action="silence", subject=silence.id, before=None, after=after
                )
                answers.keep(change, ask, after, now_ns)
        except silences.BadSilence as error:
            return _refusal(422, "invalid_field", error)
        return JSONResponse(silence.plain(now_ns), status_code=201)


def _add_ends(routes: APIRouter, parts: Desks) -> None:
    @routes.delete("/api/alerts/silences/{silence_id}")
    def ended(request: Request, silence_id: str) -> Response:
        person = acting(request, parts.access)
        now_ns = parts.clock.now_ns()
        ask, answer = _ask(request, person.name, {}), {"ended": silence_id}
        with parts.desk.transaction() as change:
            earlier = answers.earlier(change, ask)
            if earlier is not None:
                return _again(earlier)
            found = silences.end(change, silence_id, now_ns)
            if found:
                answers.keep(change, ask, answer, now_ns)
                deed = Deed(actor=person.name, at_ns=now_ns)
                auditlog.append(
                    change, deed, action="unsilence", subject=silence_id, before=None, after=None
                )
        if not found:
            error = NoAlert(
                f"no silence {silence_id[:64]!r} is in force",
                hint="GET /api/alerts/silences lists those that are",
            )
            return _refusal(404, "not_found", error)
        return JSONResponse(answer)


def _add_details(routes: APIRouter, parts: Desks) -> None:
    @routes.get("/api/alerts/{fingerprint}")
    def shown(request: Request, fingerprint: str) -> Response:
        alert = ledger.read(parts.desk).get(fingerprint)
        history = ledger.history(parts.desk, fingerprint)
        if alert is None and not history:
            error = NoAlert(
                f"no alert has the fingerprint {fingerprint[:64]!r}",
                hint="`tierwise alerts list` shows the fingerprints",
            )
            return _refusal(404, "not_found", error)
        body = {"alert": None if alert is None else alert.plain(), "transitions": history}
        return _tagged(request, body)

    @routes.post("/api/alerts/{fingerprint}/ack")
    def acknowledged(request: Request, fingerprint: str, body: AckBody) -> Response:
        person = acting(request, parts.access)
        author = body.author.strip()[:200] if person.name == LOCAL else person.name
        now_ns = parts.clock.now_ns()
        ask = _ask(request, person.name, body.model_dump())
        with parts.desk.transaction() as change:
            earlier = answers.earlier(change, ask)
        if earlier is not None:
            return _again(earlier)
        try:
            alert = parts.alerts.acknowledge(
                fingerprint,
                author=author or person.name,
                comment=body.comment,
                now_ns=now_ns,
                also=lambda change, known: answers.keep(change, ask, known.plain(), now_ns),
            )
        except NoAlert as error:
            return _refusal(404, "not_found", error)
        return JSONResponse(alert.plain())


def _ask(request: Request, person: str, body: dict[str, Any]) -> Ask:
    """Return who asks for what. No base: a silence and an alert are named, not what is in force."""
    action = f"{request.method} {request.url.path}"
    return Ask(person=person, action=action, body=body, key=key_of(request.headers))


def _again(answer: Answer, *, status: int = 200) -> Response:
    headers = {"idempotency-replayed": "true"}
    return JSONResponse(dict(answer.body), status_code=status, headers=headers)


def _tagged(request: Request, body: dict[str, Any]) -> Response:
    """Return ``body`` with its ETag, or 304 to whoever has it already."""
    content = json.dumps(body).encode()
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match", "").strip() == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _refusal(status: int, code: str, error: ApiError) -> Response:
    return JSONResponse(envelope("invalid_request", code, error), status_code=status)

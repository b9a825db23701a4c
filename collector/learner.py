"""The learner's tick: outcomes to detectors, evidence to aims, aims through the gate to a revision.

What a tick costs depends on how much came since the last one and on how many cells, chains and
hours there are, not on how many calls there ever were.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from collector.desk import Desk
from collector.evidence import Archive, Scope, declared_of, rolled_up_ns, scope_of
from collector.learner_state import (
    Alarm,
    Carried,
    Memory,
    alarms,
    fact,
    read,
    set_fact,
    write,
)
from collector.learner_words import says
from collector.meters import Meters
from collector.planning import Plan, Planner, current_of, describe, gated
from collector.proposals import Moment
from collector.proposing import Queue
from collector.refusals import Refusal
from collector.revision_book import LEARNER
from collector.revisions import Active, Revisions
from collector.role_cases import case_of, obstacle
from collector.store import Store
from collector.watching import SETTLE_NS, watch
from learning.gate import Limits
from learning.revision import Revision
from telemetry.terms import Armed, Terms

SUBMITTED: Final = "learner.submitted"
ALARMS_SHOWN: Final = 50
EVERY_ROLE: Final = "*"

log = logging.getLogger("tierwise.collector")


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """What keeps a role from moving: which alerts are armed, and which roles are unsafe now."""

    armed: Callable[[str, int], Armed]
    unsafe: Callable[[], frozenset[str]]


class Learner:
    """Ticks from one thread at a time; the report may be read from any."""

    def __init__(
        self,
        *,
        desk: Desk,
        store: Store,
        revisions: Revisions,
        terms: Callable[[], Terms | None],
        guards: Guards,
        meters: Meters,
    ) -> None:
        self._desk = desk
        self._store = store
        self._revisions = revisions
        self._terms = terms
        self._guards = guards
        self._meters = meters
        self._planner = Planner()
        self._queue = Queue(desk, meters)
        self._lock = threading.Lock()
        self._report: dict[str, Any] = {"at_ns": None, "roles": []}

    @property
    def report(self) -> dict[str, Any]:
        """What the last tick found, plain; see docs/learning.md."""
        return self._report

    def tick(self, now_ns: int) -> None:
        """Learn from what is new, and put in force or propose what follows from it."""
        clock = self._revisions.clock
        began = clock.monotonic()
        self.look(now_ns)
        self._meters.learner_seconds.observe(clock.monotonic() - began)

    def look(self, now_ns: int, *, dry: bool = False) -> dict[str, Any]:
        """Do what a tick does and return the report; ``dry`` changes nothing anywhere."""
        with self._lock:
            terms = self._terms()
            if terms is None:
                return {"at_ns": now_ns, "roles": [], "trouble": "the collector has no policy"}
            newest = rolled_up_ns(self._store)
            memory, trouble = read(self._desk, newest_ns=newest)
            if trouble is not None:
                log.error("%s; it is rebuilt from the store", trouble)
            until = max(min(newest, now_ns - SETTLE_NS), 0)
            seen = watch(self._store, memory, terms=terms, now_ns=now_ns, until_ns=until)
            memory = replace(seen.memory, rebuilding=not seen.caught_up and memory.rebuilding)
            tick = _Tick(self, terms, memory, now_ns)
            tick.plan()
            statuses = {} if dry else self._submit(tick)
            if not dry:
                with self._desk.transaction() as change:
                    write(change, tick.memory, list(seen.alarms))
                for alarm in seen.alarms:
                    self._meters.learner_alarms.labels(alarm.change.value).inc()
                    log.warning("%s %s: %s", alarm.scope, alarm.tier, alarm.change.value)
            rose = list(reversed(seen.alarms)) if dry else []
            report = tick.report(
                statuses, alarms=rose + alarms(self._desk, limit=ALARMS_SHOWN), trouble=trouble
            )
            if not dry:
                self._report = report
            return report

    def _submit(self, tick: "_Tick") -> dict[str, str]:
        """Hand in what may be served at once and what a person must agree to."""
        statuses: dict[str, str] = {}
        acting = tick.revision(acting=True)
        if acting is not None:
            status = self._hand_in(acting, tick, activate=True)
            statuses[acting.revision_id] = status
            if status == "active":
                tick.acted()
                at = replace(tick.moment, active=self._revisions.active().name)
                statuses |= self._queue.follow(at)
        if acting is None and not tick.memory.rebuilding:
            statuses |= self._propose(tick)
        return statuses

    def _hand_in(self, revision: Revision, tick: "_Tick", *, activate: bool) -> str:
        try:
            status = self._revisions.submit(
                revision,
                author=LEARNER,
                trigger=tick.trigger,
                now_ns=tick.now_ns,
                activate=activate,
                note=tick.note(),
            )
        except Refusal as refusal:
            log.info("revision %s was not taken: %s", revision.revision_id, refusal)
            status = refusal.code
        else:
            with self._desk.transaction() as change:
                set_fact(change, SUBMITTED, revision.revision_id)
        self._meters.learner_revisions.labels(status).inc()
        return status

    def _propose(self, tick: "_Tick") -> dict[str, str]:
        """Withdraw what should no longer be approved, and propose what is news to people."""
        proposal = tick.revision(acting=False)
        waits, statuses = self._queue.kept(tick.plans, news=proposal, at=tick.moment)
        if proposal is not None and self._queue.is_news(
            proposal, tick.plans, waits=waits, at=tick.moment
        ):
            statuses[proposal.revision_id] = self._hand_in(proposal, tick, activate=False)
            self._queue.made(proposal)
        return statuses


class _Tick:
    """One tick's plans, from which its revisions and its report are made."""

    def __init__(self, learner: Learner, terms: Terms, memory: Memory, now_ns: int) -> None:
        self._learner = learner
        self.terms = terms
        self.memory = memory
        self.now_ns = now_ns
        self.active: Active = learner._revisions.active()
        self.plans: list[Plan] = []
        self.idle: dict[Scope, str] = {}
        self.armed: dict[str, Armed] = {}
        self._by_people = self._set_by_people()
        splits = [since for each in memory.scopes.values() for since in each.since.values()]
        self._archive = Archive(learner._store, terms=terms, now_ns=now_ns, splits=splits)

    @property
    def _stale(self) -> bool:
        """Whether the revision in force was made under another policy."""
        standing = self.active.standing.revision
        return standing is not None and standing.policy_hash != self.terms.policy_hash

    @property
    def moment(self) -> Moment:
        """What a proposal has to follow on."""
        return Moment(
            now_ns=self.now_ns, active=self.active.name, policy_hash=self.terms.policy_hash
        )

    @property
    def trigger(self) -> str:
        """Why a revision is handed in, in one word."""
        if any(plan.passed.moved and plan.carried.demoted for plan in self.plans):
            return "alarm"
        return "evidence" if any(plan.passed.moved for plan in self.plans) else "policy"

    def plan(self) -> None:
        """Plan every scope of the policy."""
        unsafe = self._learner._guards.unsafe()
        scopes = dict(self.memory.scopes)
        for scope in self._archive.scopes():
            declared = declared_of(scope, self.terms)
            why = obstacle(declared, self.terms)
            if why is not None:
                self.idle[scope] = why
                continue
            carried = scopes.get(str(scope), Carried())
            carried = carried.moved_on(self._archive.versions(scope.role, carried.versions))
            carried = carried.ranging(declared.tiers)
            if not self._stale:
                carried = replace(carried, terms=repr(declared))
            scopes[str(scope)] = carried
            self.plans.append(self._planned(scope, carried, unsafe=scope.role in unsafe))
        known = {str(scope) for scope in self._archive.scopes()}
        kept = {name: carried for name, carried in scopes.items() if name in known}
        self.memory = replace(self.memory, scopes=kept)
        self._learner._planner.keep({plan.scope for plan in self.plans})

    def _planned(self, scope: Scope, carried: Carried, *, unsafe: bool) -> Plan:
        declared = declared_of(scope, self.terms)
        case = case_of(declared, self.terms, carried=carried)
        evidence = self._archive.of(scope, prefixes=case.arms.prefixes, carried=carried)
        case = case_of(
            declared,
            self.terms,
            carried=carried,
            usage=evidence.usage,
            conversations=evidence.conversations,
            canaries=evidence.canaries,
        )
        aimed = self._learner._planner.aim(scope, evidence, case)
        current = current_of(self.active.standing.revision, aimed, scope=scope)
        armed = self.armed.setdefault(
            scope.role, self._learner._guards.armed(scope.role, self.now_ns)
        )
        paced = declared.learn == "bounded"
        limits = Limits(
            acts=paced or declared.learn == "propose",
            paced=paced,
            quality_armed=armed.quality,
            cost_armed=armed.cost,
            frozen=bool(self.active.frozen & {scope.role, EVERY_ROLE}),
            unsafe=unsafe or self.memory.rebuilding,
            rested=self._rested(carried),
            step_max=self.terms.learning.step_max,
        )
        return Plan(
            scope=scope,
            declared=declared,
            evidence=evidence,
            carried=carried,
            case=case,
            aim=aimed,
            current=current,
            passed=gated(aimed, current=current, limits=limits),
        )

    def _rested(self, carried: Carried) -> bool:
        last = carried.cheaper_ns
        if self._by_people and self.active.activated_ns is not None:
            last = max(last, self.active.activated_ns)
        return self.now_ns - last >= self.terms.learning.dwell_seconds * 1e9

    def _set_by_people(self) -> bool:
        """Whether what is in force is not what the learner handed in last."""
        return fact(self._learner._desk, SUBMITTED) != self.active.name

    def revision(self, *, acting: bool) -> Revision | None:
        """Return what follows from the plans, or None when that is what is in force already.

        ``acting`` takes the roles that act by themselves, else those that propose.
        """
        standing = self.active.standing.revision
        before = {} if standing is None else dict(standing.shares)
        kept = {plan.scope: plan for plan in self.plans}
        shares = {cell: mix for cell, mix in before.items() if self._learns(cell, kept)}
        evidence: dict[str, Mapping[str, float]] = {}
        for plan in self.plans:
            if plan.passed.moved and (plan.declared.learn == "bounded") is acting:
                own = {cell for cell in shares if self._scope_of(cell) == plan.scope}
                shares = {cell: mix for cell, mix in shares.items() if cell not in own}
                shares.update(plan.shares())
                evidence.update(plan.figures())
        if shares == before and not (self._stale and acting):
            return None
        if not acting and not evidence:
            return None
        return Revision(
            policy_hash=self.terms.policy_hash,
            parent=None if standing is None else standing.revision_id,
            shares=shares,
            evidence=evidence,
        )

    def _learns(self, cell: str, plans: Mapping[Scope, Plan]) -> bool:
        """Whether what is served in a cell still holds under the policy.

        What a person agreed to does not, once the policy says something else of the role.
        """
        plan = plans.get(self._scope_of(cell))
        if plan is None or plan.declared.learn == "propose":
            return plan is not None and plan.carried.terms == repr(plan.declared)
        return plan.declared.learn == "bounded"

    def _scope_of(self, cell: str) -> Scope:
        return scope_of(cell, self.terms)

    def acted(self) -> None:
        """Remember that cheaper moves were made now."""
        moved = {
            str(plan.scope)
            for plan in self.plans
            if plan.passed.cheaper and plan.declared.learn == "bounded"
        }
        scopes = {
            name: replace(carried, cheaper_ns=self.now_ns) if name in moved else carried
            for name, carried in self.memory.scopes.items()
        }
        self.memory = replace(self.memory, scopes=scopes)

    def note(self) -> dict[str, Any]:
        """Return what a reviewer should know beside the figures."""
        moved = [plan for plan in self.plans if plan.passed.moved]
        return {
            "cells": sorted(cell for plan in moved for cell in plan.moved_cells),
            "cheaper": sorted(str(plan.scope) for plan in moved if plan.passed.cheaper),
            "dearer": sorted(str(plan.scope) for plan in moved if plan.passed.dearer),
            "demoted": {
                str(plan.scope): sorted(plan.carried.demoted)
                for plan in moved
                if plan.carried.demoted
            },
        }

    def report(
        self, statuses: Mapping[str, str], *, alarms: list[Alarm], trouble: str | None
    ) -> dict[str, Any]:
        """Return all of it, plain."""
        roles: list[dict[str, Any]] = []
        plans = {plan.scope: plan for plan in self.plans}
        for scope in self._archive.scopes():
            declared = declared_of(scope, self.terms)
            entry: dict[str, Any] = {
                "role": scope.role,
                "mode": scope.mode,
                "learn": declared.learn,
                "floor": declared.floor,
                "declared": str(declared.declared),
            }
            if scope in plans:
                armed = self.armed[scope.role]
                entry |= {"armed": {"cost": armed.cost, "quality": armed.quality}}
                entry |= describe(plans[scope])
            else:
                entry["idle"] = self.idle[scope]
            roles.append(entry | {"says": says(entry)})
        return {
            "at_ns": self.now_ns,
            "policy_hash": self.terms.policy_hash,
            "revision": self.active.name,
            "rebuilding": self.memory.rebuilding,
            "watched_to_ns": self.memory.cursor_ns,
            "trouble": trouble,
            "roles": roles,
            "submitted": dict(statuses),
            "alarms": [alarm.plain() for alarm in alarms],
            "left_out": self._archive.excess,
        }

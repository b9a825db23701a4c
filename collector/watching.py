"""Watching for change: outcomes that arrived, through every role's detectors, in order."""

from dataclasses import dataclass, replace
from typing import Final

from collector.evidence import (
    Archive,
    Outcome,
    Scope,
    declared_of,
    next_block,
    outcomes,
    sighted,
)
from collector.learner_state import Alarm, Carried, Memory
from collector.role_cases import case_of, learnable
from collector.rolling import DAY_NS
from collector.rollup_queries import NS
from collector.store import Store
from learning.rolewise import Case, Sighting, reference_means, tallied, watched
from learning.tally import Tally
from learning.watch import Watch
from telemetry.terms import Terms

SETTLE_NS: Final = 5_000_000_000  # a chain's spans and verdicts arrive within so long
BLOCKS_MAX: Final = 30  # per tick; more history is watched in the ticks after


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The memory after watching, the alarms that rose, and whether all that came was watched."""

    memory: Memory
    alarms: tuple[Alarm, ...]
    caught_up: bool


def watch(store: Store, memory: Memory, *, terms: Terms, now_ns: int, until_ns: int) -> Seen:
    """Watch what arrived since the memory's cursor, block by block, until ``until_ns``.

    A block's outcomes are compared with evidence from before it, so history that is watched again
    is judged by what was known at the time: whole minutes from the store's sums, and of the minute
    in which the block begins what arrived before it.
    """
    oldest = now_ns - terms.learning.history_days * DAY_NS
    if max(memory.cursor_ns, oldest) >= until_ns:
        return Seen(memory=memory, alarms=(), caught_up=True)
    memory = replace(memory, cursor_ns=max(memory.cursor_ns, oldest))
    alarms: list[Alarm] = []
    for _ in range(BLOCKS_MAX):
        end = next_block(store, after_ns=memory.cursor_ns, until_ns=until_ns)
        if end is None:
            memory = replace(memory, cursor_ns=until_ns)
            return Seen(memory=memory, alarms=tuple(alarms), caught_up=True)
        memory, rose = _block(store, memory, terms=terms, end_ns=end)
        alarms += rose
    return Seen(memory=memory, alarms=tuple(alarms), caught_up=False)


def _block(
    store: Store, memory: Memory, *, terms: Terms, end_ns: int
) -> tuple[Memory, list[Alarm]]:
    came: dict[Scope, list[Outcome]] = {}
    for each in outcomes(store, after_ns=memory.cursor_ns, until_ns=end_ns, terms=terms):
        came.setdefault(each.scope, []).append(each)
    if not came:
        return replace(memory, cursor_ns=end_ns), []
    minute = memory.cursor_ns // NS
    before: dict[Scope, list[Outcome]] = {}
    for each in outcomes(store, after_ns=minute * NS, until_ns=memory.cursor_ns, terms=terms):
        if each.minute >= minute:  # the sums of earlier minutes hold their late words already
            before.setdefault(each.scope, []).append(each)
    splits = [since for carried in memory.scopes.values() for since in carried.since.values()]
    archive = Archive(store, terms=terms, now_ns=end_ns, splits=splits, until_minute=minute)
    scopes, alarms = dict(memory.scopes), []
    for scope in archive.scopes():
        declared = declared_of(scope, terms)
        if scope not in came or not learnable(declared, terms):
            continue
        carried = scopes.get(str(scope), Carried())
        carried = carried.moved_on(archive.versions(scope.role, carried.versions))
        case = case_of(declared, terms, carried=carried)
        evidence = archive.of(scope, prefixes=case.arms.prefixes, carried=carried)
        known = evidence.trusted + _tally(before.get(scope, []), evidence.trusted, carried)
        carried, rose = _scope(came[scope], known, case, carried, at_ns=end_ns)
        scopes[str(scope)] = carried
        alarms += rose
    return replace(memory, cursor_ns=end_ns, scopes=scopes), alarms


def _tally(before: list[Outcome], like: Tally, carried: Carried) -> Tally:
    """Sum up outcomes of the versions that stand now, laid out as ``like``."""
    epochs: dict[int, list[Sighting]] = {}
    for each in before:
        path = each.sighting.prefix
        if each.version == carried.versions.get(path[-1]):
            epoch = carried.epoch(path, at_ns=each.at_ns)
            epochs.setdefault(epoch, []).append(sighted(each, like.cells))
    total = Tally(cells=like.cells, prefixes=like.prefixes)
    for epoch, seen in epochs.items():
        total += tallied(seen, cells=like.cells, prefixes=like.prefixes, epoch=epoch)
    return total


def _scope(
    came: list[Outcome], tally: Tally, case: Case, carried: Carried, *, at_ns: int
) -> tuple[Carried, list[Alarm]]:
    """Run every tier's detectors over a scope's outcomes."""
    known = reference_means(tally, case)
    watches: dict[str, Watch] = dict(carried.watches)
    alarms = []
    for tier in case.arms.tiers:
        version = carried.versions.get(tier)
        own = [
            each
            for each in came
            if each.sighting.prefix[-1] == tier
            and each.version == version
            and carried.counts(each.sighting.prefix, at_ns=each.at_ns)
        ]
        seen, origins = watched(
            [sighted(each, tally.cells) for each in own], tier=tier, cells=tally.cells, known=known
        )
        if not origins:
            continue
        watches[tier], alarm = watches.get(tier, Watch()).see(seen)
        if alarm is None or version is None:
            continue
        raised = own[origins[alarm.index]]
        carried = carried.alarmed(tier, alarm.change, at_ns=raised.at_ns)
        alarms.append(
            Alarm(
                at_ns=at_ns, scope=str(own[0].scope), tier=tier, version=version,
                change=alarm.change, minute=raised.minute,
            )
        )  # fmt: skip
    return replace(carried, watches=watches), alarms

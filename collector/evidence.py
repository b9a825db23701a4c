"""Evidence out of the store: tallies per role, versions that answer, outcomes as they came."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from collector import evidence_queries
from collector.conversations import conversations
from collector.evidence_verdicts import with_verdicts
from collector.learner_state import Carried
from collector.rolling import LATE_NS, SKEW_NS, evidence_bounds
from collector.rollup_queries import NS
from collector.store import Rows, Store
from learning.arms import Chain
from learning.canary import labels_used
from learning.rolewise import Sighting
from learning.switching import Conversations
from learning.tally import STATS, Floats, Stat, Tally
from telemetry.terms import RoleTerms, Terms

DAY_MINUTES: Final = 1_440
RECENT_MINUTES: Final = 2 * DAY_MINUTES  # evidence is told apart by the hour for so long
CELLS_MAX: Final = 12  # of one role; the busiest
CELL_ATTEMPTS_MIN: Final = 50.0  # a cell with fewer decisions teaches its role's common cell
TAKE_OVER: Final = 0.8  # share of a tier's last attempts that makes another version the current one
AGE_STEPS: Final = 10_000  # last steps in which conversations' lengths are counted
HOUR_NS: Final = 3_600_000_000_000
BLOCK_DECISIONS: Final = 1_000
REST_MINUTES: Final = 60  # so long after an alarm the rest of its minute is told apart
_ATTEMPT_SUMS: Final = (
    "attempts", "flagged", "delivered", "delivered_flagged", "tokens_in", "tokens_out",
    "tokens_cached", "seconds", "verdicts_usd",
)  # fmt: skip
_LABEL_SUMS: Final = ("labels", "shared", "w", "ww", "wq", "wqq")

Versions = Mapping[str, str]  # tier -> model as the policy names it @ version as returned


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Cells that are learned together: a role, or one of its modes that has terms of its own."""

    role: str
    mode: str | None

    def __str__(self) -> str:
        return f"{self.role}|{self.mode or ''}|"

    @property
    def fallback(self) -> str:
        """The cell of steps that have none of their own."""
        return str(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What one role's decisions taught, over the cells and prefixes of its programme.

    ``trusted`` rests on words with proof of who said them, ``all`` on every word. ``usage`` is the
    mean tokens (3,) of an attempt of each tier, whichever version; ``labels`` and ``shared`` count
    the words of ``all`` and those of them that were on whole tasks. ``conversations`` is what a
    change of model inside one loses, None when too few steps go on with one; ``canaries`` how many
    labels, of ``trusted``, each tier with a new model has had.
    """

    trusted: Tally
    all: Tally
    usage: Mapping[str, Floats]
    labels: float
    shared: float
    checks_only: bool
    conversations: Conversations | None = None
    canaries: Mapping[str, float] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether words without proof were counted in ``all``."""
        return self.all is not self.trusted


class Archive:
    """The store's evidence at one moment, read once for all roles."""

    def __init__(
        self, store: Store, *, terms: Terms, now_ns: int, splits: Iterable[int] = (),
        until_minute: int | None = None,
    ) -> None:  # fmt: skip
        """Read what happened within the policy's history, before ``until_minute`` if given."""
        now = now_ns // NS
        self._store, self._terms, self._now, self._splits = store, terms, now, sorted(set(splits))
        self._until = now + DAY_MINUTES if until_minute is None else until_minute
        self._recent = (now - RECENT_MINUTES) // DAY_MINUTES * DAY_MINUTES
        bound: dict[str, Any] = {
            "since": now - terms.learning.history_days * DAY_MINUTES,
            "until": self._until,
        }
        self._versions = store.read(evidence_queries.VERSIONS, bound)
        self.excess = store.read(evidence_queries.EXCESS, {"since": bound["since"]})
        bound |= {
            "recent": self._recent,
            "splits": self._splits,
            "cells": evidence_queries.CELLS_READ_MAX,
        }
        self._attempts = _by_scope(
            with_verdicts(
                store.read(evidence_queries.ATTEMPTS, bound),
                store.read(evidence_queries.PAID_VERDICTS, bound),
                tiers=terms.tiers,
            ),
            terms,
        )
        self._labels = _by_scope(store.read(evidence_queries.LABELLED, bound), terms)
        self._talks: dict[Scope, Rows] = {}
        named = {name: bound[name] for name in ("since", "recent", "until", "cells")}
        for row in store.read(evidence_queries.TALKS, named):
            self._talks.setdefault(scope_of(row["cell"], terms), []).append(row)
        self._ages: dict[Scope, Rows] = {}
        last = {"recent": bound["recent"], "until": bound["until"], "steps": AGE_STEPS}
        for row in store.read(evidence_queries.AGES, last) if self._talks else ():
            self._ages.setdefault(scope_of(row["cell"], terms), []).append(row)

    def scopes(self) -> list[Scope]:
        """Return the scopes of the policy, in its order."""
        return [Scope(role=each.role, mode=each.mode) for each in self._terms.roles]

    def versions(self, role: str, before: Versions) -> dict[str, str]:
        """Return which version stands for each tier of a role.

        A version stays until another has answered most (``TAKE_OVER``) of the tier's last
        attempts: a short failover is none, and of two that take turns the first one stays.
        """
        found: dict[str, str] = {}
        counts: dict[str, dict[str, int]] = {}
        for row in self._versions:
            if row["role"] == role:
                counts.setdefault(row["tier"], {})[row["version"]] = row["attempts"]
        for tier, seen in counts.items():
            best = max(seen, key=lambda version: (seen[version], version))
            known = before.get(tier)
            stays = known in seen and seen[best] < TAKE_OVER * sum(seen.values())
            found[tier] = known if known is not None and stays else best
        return {**before, **found}

    def of(self, scope: Scope, *, prefixes: tuple[Chain, ...], carried: Carried) -> Evidence:
        """Return a scope's evidence from attempts that the current versions answered."""
        versions = carried.versions
        attempts, graded = self._attempts.get(scope, []), self._labels.get(scope, [])
        for instant in set(carried.instants.values()):
            after = self._after(scope, instant)
            attempts = attempts + _moved(after[0], _ATTEMPT_SUMS, carried=carried, instant=instant)
            graded = graded + _moved(after[1], _LABEL_SUMS, carried=carried, instant=instant)
        current = [row for row in attempts if _current(row, versions)]
        words = [row for row in graded if _current(row, versions)]
        cells = _cells(current, scope)
        layout = _Layout(cells=cells, prefixes=prefixes, fallback=scope.fallback)
        base = layout.tally(current, [])
        learning = self._terms.learning
        checks_only = learning.checks_grade and not words and bool(current)
        if checks_only:
            trusted = whole = layout.tally(current, _graded_by_checks(current))
        elif learning.labels == "anyone":
            trusted = whole = layout.tally(current, words)
        else:
            proven = [row for row in words if row["authenticated"]]
            trusted = layout.tally(current, proven) if proven else base
            whole = layout.tally(current, words) if len(words) > len(proven) else trusted
        return Evidence(
            trusted=trusted,
            all=whole,
            usage=_usage(attempts),
            labels=float(sum(row["labels"] for row in words)),
            shared=float(sum(row["shared"] for row in words)),
            checks_only=checks_only,
            conversations=conversations(
                self._talks.get(scope, []),
                cells=cells,
                fallback=scope.fallback,
                ages=self._ages.get(scope, []),
            ),
            canaries={
                tier: float(used.sum())
                for tier, used in labels_used(
                    trusted, tiers=carried.canaries, since=carried.since
                ).items()
            },
        )

    def _after(self, scope: Scope, instant: int) -> tuple[Rows, Rows]:
        """Return the sums of what a scope decided after ``instant`` within its minute.

        Attempts and labels; nothing when that minute is not read, or an hour has passed: then the
        minutes since say enough.
        """
        minute = instant // NS
        if minute >= self._until or minute < self._now - REST_MINUTES:
            return [], []
        around = evidence_bounds(minute, minute + 1)
        bound = {"from": instant, "to": (minute + 1) * NS, "role": scope.role}
        bound |= {name: around[name] for name in ("calls_from", "calls_to")}
        attempts = with_verdicts(
            self._store.read(evidence_queries.REST_ATTEMPTS, bound),
            self._store.read(evidence_queries.REST_VERDICTS, bound),
            tiers=self._terms.tiers,
        )
        bound["words_from"] = around["words_from"]
        labels = self._store.read(evidence_queries.REST_LABELLED, bound)
        for row in (*attempts, *labels):
            row["epoch"] = self._epoch(minute)
        parts = [_by_scope(rows, self._terms).get(scope, []) for rows in (attempts, labels)]
        return parts[0], parts[1]

    def _epoch(self, minute: int) -> int:
        """Return the epoch that the sums of a minute are read in."""
        whole = 60 if minute >= self._recent else DAY_MINUTES
        return max([minute // whole * whole, *(each for each in self._splits if each <= minute)])


def _moved(rows: Rows, sums: tuple[str, ...], *, carried: Carried, instant: int) -> Rows:
    """Take sums out of the epoch of the minute that an alarm split, into the one after it.

    Only those of chains whose last alarm it was.
    """
    found: Rows = []
    for row in rows:
        if max(carried.instants.get(tier, 0) for tier in row["prefix"]) == instant:
            found.append({**row, "epoch": carried.epoch(row["prefix"], at_ns=instant + 1)})
            found.append({**row, **{name: -row[name] for name in sums}})
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One sighting with its decision's scope and time (unix ns), and who answered."""

    scope: Scope
    at_ns: int
    version: str
    sighting: Sighting

    @property
    def minute(self) -> int:
        """The minute of the decision."""
        return self.at_ns // NS


def next_block(store: Store, *, after_ns: int, until_ns: int) -> int | None:
    """Return the end of the next stretch of arrivals; None when nothing came.

    At most an hour and about ``BLOCK_DECISIONS`` decisions.
    """
    bound = {"from": after_ns, "to": until_ns}
    first = store.read(evidence_queries.NEXT_ARRIVAL, bound)[0]["at"]
    if first is None:
        return None
    bound = {"from": after_ns, "to": min(until_ns, first + HOUR_NS)}
    last = store.read(evidence_queries.LAST_OF_BLOCK, {**bound, "most": BLOCK_DECISIONS})
    return int(last[0]["at"]) if last else bound["to"]


def outcomes(store: Store, *, after_ns: int, until_ns: int, terms: Terms) -> list[Outcome]:
    """Return what arrived after one time and until another, in order of arrival."""
    bound: dict[str, Any] = {"from": after_ns, "to": until_ns, "oldest": after_ns - 4 * LATE_NS}
    span = store.read(evidence_queries.ARRIVED_RANGE, bound)[0]
    if span["low"] is None:
        return []
    bound |= {
        "calls_from": span["low"],
        "calls_to": span["high"] + HOUR_NS,
        "words_from": span["low"] - SKEW_NS,
        "anyone": terms.learning.labels == "anyone",
    }
    return [_outcome(row, terms) for row in store.read(evidence_queries.OUTCOMES, bound)]


def rolled_up_ns(store: Store) -> int:
    """Return up to which arrival words have found their decisions."""
    return int(store.read(evidence_queries.ROLLED_UP)[0]["value"])


def scope_of(cell: str, terms: Terms) -> Scope:
    """Return the scope that a cell (role|mode|kind) is learned in."""
    role, _, rest = cell.partition("|")
    mode = rest.rpartition("|")[0] or None
    found = terms.of(role, mode)
    return Scope(role=role, mode=None if found is None else found.mode)


def declared_of(scope: Scope, terms: Terms) -> RoleTerms:
    """Return what the policy declares for a scope of its own."""
    return next(each for each in terms.roles if (each.role, each.mode) == (scope.role, scope.mode))


def _outcome(row: Mapping[str, Any], terms: Terms) -> Outcome:
    return Outcome(
        scope=scope_of(row["cell"], terms),
        at_ns=row["start_ns"],
        version=row["served"].rpartition(">")[2],
        sighting=Sighting(
            cell=row["cell"],
            prefix=tuple(row["path"].split(">")),
            flagged=row["flagged"],
            fresh=row["fresh"],
            label=row["label"],
        ),
    )


def _by_scope(rows: Rows, terms: Terms) -> dict[Scope, Rows]:
    found: dict[Scope, Rows] = {}
    for row in rows:
        row["prefix"] = tuple(row["path"].split(">"))
        row["versions"] = row["served"].split(">")
        found.setdefault(scope_of(row["cell"], terms), []).append(row)
    return found


def _current(row: Mapping[str, Any], versions: Versions) -> bool:
    pairs = zip(row["prefix"], row["versions"], strict=True)
    return all(versions.get(tier) == version for tier, version in pairs)


def _cells(rows: Rows, scope: Scope) -> tuple[str, ...]:
    """The scope's busiest cells, and last the one that all others fall back to."""
    counts: dict[str, float] = {}
    for row in rows:
        if len(row["prefix"]) == 1:
            counts[row["cell"]] = counts.get(row["cell"], 0.0) + row["attempts"]
    counts.pop(scope.fallback, None)
    busy = sorted(counts, key=lambda cell: (-counts[cell], cell))[: CELLS_MAX - 1]
    return (*(cell for cell in busy if counts[cell] >= CELL_ATTEMPTS_MIN), scope.fallback)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Where a row's sums belong."""

    cells: tuple[str, ...]
    prefixes: tuple[Chain, ...]
    fallback: str

    def tally(self, attempts: Rows, labels: Rows) -> Tally:
        epochs: dict[int, Floats] = {}
        for row in attempts:
            sums = self._place(epochs, row)
            if sums is not None:
                sums[: Stat.FLAGGED + 1] += (row["attempts"], row["flagged"])
                sums[Stat.TOKENS_IN :] += (*_tokens(row), row["seconds"], row["verdicts_usd"])
        for row in labels:
            sums = self._place(epochs, row)
            if sums is not None:
                first = Stat.FAILED_W if row["flagged"] else Stat.PASSED_W
                sums[first : first + 4] += (row["w"], row["ww"], row["wq"], row["wqq"])
        return Tally(cells=self.cells, prefixes=self.prefixes, epochs=epochs)

    def _place(self, epochs: dict[int, Floats], row: Mapping[str, Any]) -> Floats | None:
        if row["prefix"] not in self.prefixes:
            return None  # a chain that the role's arms do not walk
        cell = row["cell"] if row["cell"] in self.cells else self.fallback
        shape = (len(self.cells), len(self.prefixes), STATS)
        sums = epochs.setdefault(int(row["epoch"]), np.zeros(shape))
        place: Floats = sums[self.cells.index(cell), self.prefixes.index(row["prefix"])]
        return place


def _graded_by_checks(rows: Rows) -> Rows:
    """Labels as the checks give them: what they pass is good, what they fail is not."""
    found = []
    for row in rows:
        good, bad = row["delivered"] - row["delivered_flagged"], row["delivered_flagged"]
        found.append({**row, "flagged": False, "w": good, "ww": good, "wq": good, "wqq": good})
        found.append({**row, "flagged": True, "w": bad, "ww": bad, "wq": 0.0, "wqq": 0.0})
    return found


def _tokens(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Input tokens, cached ones included, output tokens and cached ones: they cost differently."""
    return row["tokens_in"], row["tokens_out"], row["tokens_cached"]


def _usage(rows: Rows) -> dict[str, Floats]:
    """Mean tokens (3,) of an attempt by tier."""
    sums: dict[str, Floats] = {}
    counts: dict[str, float] = {}
    for row in rows:
        tier = row["prefix"][-1]
        sums[tier] = sums.get(tier, np.zeros(3)) + np.array(_tokens(row))
        counts[tier] = counts.get(tier, 0.0) + row["attempts"]
    return {tier: used / counts[tier] for tier, used in sums.items()}


def sighted(outcome: Outcome, cells: tuple[str, ...]) -> Sighting:
    """Return the sighting under the cell of its scope that its evidence is kept in."""
    seen = outcome.sighting
    return seen if seen.cell in cells else replace(seen, cell=outcome.scope.fallback)

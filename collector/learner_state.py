"""What the learner carries from tick to tick, on the desk: detectors, alarms, paces, a cursor.

It saves time, never truth: evidence stands in the store, and detectors are run again over it when
the state is missing or makes no sense.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from collector.desk import Desk, Transaction
from learning.arms import Chain
from learning.snapshot import State, dump, load
from learning.tally import Tally
from learning.watch import Change, Watch

ALARMS_KEPT: Final = 1_000
MINUTE_NS: Final = 60_000_000_000
_CURSOR: Final = "learner.cursor"
_EMPTY: Final = Tally(cells=(), prefixes=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """One scope's part.

    ``since`` is the minute from which a tier's evidence counts after its last alarm as a whole, and
    ``instants`` (ns) the decision that raised it: what was decided after it counts too. ``demoted``
    are the tiers whose last alarm was a loss; ``versions`` the model version that stands for each
    tier; ``cheaper_ns`` when a move to cheaper arms was last made, 0 for never; ``terms`` what the
    policy declared for the scope when the revision in force was made. ``offered`` are all tiers
    that its range ever held, none before the first tick; ``canaries`` those whose model is new:
    they came later, or another version answers.
    """

    since: Mapping[str, int] = field(default_factory=dict)
    instants: Mapping[str, int] = field(default_factory=dict)
    demoted: frozenset[str] = frozenset()
    watches: Mapping[str, Watch] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cheaper_ns: int = 0
    terms: str = ""
    offered: frozenset[str] = frozenset()
    canaries: frozenset[str] = frozenset()

    def alarmed(self, tier: str, change: Change, *, at_ns: int) -> "Carried":
        """Return it after an alarm that the outcome of a decision at ``at_ns`` raised.

        Its minute may hold both what was and what is now; what was decided later is what is now.
        """
        demoted = self.demoted | {tier} if change is Change.WORSE else self.demoted - {tier}
        at_ns = max(at_ns, self.instants.get(tier, 0))
        return replace(
            self,
            since={**self.since, tier: max(at_ns // MINUTE_NS + 1, self.since.get(tier, 0))},
            instants={**self.instants, tier: at_ns},
            demoted=demoted,
        )

    def epoch(self, chain: Chain, *, at_ns: int) -> int:
        """Return the epoch, by the minute, that a decision's outcome on ``chain`` belongs to.

        That is its minute; where an alarm of one of the chain's tiers split that, and the decision
        came after the alarm, the first minute that counts.
        """
        minute = at_ns // MINUTE_NS
        first = max((self.since.get(tier, 0) for tier in chain), default=0)
        last = max((self.instants.get(tier, 0) for tier in chain), default=0)
        split = minute + 1 == first and last // MINUTE_NS == minute
        return first if split and at_ns > last else minute

    def counts(self, chain: Chain, *, at_ns: int) -> bool:
        """Say whether a decision's outcome on ``chain`` came after all alarms of its tiers."""
        first = max((self.since.get(tier, 0) for tier in chain), default=0)
        return self.epoch(chain, at_ns=at_ns) >= first

    def moved_on(self, versions: Mapping[str, str]) -> "Carried":
        """Return it with the versions that stand now; a new one starts without a past."""
        new = {tier for tier, version in versions.items() if self.versions.get(tier) != version}
        if not new:
            return self
        return replace(
            self,
            versions=dict(versions),
            watches={tier: watch for tier, watch in self.watches.items() if tier not in new},
            demoted=self.demoted - new,
            canaries=self.canaries | (new & self.versions.keys()),
        )

    def ranging(self, tiers: Iterable[str]) -> "Carried":
        """Return it with the tiers of the role's range; those of its first range are not new."""
        came = frozenset(tiers) - self.offered
        if not came:
            return self
        canaries = self.canaries | came if self.offered else self.canaries
        return replace(self, offered=self.offered | came, canaries=canaries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """A change that a detector found in what one tier delivers to a scope."""

    at_ns: int
    scope: str
    tier: str
    version: str
    change: Change
    minute: int

    def plain(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        role, mode, _ = self.scope.split("|", 2)
        return {
            "at_ns": self.at_ns,
            "role": role,
            "mode": mode or None,
            "tier": self.tier,
            "version": self.version,
            "change": self.change.value,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """All of it: ``cursor_ns`` is the arrival up to which outcomes were watched.

    ``rebuilding`` says that it was lost and history is being watched again.
    """

    cursor_ns: int = 0
    rebuilding: bool = True
    scopes: Mapping[str, Carried] = field(default_factory=dict)


def read(desk: Desk, *, newest_ns: int) -> tuple[Memory, str | None]:
    """Return what was carried, or a fresh start and what is wrong with it.

    ``newest_ns`` is the newest arrival that the store knows: a cursor beyond it is of another
    store.
    """
    row = desk.row("SELECT value FROM facts WHERE name = $name", {"name": _CURSOR})
    if row is None:
        return Memory(), None
    try:
        content = json.loads(row["value"])
        cursor, rebuilding = int(content["cursor_ns"]), bool(content["rebuilding"])
        if not 0 <= cursor <= newest_ns:
            raise ValueError(f"outcomes up to {cursor} were watched, the store ends at {newest_ns}")
        rows = desk.rows("SELECT scope, state FROM learner")
        scopes = {each["scope"]: _parse(each["state"]) for each in rows}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Memory(), f"the learner's state makes no sense: {error}"
    return Memory(cursor_ns=cursor, rebuilding=rebuilding, scopes=scopes), None


def write(change: Transaction, memory: Memory, alarms: list[Alarm]) -> None:
    """Keep ``memory`` in the place of what was kept, and add ``alarms``."""
    change.run("DELETE FROM learner")
    for scope, carried in memory.scopes.items():
        change.run(
            "INSERT INTO learner VALUES ($scope, $state)",
            {"scope": scope, "state": _text(carried)},
        )
    content = {"cursor_ns": memory.cursor_ns, "rebuilding": memory.rebuilding}
    set_fact(change, _CURSOR, json.dumps(content))
    for alarm in alarms:
        change.run(
            "INSERT INTO learner_alarms (at_ns, scope, tier, version, change, minute) "
            "VALUES ($at_ns, $scope, $tier, $version, $change, $minute)",
            {
                "at_ns": alarm.at_ns, "scope": alarm.scope, "tier": alarm.tier,
                "version": alarm.version, "change": alarm.change.value, "minute": alarm.minute,
            },
        )  # fmt: skip
    change.run(
        "DELETE FROM learner_alarms WHERE id <= (SELECT max(id) FROM learner_alarms) - $kept",
        {"kept": ALARMS_KEPT},
    )


def alarms(desk: Desk, *, limit: int) -> list[Alarm]:
    """Return the newest alarms, newest first."""
    rows = desk.rows("SELECT * FROM learner_alarms ORDER BY id DESC LIMIT $limit", {"limit": limit})
    return [
        Alarm(
            at_ns=row["at_ns"], scope=row["scope"], tier=row["tier"], version=row["version"],
            change=Change(row["change"]), minute=row["minute"],
        )
        for row in rows
    ]  # fmt: skip


def fact(desk: Desk, name: str) -> str | None:
    """Return a small fact by name."""
    row = desk.row("SELECT value FROM facts WHERE name = $name", {"name": name})
    return None if row is None else str(row["value"])


def set_fact(change: Transaction, name: str, value: str) -> None:
    """Keep a small fact under its name."""
    change.run(
        "INSERT INTO facts VALUES ($name, $value) ON CONFLICT (name) DO UPDATE SET value = $value",
        {"name": name, "value": value},
    )


def drop_fact(change: Transaction, name: str) -> None:
    """Forget a small fact."""
    change.run("DELETE FROM facts WHERE name = $name", {"name": name})


def _text(carried: Carried) -> str:
    state = State(
        epoch=0,
        tally=_EMPTY,
        since=carried.since,
        demoted=carried.demoted,
        watches=carried.watches,
    )
    content = {
        "state": dump(state),
        "instants": dict(carried.instants),
        "versions": dict(carried.versions),
        "cheaper_ns": carried.cheaper_ns,
        "terms": carried.terms,
        "offered": sorted(carried.offered),
        "canaries": sorted(carried.canaries),
    }
    return json.dumps(content, sort_keys=True)


def _parse(text: str) -> Carried:
    content = json.loads(text)
    state = load(content["state"])
    return Carried(
        since=state.since,
        instants={str(tier): int(at) for tier, at in content.get("instants", {}).items()},
        demoted=state.demoted,
        watches=state.watches,
        versions={str(tier): str(version) for tier, version in content["versions"].items()},
        cheaper_ns=int(content["cheaper_ns"]),
        terms=str(content["terms"]),
        offered=frozenset(str(tier) for tier in content.get("offered", ())),
        canaries=frozenset(str(tier) for tier in content.get("canaries", ())),
    )

"""Whose call it is, and whether it counts: ancestors, nesting and doubles, in any order of arrival.

A call's role is its own, else that of its nearest ancestor. A call that holds another call is an
instrumentation layer around it and counts for nothing, and of two calls of one trace with one
response id only one counts, and so does a call that our own gateway made for somebody who tells
of it too. Children usually arrive before their parents, often minutes before, so every answer stays
open until the root is seen; what was found out about calls that are stored already leaves as
corrections. The outcome does not depend on the order of arrival.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from collector.relayed import Key, Relayed
from collector.rows import Batch, CallRow, DecisionRow, SpanRow

NODES_MAX: Final = 131_072
OPEN_MAX: Final = 65_536
GROUPS_MAX: Final = 65_536
STEPS_MAX: Final = 128
OWN_STRENGTH: Final = 100  # of calls of our own gateway


class Node(msgspec.Struct, gc=False):
    """What later spans of a trace may need to know of a span."""

    parent_id: str | None
    role: str | None
    call: bool


class Open(msgspec.Struct, gc=False):
    """A call whose answers may still change."""

    key: Key
    start_ns: int
    role: str | None
    role_from: str | None
    awaits: str | None
    nested: bool
    duplicate: bool
    strength: int  # of two doubles the stronger counts
    group: Key | None  # calls of the same trace and response id
    row: CallRow | None  # while it is not stored yet
    relayed: bool = False  # our own gateway made it and tells of it

    @property
    def counted(self) -> bool:
        return not (self.nested or self.duplicate or self.relayed)

    @property
    def uncounted_reason(self) -> str | None:
        if self.nested:
            return "nested"
        return "duplicate" if self.duplicate or self.relayed else None


class Lineage:
    """Bounded memory of recent spans; used by the writer thread alone."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[Key, Node] = OrderedDict()
        self._open: OrderedDict[Key, Open] = OrderedDict()
        self._waiting: dict[Key, list[Key]] = {}
        self._groups: OrderedDict[Key, list[Key]] = OrderedDict()
        self._changed: dict[Key, Open] = {}
        self._relayed = Relayed()

    def apply(self, batches: Sequence[Batch]) -> list[Open]:
        """Complete the calls of ``batches`` in place; return what changed on stored calls."""
        calls = [call for batch in batches for call in batch.calls if call.counted]
        arrived = [self._arrive(span) for batch in batches for span in batch.spans]
        arrived += [self._arrive(made) for batch in batches for made in batch.decisions]
        arrived += [self._arrive_call(call) for call in calls]
        fresh = [self._opened(call) for call in calls]
        for entry in fresh:
            self._walk(entry)
        for key in arrived:
            for waiting in self._waiting.pop(key, ()):
                found = self._open.get(waiting)
                if found is not None:
                    self._walk(found)
        for entry, call in zip(fresh, calls, strict=True):
            if call.response_id is not None:
                self._join(entry, call.response_id)
            self._pair(call)
        return self._settle(fresh)

    def restore(self, nodes: Iterable[tuple[Key, Node]], calls: Iterable[CallRow]) -> None:
        """Take up the memory again from stored spans and from stored calls that are still open."""
        for key, node in nodes:
            self._add_node(key, node)
        for call in calls:
            entry = self._opened(call)
            entry.row = None
            entry.nested = call.uncounted_reason == "nested"
            entry.duplicate = call.uncounted_reason == "duplicate"
            self._walk(entry)
            if call.response_id is not None:
                self._join(entry, call.response_id)
            self._pair(call)
        self._changed.clear()

    def _arrive(self, row: SpanRow | DecisionRow) -> Key:
        return self._add_node((row.trace_id, row.span_id), Node(row.parent_id, row.role, False))

    def _arrive_call(self, call: CallRow) -> Key:
        role = call.role if call.role_from == "own" else None
        return self._add_node((call.trace_id, call.span_id), Node(call.parent_id, role, True))

    def _add_node(self, key: Key, node: Node) -> Key:
        self._nodes[key] = node
        if len(self._nodes) > NODES_MAX:
            self._nodes.popitem(last=False)
        return key

    def _opened(self, call: CallRow) -> Open:
        strength = (
            (call.input_tokens is not None)
            + (call.output_tokens is not None)
            + (call.cost_reported_usd is not None)
            + (call.model_served is not None)
            + (call.finish_reason is not None)
            + OWN_STRENGTH * (call.decision_id is not None)
        )
        entry = Open(
            (call.trace_id, call.span_id), call.start_ns, call.role, call.role_from, call.awaits,
            False, False, strength, None, call,
        )  # fmt: skip
        self._open[entry.key] = entry
        if len(self._open) > OPEN_MAX:
            _, oldest = self._open.popitem(last=False)
            self._forget(oldest)
        return entry

    def _forget(self, entry: Open) -> None:
        """Stop waiting for the ancestor of a call that has been open for too long."""
        if entry.awaits is None:
            return
        key = (entry.key[0], entry.awaits)
        others = [waiting for waiting in self._waiting.get(key, ()) if waiting != entry.key]
        if others:
            self._waiting[key] = others
        else:
            self._waiting.pop(key, None)

    def _walk(self, entry: Open) -> None:
        """Go up from where the last walk stopped, as far as ancestors are known."""
        awaits = entry.awaits
        if awaits is None:
            return
        trace_id, nodes, changed = entry.key[0], self._nodes, False
        for _ in range(STEPS_MAX):
            key = (trace_id, awaits)
            node = nodes.get(key)
            if node is None:
                self._waiting.setdefault(key, []).append(entry.key)
                break
            if node.call:
                self._nest(key)
            if node.role is not None and entry.role_from not in ("own", "ancestor"):
                entry.role, entry.role_from, changed = node.role, "ancestor", True
            awaits = node.parent_id
            if awaits is None:
                break
        entry.awaits = awaits
        if changed:
            self._changed[entry.key] = entry

    def _nest(self, key: Key) -> None:
        outer = self._open.get(key)
        if outer is not None and not outer.nested:
            outer.nested = True
            self._changed[key] = outer

    def _join(self, entry: Open, response_id: str) -> None:
        """Put a call among those that share its trace and response id."""
        entry.group = key = (entry.key[0], response_id)
        members = self._groups.get(key)
        if members is None:
            self._groups[key] = [entry.key]
            if len(self._groups) > GROUPS_MAX:
                self._groups.popitem(last=False)
            return
        if entry.key not in members and len(members) < STEPS_MAX:
            members.append(entry.key)
        if len(members) > 1:
            self._elect(members)

    def _pair(self, call: CallRow) -> None:
        """Take what others tell of our own gateway's calls out of the count."""
        for key in self._relayed.take(call):
            entry = self._open.get(key)
            if entry is not None and not entry.relayed:
                entry.relayed = True
                self._changed[key] = entry

    def _elect(self, members: Sequence[Key]) -> None:
        """Let the strongest call of a group count; calls of our own gateway always do."""
        known = [entry for entry in map(self._open.get, members) if entry is not None]
        running = [entry for entry in known if not entry.nested]
        if not running:
            return
        best = max(running, key=lambda entry: (entry.strength, -entry.start_ns, entry.key[1]))
        for entry in running:
            duplicate = entry is not best and entry.strength < OWN_STRENGTH
            if entry.duplicate != duplicate:
                entry.duplicate = duplicate
                self._changed[entry.key] = entry

    def _settle(self, fresh: list[Open]) -> list[Open]:
        """Elect again where nesting changed, write fresh rows and return the other changes."""
        groups = {entry.group for entry in self._changed.values() if entry.nested}
        for group in groups:
            members = self._groups.get(group, ()) if group is not None else ()
            if len(members) > 1:
                self._elect(members)
        for entry in fresh:
            row = entry.row
            if row is not None:
                row.role, row.role_from, row.awaits = entry.role, entry.role_from, entry.awaits
                reason = row.uncounted_reason = entry.uncounted_reason
                row.counted = reason is None
                entry.row = None
        if self._changed:
            for entry in fresh:
                self._changed.pop(entry.key, None)
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

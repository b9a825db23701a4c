"""Which calls that others report went through our own gateway, whose attempts count for them.

An agent that calls our gateway and sends telemetry of its own tells of every call twice, in two
traces. What the two have in common is the provider's response id, or the agent's session with the
same usage; and they end at the same time.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final

import msgspec

from collector.rows import CallRow

LINKS_MAX: Final = 65_536
PER_LINK_MAX: Final = 16
APART_NS: Final = 10_000_000_000  # how far apart both say the answer ended

Key = tuple[str, str]  # trace id, span id
Usage = tuple[int | None, int | None]
UNKNOWN: Final[Usage] = (None, None)


class Told(msgspec.Struct, gc=False):
    """One call as one side tells of it."""

    key: Key
    end_ns: int
    usage: Usage

    def agrees(self, other: "Told") -> bool:
        """Say whether both tell of one call; usage that one of them does not know is no matter."""
        if abs(self.end_ns - other.end_ns) > APART_NS:
            return False
        return self.usage == other.usage or UNKNOWN in (self.usage, other.usage)


class Relayed:
    """Bounded memory of recent calls by what two reports of one call have in common."""

    def __init__(self) -> None:
        self._ours: OrderedDict[Hashable, list[Told]] = OrderedDict()
        self._theirs: OrderedDict[Hashable, list[Told]] = OrderedDict()

    def take(self, call: CallRow) -> list[Key]:
        """Take in a call; return the calls of others that are now known to be our gateway's."""
        told = Told(
            (call.trace_id, call.span_id), call.end_ns, (call.input_tokens, call.output_tokens)
        )
        ours, found = call.decision_id is not None, []
        mine, others = (self._ours, self._theirs) if ours else (self._theirs, self._ours)
        for link in _links(call, told.usage, ours=ours):
            _keep(mine, link, told)
            twins = [other for other in others.get(link, ()) if told.agrees(other)]
            found += [twin.key for twin in twins] if ours else [told.key] * bool(twins)
        return found


def _links(call: CallRow, usage: Usage, *, ours: bool) -> Iterator[Hashable]:
    """Yield what another report of the call would have too.

    Only coding agents call their session what our gateway takes for one; anybody else's
    conversations may have any name.
    """
    if call.response_id is not None:
        yield call.response_id
    if call.conversation_id is not None and (ours or call.dialect == "coding_agent"):
        yield call.conversation_id, usage


def _keep(memory: OrderedDict[Hashable, list[Told]], link: Hashable, told: Told) -> None:
    known = memory.get(link)
    if known is None:
        memory[link] = [told]
        if len(memory) > LINKS_MAX:
            memory.popitem(last=False)
        return
    known.append(told)
    del known[:-PER_LINK_MAX]

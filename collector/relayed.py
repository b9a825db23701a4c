"""Which calls that others report went through our own gateway, whose attempts count for them.

An agent that calls our gateway and sends telemetry of its own tells of every call twice, in two
traces. What the two have in common is the provider's response id, or the agent's session with the
same usage; and they end at the same time.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

from collector.rows import CallRow

LINKS_MAX: Final = 65_536
PER_LINK_MAX: Final = 16
APART_NS: Final = 10_000_000_000  # how far apart both say the answer ended

Key = tuple[str, str]  # trace id, span id
Usage = tuple[int | None, int | None]
Told = tuple[Key, int, Usage]  # one call as one side tells of it: which, its end, its usage
Memory = OrderedDict[Hashable, list[Told]]
UNKNOWN: Final[Usage] = (None, None)


class Relayed:
    """Bounded memory of recent calls by what two reports of one call have in common."""

    def __init__(self) -> None:
        self._ours: Memory = OrderedDict()
        self._theirs: Memory = OrderedDict()

    def take(self, call: CallRow) -> Sequence[Key]:
        """Take in a call; return the calls of others that are now known to be our gateway's.

        Only coding agents call their session what our gateway takes for one; anybody else's
        conversations may have any name.
        """
        ours, response, session = call.decision_id is not None, call.response_id, None
        if ours or call.dialect == "coding_agent":
            session = call.conversation_id
        if response is None and session is None:
            return ()
        usage = (call.input_tokens, call.output_tokens)
        told = ((call.trace_id, call.span_id), call.end_ns, usage)
        mine, others = (self._ours, self._theirs) if ours else (self._theirs, self._ours)
        twins: list[Told] = []
        for link in (response, None if session is None else (session, usage)):
            if link is None:
                continue
            _keep(mine, link, told)
            known = others.get(link)
            if known is not None:
                twins += [other for other in known if _agree(told, other)]
        if not twins:
            return ()
        return [key for key, _, _ in twins] if ours else [told[0]]


def _agree(one: Told, other: Told) -> bool:
    """Say whether both tell of one call; usage that one of them does not know is no matter."""
    if abs(one[1] - other[1]) > APART_NS:
        return False
    return one[2] == other[2] or UNKNOWN in (one[2], other[2])


def _keep(memory: Memory, link: Hashable, told: Told) -> None:
    known = memory.get(link)
    if known is None:
        memory[link] = [told]
        if len(memory) > LINKS_MAX:
            memory.popitem(last=False)
        return
    known.append(told)
    if len(known) > PER_LINK_MAX:
        del known[0]

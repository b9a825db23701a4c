"""What every sink promises, and what became of one try."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from collector.alert_events import AlertEvent
from collector.sinks.message import Message

TRY_SECONDS: Final = 5.0  # one try, from looking the name up to the status line
MESSAGE_CHARS_MAX: Final = 200


class Verdict(StrEnum):
    """What a try came to."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # nobody there, or not now: the same may work later
    REFUSED = "refused"  # the same will be refused again
    GONE = "gone"  # the receiver wants nothing any more


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One try's end, in words that hold no secret."""

    verdict: Verdict
    message: str = ""
    retry_after_seconds: float | None = None


ACCEPTED: Final = Answer(verdict=Verdict.ACCEPTED)


class Sink(Protocol):
    """Sends one message once; trying again, order and doubles are the poster's business."""

    async def send(self, message: Message) -> Answer:
        """Try once, for about ``TRY_SECONDS`` at most; never raises but for cancellation."""
        ...

    async def close(self) -> None:
        """Give up what it holds open."""
        ...


@runtime_checkable
class StateSink(Sink, Protocol):
    """A sink that wants to hear all that fires, again and again."""

    async def state(self, alerts: Sequence[AlertEvent], *, now_ns: int) -> Answer:
        """Try once to say what fires and what ended lately, as ``send`` does."""
        ...

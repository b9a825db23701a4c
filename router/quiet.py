"""Replies that are no step: they carry an id and our headers too, and errors in both dialects."""

from typing import Final

from starlette.types import Message, Scope, Send

from router import envelopes
from router.exchange import decision_id
from router.gateway import Gateway
from router.request import parent_of
from telemetry import propagation
from telemetry.errors import StepError
from telemetry.records import Dialect

PLACE: Final = "tierwise.quiet"  # in the request's scope
Headers = list[tuple[bytes, bytes]]


class Quiet:
    """One request that is no step: its id, its place in the caller's trace, its time."""

    def __init__(self, gateway: Gateway, scope: Scope) -> None:
        """Start the clock; ``scope`` then leads back here."""
        parent = parent_of(scope)
        self.id = decision_id(gateway)
        self._clock = gateway.clock
        self._started = gateway.clock.monotonic()
        self._waited = 0.0
        self._traceparent = propagation.format_traceparent(
            parent.trace_id if parent else propagation.new_trace_id(gateway.rng),
            propagation.new_span_id(gateway.rng),
            sampled=parent is None or parent.sampled,
        ).encode()
        named = dict(scope["headers"])
        messages = b"anthropic-version" in named or scope["path"].startswith("/v1/messages")
        self.dialect = Dialect.MESSAGES if messages else Dialect.CHAT
        scope[PLACE] = self

    @property
    def traceparent(self) -> str:
        """The span that another server's work for this request belongs under."""
        return self._traceparent.decode()

    def waited(self, seconds: float) -> None:
        """Take time that was spent waiting for somebody else out of our own."""
        self._waited += seconds

    def marked(self, send: Send) -> Send:
        """Return ``send``, which adds our headers to the reply's own."""

        async def sends(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers()]
            await send(message)

        return sends

    def body(self, error: StepError) -> bytes:
        """Return ``error`` as the caller's clients parse it."""
        return envelopes.body(error, self.dialect, request_id=self.id)

    def _headers(self) -> Headers:
        taken = max(0.0, self._clock.monotonic() - self._started - self._waited)
        return [
            (b"x-tierwise-decision", self.id.encode()),
            (b"x-tierwise-overhead-ms", b"%.3f" % (taken * 1e3)),
            (b"x-tierwise-attempts", b"0"),
            (b"traceparent", self._traceparent),
        ]

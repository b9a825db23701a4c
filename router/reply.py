"""What the caller gets: the provider's bytes, or our error, always with our headers."""

from functools import lru_cache
from typing import Final

from router import envelopes, headers
from router.exchange import Exchange, Held, Trial
from router.request import Send
from router.upstream import Answer
from telemetry import propagation
from telemetry.errors import StepError
from telemetry.records import Verdict, total_cost_usd

Headers = list[tuple[bytes, bytes]]

_JSON: Final = (b"content-type", b"application/json")


async def held(exchange: Exchange, held: Held, send: Send) -> None:
    """Deliver an answer that is here in full, and record the step."""
    pieces = held.pieces
    found = [*headers.downstream(held.headers, length_known=False)]
    if not held.stream:
        found.append((b"content-length", b"%d" % sum(map(len, pieces))))
    found += _ours(exchange, verdict=held.verdict, with_cost=True)
    exchange.delivering = True
    await send({"type": "http.response.start", "status": held.status, "headers": found})
    last = len(pieces) - 1
    for number, content in enumerate(pieces):
        await send({"type": "http.response.body", "body": content, "more_body": number < last})
    exchange.end(held.status)  # last: its caller need not wait for what only we want to know


async def start(
    exchange: Exchange, answer: Answer, send: Send, *, trial: Trial, length_known: bool
) -> None:
    """Begin to relay an answer of which more is to come."""
    found = [*headers.downstream(answer.headers, length_known=length_known)]
    found += _ours(exchange, running=trial)
    exchange.delivering = True
    await send({"type": "http.response.start", "status": answer.status, "headers": found})


async def piece(content: bytes, send: Send) -> None:
    """Relay the next bytes."""
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def end(exchange: Exchange, status: int, send: Send) -> None:
    """End a relayed answer and record the step."""
    exchange.end(status)
    await last(send)


async def last(send: Send) -> None:
    """End a relayed answer."""
    await send({"type": "http.response.body", "body": b""})


async def refuse(exchange: Exchange, error: StepError, send: Send) -> None:
    """Deliver one of our own errors in the caller's dialect, and record the step.

    Once the first byte of an answer is out nothing can be said any more: the step is recorded
    and the connection ends without the answer's last byte, which is how HTTP says "broken".
    """
    if exchange.delivering:
        exchange.end(error.status, error.code)
        return
    content = envelopes.body(error, exchange.endpoint.dialect, request_id=exchange.decision_id)
    found: Headers = [_JSON, (b"content-length", b"%d" % len(content))]
    if error.retry_after_seconds is not None:
        found.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if error.status == 405:
        found.append((b"allow", b"POST"))
    found += _ours(exchange, with_cost=True)
    exchange.end(error.status, error.code)
    await send({"type": "http.response.start", "status": error.status, "headers": found})
    await send({"type": "http.response.body", "body": content})


def error_event(exchange: Exchange, error: StepError) -> bytes:
    """Return the event that ends a stream which broke after its first byte was out."""
    return envelopes.event(error, exchange.endpoint.dialect, request_id=exchange.decision_id)


def _ours(
    exchange: Exchange,
    *,
    running: Trial | None = None,
    verdict: Verdict | None = None,
    with_cost: bool = False,
) -> Headers:
    """Return the headers that stand on every reply."""
    overhead_ms = exchange.note_overhead() * 1e3
    found: Headers = [
        (b"x-tierwise-decision", exchange.decision_id.encode()),
        (b"x-tierwise-overhead-ms", b"%.3f" % overhead_ms),
        (
            b"traceparent",
            propagation.format_traceparent(
                exchange.trace_id, exchange.span_id, sampled=exchange.sampled
            ).encode(),
        ),
    ]
    attempts = len(exchange.attempts) + (running is not None)
    found.append((b"x-tierwise-attempts", b"%d" % attempts))
    decision = exchange.decision
    if decision is None:
        return found
    found += _decided(decision.context.role, decision.reason, decision.revision)
    tier, model = _answering(exchange, running)
    if tier is not None and model is not None:
        found += _answered(tier, model)
        if tier != decision.arm.tier:
            found.append((b"x-tierwise-escalated-from", decision.arm.tier.encode()))
    if decision.context.role_unknown is not None:
        found.append((b"x-tierwise-warning", b"unknown role; the default role's policy applies"))
    if verdict is not None:
        found.append((b"x-tierwise-check", verdict.result.encode()))
    if exchange.replan:
        found.append((b"x-tierwise-replan", b"true"))
    if with_cost:
        found += _cost(exchange)
    return found


def _answering(exchange: Exchange, running: Trial | None) -> tuple[str | None, str | None]:
    if running is not None:
        return running.tier, running.target.model
    if exchange.attempts:
        attempt = exchange.delivered or exchange.attempts[-1]
        return attempt.tier, attempt.model
    return None, None


def _cost(exchange: Exchange) -> Headers:
    total = total_cost_usd(exchange.attempts)
    return [] if total is None else [(b"x-tierwise-cost-usd", b"%.10g" % total)]


@lru_cache(maxsize=4_096)
def _decided(role: str, reason: str, revision: str) -> Headers:
    return [
        (b"x-tierwise-role", role.encode()),
        (b"x-tierwise-reason", reason.encode()),
        (b"x-tierwise-revision", revision.encode()),
    ]


@lru_cache(maxsize=4_096)
def _answered(tier: str, model: str) -> Headers:
    return [
        (b"x-tierwise-tier", tier.encode()),
        (b"x-tierwise-model", model.encode("latin-1", "replace")),
    ]

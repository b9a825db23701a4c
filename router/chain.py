"""The attempts of one step: the tier's models in turn, then up the ladder as the arm says."""

import asyncio
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from yarl import URL

from router import headers, reply
from router.body import as_json
from router.exchange import Exchange, Trial
from router.request import Request, Send
from router.route import Route
from router.targets import Target
from router.upstream import Answer
from router.usage import StreamReader, read_answer
from telemetry import propagation
from telemetry.errors import UpstreamError
from telemetry.records import Arm, Cause, Decision, Dialect

# Statuses with which a provider says "not now": the next model may do better.
DOWN: Final = frozenset({408, 429, 500, 502, 503, 504, 529})


class Candidate(NamedTuple):
    """A model to try next, and why."""

    tier: str
    target: Target
    cause: Cause


def candidates(route: Route, arm: Arm) -> Iterator[Candidate]:
    """Yield whom to ask, in order, as long as each one before is down."""
    tier: str | None = arm.tier
    cause = Cause.START
    while tier is not None:
        for target in route.targets(tier):
            yield Candidate(tier, target, cause)
            cause = Cause.FAILOVER
        tier = route.after_fail(arm, tier)
        cause = Cause.ESCALATION


async def walk(
    exchange: Exchange, asked: Request, decision: Decision, send: Send, produced: Callable[[], None]
) -> None:
    """Try one candidate after the other until one answers; deliver that answer.

    ``produced`` is called once nothing more is wanted of a provider. When all are down the last
    one's answer is delivered as it came.

    Raises:
        UpstreamError: all are down and the last one gave no answer at all.
    """
    route = exchange.loaded.policy.route(decision.context)
    passed_on = headers.upstream(asked.received)
    ladder = candidates(route, decision.arm)
    candidate = next(ladder)
    while True:
        following = next(ladder, None)
        trial = exchange.try_on(candidate.target, tier=candidate.tier, cause=candidate.cause)
        call = _Call(exchange, asked, trial, is_last=following is None)
        try:
            answer = await call.send(passed_on, route)
            if await call.deliver(answer, send, produced):
                return
        except UpstreamError as error:
            call.fail(error)
            if following is None or exchange.delivering:
                raise
        except asyncio.CancelledError:
            call.abandon()
            raise
        assert following is not None, "the last candidate's answer is always delivered"
        candidate = following


class _Call:
    """One attempt under way."""

    def __init__(self, exchange: Exchange, asked: Request, trial: Trial, *, is_last: bool) -> None:
        self._exchange = exchange
        self._asked = asked
        self._trial = trial
        self._is_last = is_last
        self._settled = False
        self._answer: Answer | None = None
        self._hide_usage = False

    async def send(self, passed_on: list[tuple[str, str]], route: Route) -> Answer:
        """Send the step to the trial's model and return its answer, headers only."""
        exchange, trial = self._exchange, self._trial
        traceparent = propagation.format_traceparent(
            exchange.trace_id, trial.span_id, sampled=exchange.sampled
        )
        sent = exchange.gateway.clock.monotonic()
        try:
            self._answer = answer = await exchange.gateway.upstream.send(
                _url(trial.target.base_url, exchange.endpoint.path),
                [*passed_on, *trial.target.headers, ("traceparent", traceparent)],
                self._body(route),
            )
        finally:
            exchange.waited_seconds += exchange.gateway.clock.monotonic() - sent
        trial.status = answer.status
        return answer

    async def deliver(self, answer: Answer, send: Send, produced: Callable[[], None]) -> bool:
        """Deliver the answer; return False when another candidate should be asked instead."""
        if answer.status in DOWN and not self._is_last:
            self._trial.billed = False
            self._settle(f"http_{answer.status}")
            answer.close()
            return False
        if answer.status == 200 and _is_stream(answer):
            return await self._deliver_stream(answer, send, produced)
        return await self._deliver_whole(answer, send, produced)

    async def _deliver_whole(
        self, answer: Answer, send: Send, produced: Callable[[], None]
    ) -> bool:
        exchange, trial = self._exchange, self._trial
        began = exchange.gateway.clock.monotonic()
        content = await answer.read(exchange.gateway.answer_bytes_max)
        exchange.waited_seconds += exchange.gateway.clock.monotonic() - began
        if content is None:
            return await self._relay(answer, send, produced)
        answer.close()
        exchange.keep_text(trial, content)
        trial.reading = read_answer(exchange.endpoint.dialect, content)
        failed = answer.status >= 400
        trial.billed = not failed
        self._settle(f"http_{answer.status}" if failed else None)
        produced()
        await reply.whole(exchange, answer, content, send)
        return True

    async def _relay(self, answer: Answer, send: Send, produced: Callable[[], None]) -> bool:
        """Deliver an answer too long to be read in memory, piece by piece and unread."""
        exchange = self._exchange
        await reply.start(exchange, answer, send, trial=self._trial, length_known=True)
        async for piece in answer.pieces():
            await reply.piece(piece, send)
        self._settle(None)
        produced()
        await reply.end(exchange, answer.status, send)
        return True

    async def _deliver_stream(
        self, answer: Answer, send: Send, produced: Callable[[], None]
    ) -> bool:
        exchange, trial = self._exchange, self._trial
        clock = exchange.gateway.clock
        reader = StreamReader(exchange.endpoint.dialect, hide_usage=self._hide_usage)
        pieces = answer.pieces()
        began = clock.monotonic()
        first = await anext(pieces, b"")
        exchange.waited_seconds += clock.monotonic() - began
        trial.first_chunk_seconds = clock.monotonic() - trial.started
        out = reader.feed(first)
        if _may_hold_error(first) and reader.reading.error_type and not self._is_last:
            self._settle(None)
            answer.close()
            return False
        await reply.start(exchange, answer, send, trial=trial, length_known=False)
        try:
            await self._pass_on(first, out, reader, send)
            async for piece in pieces:
                await self._pass_on(piece, reader.feed(piece), reader, send)
            await self._pass_on(b"", reader.end(), reader, send)
        except UpstreamError as error:
            trial.error_type = error.type
            await reply.piece(reply.error_event(exchange, error), send)
        else:
            await self._mind_the_end(reader, send)
        answer.close()
        self._settle(None)
        produced()
        await reply.end(exchange, answer.status, send)
        return True

    async def _pass_on(self, piece: bytes, out: bytes, reader: StreamReader, send: Send) -> None:
        """Send first, read afterwards."""
        if out:
            await reply.piece(out, send)
        self._trial.reading = reader.reading
        self._exchange.keep_text(self._trial, piece)

    async def _mind_the_end(self, reader: StreamReader, send: Send) -> None:
        """Tell the caller when a stream ended in the middle of an answer."""
        reading = reader.reading
        if reading.finished or reading.finish_reasons or reading.error_type or not reader.events:
            return
        self._trial.error_type = "truncated"
        error = UpstreamError(
            "upstream_broken", "the provider ended its stream in the middle of the answer"
        )
        await reply.piece(reply.error_event(self._exchange, error), send)

    def fail(self, error: UpstreamError) -> None:
        """Settle an attempt that no answer, or only a part of one, came of."""
        self._trial.billed = error.code != "upstream_unreachable"
        self._settle(error.type)
        self._hang_up()

    def abandon(self) -> None:
        """Settle an attempt whose caller has left, and hang up on its provider."""
        self._settle("client_closed")
        self._hang_up()

    def _hang_up(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def _settle(self, error_type: str | None) -> None:
        if self._settled:
            return
        self._settled = True
        self._trial.error_type = error_type or self._trial.error_type
        self._exchange.settle(self._trial)

    def _body(self, route: Route) -> bytes:
        target = self._trial.target
        values = {"model": as_json(target.request_model)}
        for key, value in route.params(self._trial.tier).items():
            values[key] = as_json(value)
        if self._asked.stream and route.dialect is Dialect.CHAT and target.stream_usage:
            options = self._asked.body.get("stream_options", dict) or {}
            if options.get("include_usage") is not True:
                self._hide_usage = True
                values["stream_options"] = as_json({**options, "include_usage": True})
        return self._asked.body.with_values(values)


def _may_hold_error(first: bytes) -> bool:
    """Say whether a stream's first bytes deserve to be read before they go on."""
    return b"error" in first or b"failed" in first


def _is_stream(answer: Answer) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in answer.headers
    )


@lru_cache(maxsize=1_024)
def _url(base_url: str, path: str) -> URL:
    return URL(base_url + path)

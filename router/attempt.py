"""One attempt: send the step to one model, take what comes back, have it judged."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from yarl import URL

from evals import sse
from router import reply
from router.authors import Authorship
from router.body import as_json
from router.exchange import Exchange, Held, Trial, Waiting
from router.judge import Judge
from router.request import Request, Send
from router.retry import retry_after_seconds
from router.route import Route
from router.rules import CODE
from router.upstream import Answer
from router.usage import StreamReader, read_answer
from telemetry import propagation
from telemetry.errors import UpstreamError
from telemetry.records import Dialect, Verdict

# Statuses besides 5xx with which a provider says "not now": the next model may do better.
DOWN: Final = frozenset({408, 429})
# Statuses with which it refuses the gateway's own key or account: never the caller's fault, since
# no key of the caller reaches it. The first two come whatever is asked.
KEYLESS: Final = frozenset({401, 402})
DENIED: Final = KEYLESS | {403}
OPENING_BYTES_MAX: Final = 16_384  # of a stream, held back until its first event is whole
UNREAD_BYTES_MAX: Final = 8_192  # of a stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """The model answered; nothing has gone out yet."""

    held: Held


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """The caller already has the answer; ``verdict`` came too late to change it."""

    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Down:
    """The model gave no answer: an error instead (``held``), or nothing at all (``error``)."""

    error: UpstreamError | None = None
    held: Held | None = None
    retry_after_seconds: float | None = None

    @property
    def status(self) -> int | None:
        """The provider's status; None when it gave none."""
        return None if self.held is None else self.held.attempt.status

    @property
    def denied(self) -> bool:
        """Whether the provider refused the gateway itself: it has done nothing, and says so."""
        return self.status in DENIED


Ended = Answered | Delivered | Down


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """What all attempts of one step share."""

    exchange: Exchange
    asked: Request
    route: Route
    judge: Judge
    authorship: Authorship
    passed_on: tuple[tuple[str, str], ...]  # the caller's headers that a provider may see
    send: Send
    produced: Callable[[], None]  # nothing more is wanted of a provider


class Call:
    """One call to one model."""

    def __init__(self, way: Way, trial: Trial) -> None:
        self._way = way
        self._exchange = way.exchange
        self._trial = trial
        self._settled = False
        self._answer: Answer | None = None
        self._hide_usage = False

    async def make(self) -> Ended:
        """Send the step and take the answer."""
        try:
            answer = await self._sent()
            if answer.status == 200 and _is_stream(answer):
                return await self._take_stream(answer)
            return await self._take_whole(answer)
        except UpstreamError as error:
            # Only what could not connect is sure to have cost nothing.
            self._trial.billed = error.code != "upstream_unreachable"
            self._settle(error.type)
            if self._exchange.delivering:
                raise
            return Down(error=error)
        except BaseException as error:  # whatever ends the call, what it cost is counted
            gone = isinstance(error, asyncio.CancelledError)
            self._settle("client_closed" if gone else "internal")
            raise
        finally:
            if self._answer is not None:
                self._answer.close()

    async def _sent(self) -> Answer:
        exchange, trial = self._exchange, self._trial
        traceparent = propagation.format_traceparent(
            exchange.trace_id, trial.span_id, sampled=exchange.sampled
        )
        with Waiting(self._exchange):
            self._answer = answer = await exchange.gateway.upstream.send(
                _url(trial.target.base_url, exchange.endpoint.path, exchange.query),
                [*self._way.passed_on, *trial.target.headers, ("traceparent", traceparent)],
                self._body(),
                once=self._way.route.rules.side_effects,
            )
        trial.status = answer.status
        return answer

    # An answer in one piece --------------------------------------------------------------------

    async def _take_whole(self, answer: Answer) -> Ended:
        exchange, trial = self._exchange, self._trial
        with Waiting(self._exchange):
            content = await answer.read(exchange.gateway.answer_bytes_max)
        if content is None:
            return await self._relay(answer)
        exchange.keep_text(trial, content)
        trial.reading = read_answer(exchange.endpoint.dialect, content)
        if answer.status >= 300:
            trial.billed = False
            held = self._held(answer, (content,), error_type=f"http_{answer.status}")
            down = answer.status >= 500 or answer.status in DOWN | DENIED
            return self._down(answer, held) if down else Answered(held=held)
        if trial.reading.error_type is not None:  # an error, although the status says 200
            return self._down(answer, self._held(answer, (content,)))
        verdict = await self._way.judge.whole(trial, content)
        return Answered(held=self._held(answer, (content,), verdict=verdict))

    async def _relay(self, answer: Answer) -> Delivered:
        """Deliver an answer too long to be held in memory, piece by piece and unread."""
        way = self._way
        await reply.start(self._exchange, answer, way.send, trial=self._trial, length_known=True)
        async for piece in answer.pieces():
            await reply.piece(piece, way.send)
        self._settle(None)
        if answer.status < 300:
            way.authorship.wrote(self._trial.target.provider)
        way.produced()
        await reply.end(self._exchange, answer.status, way.send)
        return Delivered()

    # A stream ----------------------------------------------------------------------------------

    async def _take_stream(self, answer: Answer) -> Ended:
        exchange, trial, way = self._exchange, self._trial, self._way
        clock = exchange.gateway.clock
        assembler = way.judge.assembler() if way.judge.listens else None
        reader = StreamReader(
            exchange.endpoint.dialect,
            hide_usage=self._hide_usage,
            tell=assembler.feed if assembler else None,
        )
        pieces = answer.pieces()
        out = await self._opening(pieces, reader)
        trial.first_chunk_seconds = clock.monotonic() - trial.started
        if not out:
            raise _broken("the provider sent an empty stream")
        opening = b"".join(out)
        if _may_hold_error(opening) and reader.reading.error_type is not None:
            return await self._failed_stream(answer, pieces, reader, out)
        if way.route.rules.hold and way.judge.listens and await self._hold(pieces, reader, out):
            if self._broke_off(reader):
                out.append(self._break_event())
            if trial.error_type is not None or reader.reading.error_type is not None:
                return self._down(answer, self._held(answer, out, stream=True))
            verdict = await way.judge.answer(trial, assembler.answer()) if assembler else None
            return Answered(held=self._held(answer, out, stream=True, verdict=verdict))
        await self._relay_stream(answer, pieces, reader, out)
        if trial.error_type is None and reader.reading.error_type is None:
            way.authorship.wrote(trial.target.provider)
        # All that the caller gets is out: its end must not wait for slow checks, and a caller
        # that has read enough may hang up without calling them off.
        way.produced()
        await reply.last(way.send)
        verdict = None
        if assembler is not None and trial.error_type is None and reader.reading.error_type is None:
            verdict = await way.judge.answer(trial, assembler.answer())
        self._settle(None)
        exchange.end(answer.status)
        return Delivered(verdict=verdict)

    async def _opening(self, pieces: AsyncIterator[bytes], reader: StreamReader) -> list[bytes]:
        """Take a stream up to the end of its first event, which may say that there is no more."""
        out: list[bytes] = []
        size, tail = 0, b""
        with Waiting(self._exchange):
            async for piece in pieces:
                out.append(reader.feed(piece))
                size += len(piece)
                tail = tail[-3:] + piece  # an empty line may have begun in the piece before
                if size > OPENING_BYTES_MAX or sse.ends_event(tail):
                    break
        return out

    async def _failed_stream(
        self,
        answer: Answer,
        pieces: AsyncIterator[bytes],
        reader: StreamReader,
        out: list[bytes],
    ) -> Down:
        """Take the rest of a stream that began with an error: it may be the caller's answer yet."""
        if not await self._hold(pieces, reader, out):
            raise _broken("the provider's stream began with an error and did not end")
        return self._down(answer, self._held(answer, out, stream=True))

    async def _hold(
        self, pieces: AsyncIterator[bytes], reader: StreamReader, out: list[bytes]
    ) -> bool:
        """Take the rest of a stream into ``out``; False when it is too long to be held.

        It is read little by little: at the end that would hold up the loop, and a reader that
        takes a frame out keeps a copy of what it has not read.
        """
        exchange = self._exchange
        size = sum(map(len, out))
        try:
            with Waiting(self._exchange):
                async for piece in pieces:
                    reader.keep_up(UNREAD_BYTES_MAX)
                    out.append(reader.feed(piece))
                    size += len(piece)
                    if size > exchange.gateway.answer_bytes_max:
                        return False
            out.append(reader.end())
        finally:
            self._trial.reading = reader.reading
        for piece in out:
            exchange.keep_text(self._trial, piece)
        return True

    async def _relay_stream(
        self,
        answer: Answer,
        pieces: AsyncIterator[bytes],
        reader: StreamReader,
        out: list[bytes],
    ) -> None:
        """Send what there is and what comes, as it comes; a broken stream ends with an error.

        Bytes go on before they are read: little by little once much has passed, the rest at the
        end.
        """
        exchange, send = self._exchange, self._way.send
        await reply.start(exchange, answer, send, trial=self._trial, length_known=False)
        try:
            for piece in out:
                await self._pass_on(piece)
            async for piece in pieces:
                reader.keep_up(UNREAD_BYTES_MAX)
                await self._pass_on(reader.feed(piece))
            await self._pass_on(reader.end())
        except UpstreamError as error:
            self._trial.error_type = error.type
            await reply.piece(reply.error_event(exchange, error), send)
        else:
            if self._broke_off(reader):
                await reply.piece(self._break_event(), send)
        finally:
            self._trial.reading = reader.reading

    async def _pass_on(self, out: bytes) -> None:
        if out:
            await reply.piece(out, self._way.send)
        self._exchange.keep_text(self._trial, out)

    def _broke_off(self, reader: StreamReader) -> bool:
        """Say whether a stream ended in the middle of an answer, and note it."""
        reading = reader.reading
        whole = reading.finished or reading.finish_reasons or reading.error_type
        if whole or not reader.events:
            return False
        self._trial.error_type = "truncated"
        return True

    def _break_event(self) -> bytes:
        error = _broken("the provider ended its stream in the middle of the answer")
        return reply.error_event(self._exchange, error)

    # The attempt's end -------------------------------------------------------------------------

    def _down(self, answer: Answer, held: Held) -> Down:
        now_ns = self._exchange.gateway.clock.now_ns()
        return Down(
            held=held, retry_after_seconds=retry_after_seconds(answer.headers, now_ns=now_ns)
        )

    def _held(
        self,
        answer: Answer,
        pieces: list[bytes] | tuple[bytes, ...],
        *,
        stream: bool = False,
        verdict: Verdict | None = None,
        error_type: str | None = None,
    ) -> Held:
        self._settle(error_type)
        return Held(
            status=answer.status,
            headers=answer.headers,
            pieces=tuple(pieces),
            stream=stream,
            attempt=self._exchange.attempts[-1],
            verdict=verdict,
        )

    def _settle(self, error_type: str | None) -> None:
        if not self._settled:
            self._settled = True
            self._trial.error_type = error_type or self._trial.error_type
            self._exchange.settle(self._trial)

    def _body(self) -> bytes:
        way, target = self._way, self._trial.target
        fields = way.asked.body
        values = {"model": as_json(target.request_model)}
        for key, value in way.route.params(self._trial.tier).items():
            values[key] = as_json(value)
        asked = next((one for one in self._exchange.attempts if one.tier != CODE), None)
        first = target.provider if asked is None else asked.provider
        values.update(way.authorship.cleaned(target.provider, first=first))
        if way.asked.stream and way.route.dialect is Dialect.CHAT and target.stream_usage:
            options = fields.get("stream_options", dict) or {}
            if options.get("include_usage") is not True:
                self._hide_usage = True
                values["stream_options"] = as_json({**options, "include_usage": True})
        return fields.with_values(values)


def _broken(what: str) -> UpstreamError:
    return UpstreamError(
        "upstream_broken", what, hint="send the step again; if it stays so, look at the provider"
    )


def _may_hold_error(opening: bytes) -> bool:
    """Say whether a stream's first bytes deserve to be read before they go on."""
    return b"error" in opening or b"failed" in opening


def _is_stream(answer: Answer) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in answer.headers
    )


@lru_cache(maxsize=1_024)
def _url(base_url: str, path: str, query: str) -> URL:
    return URL(f"{base_url}{path}?{query}" if query else base_url + path, encoded=True)

"""The stand-in provider: routes, bills, paces."""

import asyncio
import hashlib
import itertools
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import msgspec

from evals.standin import chat, embeddings, envelopes, messages, responses
from evals.standin.ask import Ask
from evals.standin.door import BadStatus, object_of, read_body
from evals.standin.http import LAST_CHUNK, Connection, Request, chunk
from evals.standin.ledger import Entry, Ledger
from evals.standin.reply import Reply
from evals.standin.skills import EMBEDDING_MODEL, ModelSkills, SkillTable
from evals.standin.thinking import Answer, refuses, think
from evals.standin.tokenizer import count
from telemetry.clock import Clock, SystemClock
from telemetry.records import Dialect

THOUGHTS_MAX = 512  # answers kept by request body, which cannot change them
THOUGHT_BYTES_MAX = 65_536
PREFIXES_MAX = 4_096
STATUS_MODEL = re.compile(r"standin-status-([45]\d\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class StandinConfig:
    """How a stand-in is run."""

    seed: int = 7
    pace: float = 0.0  # 1 waits as long as the table says, 0 never waits
    keys: frozenset[str] = frozenset()  # keys it takes; any caller when empty
    clock: Clock = field(default_factory=SystemClock)


Thought = tuple[Ask, Answer, ModelSkills]


class Standin:
    """Handles requests; one per process and event loop."""

    def __init__(self, config: StandinConfig) -> None:
        self.config = config
        self.ledger = Ledger()
        self.skills = SkillTable()
        self._numbers = itertools.count(1)
        self._thoughts: OrderedDict[tuple[Dialect, bytes], Thought] = OrderedDict()
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[bytes, str], Callable[[Request, Connection], None]] = {
            (b"POST", "chat/completions"): self._model_call(Dialect.CHAT),
            (b"POST", "responses"): self._model_call(Dialect.RESPONSES),
            (b"POST", "messages"): self._model_call(Dialect.MESSAGES),
            (b"POST", "messages/count_tokens"): self._count_tokens,
            (b"POST", "embeddings"): self._embeddings,
            (b"GET", "models"): self._models,
            (b"GET", "ledger"): self._ledger,
            (b"POST", "ledger/reset"): self._ledger_reset,
            (b"GET", "skills"): self._skills,
            (b"POST", "skills"): self._skills_change,
            (b"POST", "skills/reset"): self._skills_reset,
        }
        self._by_path: dict[bytes, str] = {}

    @property
    def busy(self) -> bool:
        """Whether a paced answer is under way."""
        return bool(self._tasks)

    def __call__(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        name = self._by_path.get(request.path) or self._route_name(request.path)
        serve = self._routes.get((request.method, name))
        if serve is None:
            known = any(route == name for _, route in self._routes)
            status = 405 if known else 404
            self._fail(connection, Dialect.CHAT, status=status, message=f"No such route: {name}")
            return
        serve(request, connection)

    def _route_name(self, path: bytes) -> str:
        """Return the route that ``path`` ends in, whatever base URL stands before it."""
        plain = path.partition(b"?")[0].decode("latin-1").rstrip("/")
        names = sorted({name for _, name in self._routes}, key=len, reverse=True)
        name = next((n for n in names if plain.endswith("/" + n)), plain)
        if len(self._by_path) < 256:
            self._by_path[path] = name
        return name

    # model calls

    def _model_call(self, dialect: Dialect) -> Callable[[Request, Connection], None]:
        def serve(request: Request, connection: Connection) -> None:
            number = next(self._numbers)
            try:
                self._authorize(request, dialect)
                ask, answer, skills = self._thought(dialect, request.body)
                if refuses(ask, skills.fail_share, seed=self.config.seed, number=number):
                    raise BadStatus(skills.fail_status, "The stand-in was told to refuse this.")
            except BadStatus as bad:
                self._fail(connection, dialect, status=bad.status, message=bad.message)
                return
            self._send(connection, self._reply(ask, answer, skills, number), skills)

        return serve

    def _authorize(self, request: Request, dialect: Dialect) -> None:
        if not self.config.keys:
            return
        if dialect is Dialect.MESSAGES and b"x-api-key" in request.headers:
            shown = request.headers[b"x-api-key"].decode("latin-1")
        else:
            shown = request.headers.get(b"authorization", b"").decode("latin-1")
            shown = shown.removeprefix("Bearer ")
        if shown not in self.config.keys:
            raise BadStatus(401, "Incorrect API key provided.")

    def _thought(self, dialect: Dialect, body: bytes) -> Thought:
        known = self._thoughts.get((dialect, body))
        if known is not None and self.skills.models.get(known[0].model) is known[2]:
            return known
        ask = read_body(dialect, body)
        skills = self._model(ask.model)
        thought = (ask, think(ask, skills, seed=self.config.seed), skills)
        if len(body) <= THOUGHT_BYTES_MAX:
            self._thoughts[dialect, body] = thought
            if len(self._thoughts) > THOUGHTS_MAX:
                self._thoughts.popitem(last=False)
        return thought

    def _model(self, name: str) -> ModelSkills:
        demanded = STATUS_MODEL.fullmatch(name)
        if demanded:
            raise BadStatus(int(demanded.group(1)), f"The model {name!r} always answers so.")
        for known, skills in self.skills.models.items():
            if name in (known, skills.version):
                return skills
        raise BadStatus(404, f"The model {name!r} does not exist or you do not have access to it.")

    def _reply(self, ask: Ask, answer: Answer, skills: ModelSkills, number: int) -> Reply:
        read, write = self._cached(ask)
        return Reply(
            ask=ask,
            answer=answer,
            request_id=self._request_id(number),
            created=self.config.clock.now_ns() // 1_000_000_000,
            version=skills.version,
            cache_read=read,
            cache_write=write,
        )

    def _request_id(self, number: int) -> str:
        key = f"{self.config.seed}/{id(self)}/{self.config.clock.now_ns()}/{number}".encode()
        return hashlib.blake2b(key, digest_size=12).hexdigest()

    def _cached(self, ask: Ask) -> tuple[int, int]:
        """Return tokens read from and written to the prompt cache, and remember the prefix."""
        if not ask.prefix_tokens:
            return 0, 0
        key = hashlib.blake2b(
            f"{ask.model}\x00{ask.prefix}".encode(errors="replace"), digest_size=16
        ).digest()
        hit = key in self._prefixes
        self._prefixes[key] = None
        self._prefixes.move_to_end(key)
        if len(self._prefixes) > PREFIXES_MAX:
            self._prefixes.popitem(last=False)
        if hit:
            return ask.prefix_tokens, 0
        return 0, ask.prefix_tokens if ask.dialect is Dialect.MESSAGES else 0

    def _send(self, connection: Connection, reply: Reply, skills: ModelSkills) -> None:
        entry = _entry(reply)
        self.ledger.add(entry)
        render = RENDERERS[reply.ask.dialect]
        headers = id_header(reply.ask.dialect, reply.request_id)
        if self.config.pace > 0:
            task = asyncio.create_task(self._send_paced(connection, reply, skills, entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            connection.on_lost = task.cancel
            return
        entry.finished = True
        entry.output = reply.answer.output_tokens
        if not reply.ask.stream:
            connection.answer(200, render.body(reply), headers=headers)
            return
        parts = [connection.stream_head(headers=headers)]
        parts += [chunk(frame.content) for frame in render.frames(reply)]
        parts.append(LAST_CHUNK)
        connection.write(b"".join(parts))
        connection.finish()

    async def _send_paced(
        self, connection: Connection, reply: Reply, skills: ModelSkills, entry: Entry
    ) -> None:
        """Send as fast as the table says; when the peer goes away, bill what was made by then."""
        render = RENDERERS[reply.ask.dialect]
        headers = id_header(reply.ask.dialect, reply.request_id)
        clock, pace = self.config.clock, self.config.pace
        entry.output = reply.answer.reasoning_tokens
        thinking_seconds = reply.answer.reasoning_tokens * skills.token_seconds
        if not reply.ask.stream:
            started = clock.monotonic()
            text_seconds = len(reply.answer.pieces) * skills.token_seconds
            try:
                await clock.sleep(
                    (skills.first_byte_seconds + thinking_seconds + text_seconds) * pace
                )
            except asyncio.CancelledError:
                spent = (clock.monotonic() - started) / pace - skills.first_byte_seconds
                made = math.floor(max(0.0, spent) / skills.token_seconds)
                entry.output = min(made, reply.answer.output_tokens)
                raise
            entry.finished, entry.output = True, reply.answer.output_tokens
            connection.answer(200, render.body(reply), headers=headers)
            return
        await clock.sleep((skills.first_byte_seconds + thinking_seconds) * pace)
        connection.write(connection.stream_head(headers=headers))
        for frame in render.frames(reply):
            if frame.tokens:
                await clock.sleep(frame.tokens * skills.token_seconds * pace)
            await connection.drained()
            connection.write(chunk(frame.content))
            entry.output += frame.tokens
        entry.finished = True
        connection.write(LAST_CHUNK)
        connection.finish()

    def _fail(self, connection: Connection, dialect: Dialect, *, status: int, message: str) -> None:
        request_id = self._request_id(next(self._numbers))
        self.ledger.add(_blank(request_id, dialect, status=status))
        headers = id_header(dialect, request_id)
        if status in (429, 503, 529):
            headers += b"retry-after: 1\r\n"
        body = envelopes.error(dialect, status, message=message, request_id=request_id)
        connection.answer(status, body, headers=headers)

    # other routes

    def _count_tokens(self, request: Request, connection: Connection) -> None:
        try:
            self._authorize(request, Dialect.MESSAGES)
            ask = read_body(Dialect.MESSAGES, request.body, counting=True)
            self._model(ask.model)
        except BadStatus as bad:
            self._fail(connection, Dialect.MESSAGES, status=bad.status, message=bad.message)
            return
        connection.answer(200, msgspec.json.encode({"input_tokens": ask.input_tokens}))

    def _embeddings(self, request: Request, connection: Connection) -> None:
        try:
            self._authorize(request, Dialect.EMBEDDINGS)
            body = object_of(request.body)
            texts = embeddings.texts_of(body)
        except BadStatus as bad:
            self._fail(connection, Dialect.EMBEDDINGS, status=bad.status, message=bad.message)
            return
        except (LookupError, embeddings.BadInput) as error:
            status = 404 if isinstance(error, LookupError) else 400
            message = str(error.args[0])
            self._fail(connection, Dialect.EMBEDDINGS, status=status, message=message)
            return
        tokens = sum(count(text) for text in texts)
        request_id = self._request_id(next(self._numbers))
        entry = _blank(request_id, Dialect.EMBEDDINGS, status=200)
        entry.model, entry.input = EMBEDDING_MODEL, tokens
        self.ledger.add(entry)
        headers = id_header(Dialect.EMBEDDINGS, request_id)
        connection.answer(200, embeddings.answer(texts, body, tokens=tokens), headers=headers)

    def _models(self, request: Request, connection: Connection) -> None:
        """List models in the shape the caller's headers ask for."""
        names = [*self.skills.models, EMBEDDING_MODEL]
        if b"anthropic-version" in request.headers:
            at = "2026-08-01T00:00:00Z"
            rows: list[dict[str, Any]] = [
                {
                    "type": "model",
                    "id": n,
                    "display_name": n,
                    "created_at": at,
                    "lifecycle": "active",
                }
                for n in names
            ]
            page = {"data": rows, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        else:
            rows = [
                {"id": n, "object": "model", "created": 1_785_542_400, "owned_by": "standin"}
                for n in names
            ]
            page = {"object": "list", "data": rows}
        connection.answer(200, msgspec.json.encode(page))

    def _ledger(self, request: Request, connection: Connection) -> None:
        connection.answer(200, msgspec.json.encode(self.ledger.as_json()))

    def _ledger_reset(self, request: Request, connection: Connection) -> None:
        self.ledger.reset()
        connection.answer(200, b"{}")

    def _skills(self, request: Request, connection: Connection) -> None:
        connection.answer(200, msgspec.json.encode(self.skills.as_json()))

    def _skills_change(self, request: Request, connection: Connection) -> None:
        try:
            self.skills.change(object_of(request.body))
        except (ValueError, BadStatus) as error:
            connection.answer(400, msgspec.json.encode({"error": str(error)}))
            return
        self._skills(request, connection)

    def _skills_reset(self, request: Request, connection: Connection) -> None:
        self.skills.reset()
        self._skills(request, connection)


RENDERERS: dict[Dialect, ModuleType] = {
    Dialect.CHAT: chat,
    Dialect.RESPONSES: responses,
    Dialect.MESSAGES: messages,
}

ID_PREFIXES = {Dialect.CHAT: "chatcmpl-", Dialect.RESPONSES: "resp_", Dialect.MESSAGES: "msg_01"}


def id_header(dialect: Dialect, request_id: str) -> bytes:
    """Return the header line with the provider's own id of the request."""
    name = "request-id" if dialect is Dialect.MESSAGES else "x-request-id"
    return f"{name}: req_{request_id}\r\n".encode()


def _blank(request_id: str, dialect: Dialect, *, status: int) -> Entry:
    return Entry(
        request_id=f"req_{request_id}",
        response_id=None,
        dialect=dialect.value,
        model="",
        streamed=False,
        status=status,
        finished=True,
    )


def _entry(reply: Reply) -> Entry:
    return Entry(
        request_id=f"req_{reply.request_id}",
        response_id=ID_PREFIXES[reply.ask.dialect] + reply.request_id,
        dialect=reply.ask.dialect.value,
        model=reply.ask.model,
        streamed=reply.ask.stream,
        status=200,
        input=reply.ask.input_tokens,
        cache_read=reply.cache_read,
        cache_write=reply.cache_write,
        reasoning=reply.answer.reasoning_tokens,
        step=reply.answer.step.value,
        right=reply.answer.right,
    )

"""Checks outside the process: a command, or an HTTP server.

Both get one JSON object that describes the answer and give one that holds the verdict:
``{"verdict": "pass" | "fail" | "abstain", "score": 0..1 or null, "reason": "..."}``.
Anything else, and anything late, is an error of the check and never a bad score.
"""

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, cast
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, Field

from evals.answers import Answer
from evals.checks import REASON_MAX, CheckSection
from evals.slow import Budgeted
from telemetry.clock import Clock
from telemetry.records import Result, Verdict

if TYPE_CHECKING:
    import aiohttp

PAYLOAD_MAX: Final = 8_388_608
OUTPUT_MAX: Final = 65_536
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class _Said(msgspec.Struct):
    verdict: Literal["pass", "fail", "abstain"]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    reason: str = ""


_SAID: Final = msgspec.json.Decoder(_Said)


def payload(check: str, answer: Answer) -> bytes:
    """Return the JSON object that an external check reads; docs/checks.md lists its members."""
    step = answer.step
    return msgspec.json.encode(
        {
            "check": check,
            "role": step.role,
            "dialect": step.dialect,
            "text": answer.text,
            "tool_calls": [call._asdict() for call in answer.tool_calls],
            "finish": answer.finish,
            "finish_raw": answer.finish_raw,
            "refusal": answer.refusal,
            "malformed": answer.malformed,
            "schema": None if step.schema is None else msgspec.Raw(step.schema),
            "tools": [tool.name for tool in step.tools],
            "last_user_text": step.last_user_text,
        }
    )


class ExternalSection(CheckSection):
    """What both kinds take."""

    seconds: float = Field(2.0, gt=0, le=30, description="deadline of one call")
    running_max: int = Field(8, ge=1, le=256, description="calls at once; more wait their turn")
    version: str = Field(
        "1",
        min_length=1,
        max_length=64,
        description="change it when old scores stop being comparable",
    )


class External(Budgeted):
    """What both kinds share: the payload, the deadline, the verdict."""

    Parameters: ClassVar[type[ExternalSection]] = ExternalSection

    def __init__(self, parameters: Any, clock: Clock) -> None:
        super().__init__(parameters.name or self.name, parameters.version, clock)
        self.parameters = parameters
        self._room = asyncio.Semaphore(parameters.running_max)

    async def ask(self, answer: Answer) -> Verdict:
        content = payload(self.name, answer)
        if len(content) > PAYLOAD_MAX:
            return self.verdict(Result.ABSTAIN, reason="the answer is too large to hand over")
        output = await self.within(content)
        try:
            said = _SAID.decode(output)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.broken('did not say {"verdict": "pass" | "fail" | "abstain"}') from None
        return self.verdict(Result(said.verdict), score=said.score, reason=said.reason[:REASON_MAX])

    async def within(self, content: bytes) -> bytes:
        """Hand ``content`` over when it is its turn; what is said in time and not too long."""
        try:
            async with asyncio.timeout(self.parameters.seconds), self._room:
                output = await self.exchange(content)
        except TimeoutError:
            raise self.broken(f"no verdict within {self.parameters.seconds:g} s") from None
        if len(output) > OUTPUT_MAX:
            raise self.broken(f"said more than {OUTPUT_MAX} bytes")
        return output

    async def exchange(self, content: bytes) -> bytes:
        """Hand ``content`` over and return what is said, at most one byte more than allowed."""
        raise NotImplementedError


class CommandSection(ExternalSection):
    """Which program."""

    argv: tuple[str, ...] = Field(
        min_length=1, max_length=100, description="program and arguments; no shell reads them"
    )
    env: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...] = Field(
        (), max_length=50, description="further environment variables it gets, by name"
    )


class Command(External):
    """A program that reads the answer from standard input and writes the verdict to its output.

    It is started anew for each answer, in a process group of its own that is killed at the
    deadline, and sees no environment variables but the usual ones and those named in ``env``.
    """

    name = "command"
    Parameters = CommandSection

    async def exchange(self, content: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        variables = (*_PASSED_ON, *self.parameters.env)
        try:
            transport, talk = await loop.subprocess_exec(
                _Talk,
                *self.parameters.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in variables if name in os.environ},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self.broken(f"cannot start: {type(error).__name__}") from error
        try:
            # Not isinstance: the transports of uvloop are no subclasses.
            stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
            with contextlib.suppress(RuntimeError):  # uvloop, when the program has ended already
                stdin.write(content)
                stdin.close()
            await talk.said
        finally:
            # The whole group, even after the program's own end: it may have left others behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await talk.exited
            transport.close()
        if len(talk.output) <= OUTPUT_MAX and (code := transport.get_returncode()):
            raise self.broken(f"ended with exit code {code}")
        return bytes(talk.output)


class _Talk(asyncio.SubprocessProtocol):
    """What a program says: ``said`` is done when it ended in silence, or has said too much."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.said: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self._open = True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self.output) <= OUTPUT_MAX:
            self.output += data
        self._look()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open = self._open and fd != 1
        self._look()

    def process_exited(self) -> None:
        self.exited.set_result(None)
        self._look()

    def _look(self) -> None:
        complete = self.exited.done() and not self._open
        if (complete or len(self.output) > OUTPUT_MAX) and not self.said.done():
            self.said.set_result(None)


def checked_address(value: str) -> str:
    """Return an address that may be called; raise ``ValueError`` for any other."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError(f"{value!r} is not an http or https address without a password")
    return value


class HttpSection(ExternalSection):
    """Which server."""

    url: Annotated[str, AfterValidator(checked_address)] = Field(
        description="gets a POST per answer"
    )
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        None, description="environment variable with a key, sent as a bearer token"
    )


class Http(External):
    """A server that gets the answer as the body of a POST and replies 200 with the verdict.

    Redirects are not followed: the address is the operator's choice alone.
    """

    name = "http"
    Parameters: ClassVar[type[HttpSection]] = HttpSection

    def __init__(self, parameters: Any, clock: Clock) -> None:
        super().__init__(parameters, clock)
        self._session: aiohttp.ClientSession | None = None

    def addressed(self) -> dict[str, str]:
        """Return the headers that every call carries beside its key."""
        return {"content-type": "application/json"}

    def taken(self, reply: "aiohttp.ClientResponse") -> None:
        """Look at a reply before its body is read.

        Raises:
            CheckCrashed: its status says that there is no verdict in it.
        """
        if reply.status != 200:
            raise self.broken(f"replied with status {reply.status}")

    async def exchange(self, content: bytes) -> bytes:
        import aiohttp  # noqa: PLC0415 - large, and reading a policy asks nobody

        headers = self.addressed()
        if (key_env := self.parameters.key_env) is not None:
            if not (key := os.environ.get(key_env)):
                raise self.broken(f"the environment variable {key_env} is not set")
            headers["authorization"] = f"Bearer {key}"
        try:
            async with self._opened().post(
                self.parameters.url, data=content, headers=headers, allow_redirects=False
            ) as reply:
                self.taken(reply)
                output = b""
                while len(output) <= OUTPUT_MAX and (piece := await reply.content.readany()):
                    output += piece
                return output
        except aiohttp.ClientError as error:
            raise self.broken(f"cannot be asked: {type(error).__name__}") from error

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - as above

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self.parameters.running_max),
                timeout=aiohttp.ClientTimeout(total=self.parameters.seconds),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

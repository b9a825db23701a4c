"""Healthy answers of each dialect, made by the stand-in; a fault is made by spoiling them."""

import re

from evals.standin import chat, messages, responses
from evals.standin.ask import Ask
from evals.standin.reply import Reply
from evals.standin.skills import Step
from evals.standin.thinking import Answer
from evals.standin.tokenizer import pieces
from telemetry.records import Dialect

# The text that every healthy answer carries.
TEXT = "Grüße, 世界 🌍: the order DE-482913 is on its way. Ça va? ¡Hasta pronto!"
INPUT_TOKENS = 21
RENDERERS = {Dialect.CHAT: chat, Dialect.RESPONSES: responses, Dialect.MESSAGES: messages}
FIGURES = re.compile(
    rb'"(?:prompt|completion|total|input|output|cached|reasoning|cache_creation_input'
    rb'|cache_read_input|cache_write)_tokens":(\d+)'
)
USAGE = re.compile(rb',"usage":\{(?:[^{}]|\{[^{}]*\})*\}')


def _reply(dialect: Dialect) -> Reply:
    ask = Ask(
        model="standin-mid",
        dialect=dialect,
        text="",
        system="",
        tool_result=None,
        tools=(),
        tool_choice="auto",
        schema=None,
        json_only=False,
        stream=True,
        include_usage=True,
        logprobs=False,
        thinking=False,
        effort=None,
        output_tokens_max=None,
        input_tokens=INPUT_TOKENS,
        prefix="",
        prefix_tokens=0,
    )
    answer = Answer(
        step=Step.OTHER,
        right=True,
        text=TEXT,
        call=None,
        cut=False,
        pieces=tuple(pieces(TEXT)),
        reasoning_tokens=0,
    )
    return Reply(
        ask=ask,
        answer=answer,
        request_id="0123456789abcdef01234567",
        created=1_795_000_000,
        version="standin-mid-2026-07-15",
        cache_read=0,
        cache_write=0,
    )


def whole(dialect: Dialect, *, usage: str | None = "right") -> bytes:
    """Return a whole answer; ``usage`` replaces every figure, None leaves the object out."""
    return _spoilt(RENDERERS[dialect].body(_reply(dialect)), usage)


def frames(dialect: Dialect, *, usage: str | None = "right") -> list[bytes]:
    """Return the frames of a streamed answer, usage included."""
    return [_spoilt(f.content, usage) for f in RENDERERS[dialect].frames(_reply(dialect))]


def error_frame(dialect: Dialect) -> bytes:
    """Return an error event as the dialect sends it inside a stream."""
    if dialect is Dialect.MESSAGES:
        body = '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
        return f"event: error\ndata: {body}\n\n".encode()
    if dialect is Dialect.RESPONSES:
        body = (
            '{"type":"error","code":"server_error","message":"Overloaded","param":null,'
            '"sequence_number":0}'
        )
        return f"event: error\ndata: {body}\n\n".encode()
    body = '{"error":{"message":"Overloaded","type":"server_error","param":null,"code":null}}'
    return f"data: {body}\n\n".encode()


def _spoilt(content: bytes, usage: str | None) -> bytes:
    if usage == "right":
        return content
    if usage is None:
        return USAGE.sub(b"", content)
    return FIGURES.sub(lambda found: _with_figure(found, usage), content)


def _with_figure(found: "re.Match[bytes]", figure: str) -> bytes:
    start = found.start(1) - found.start()
    return found.group()[:start] + figure.encode()

"""The misbehaving upstream really misbehaves as each name says, seen by a plain socket."""

import asyncio
import contextlib
import json
import time

import pytest

from telemetry.records import Dialect
from tests.faults.answers import TEXT, frames
from tests.faults.behaviours import BEHAVIOURS, fault_server
from tests.faults.server import FaultServer, blackhole, refused_port

BODY = json.dumps({"model": "m", "stream": True, "messages": []}).encode()


async def raw(
    faults: FaultServer,
    behaviour: str,
    *,
    route: str = "chat/completions",
    body: bytes = BODY,
    patience_seconds: float = 0.4,
) -> tuple[bytes, BaseException | None]:
    """Return all bytes of one answer, and how reading them ended when not by a close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", faults.port)
    head = (
        f"POST /{behaviour}/v1/{route} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    got = bytearray()
    ended: BaseException | None = None
    try:
        while piece := await asyncio.wait_for(reader.read(1_048_576), patience_seconds):
            got += piece
    except (TimeoutError, ConnectionError) as error:
        ended = error
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return bytes(got), ended


@pytest.mark.parametrize("route", ["chat/completions", "responses", "messages"])
async def test_a_healthy_answer_holds_every_frame_and_its_end(route: str) -> None:
    async with fault_server() as faults:
        got, _ = await raw(faults, "ok", route=route)
    dialect = {"chat/completions": Dialect.CHAT, "responses": Dialect.RESPONSES}.get(
        route, Dialect.MESSAGES
    )
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert all(frame in got for frame in frames(dialect))
    assert got.endswith(b"0\r\n\r\n")


async def test_silence_is_really_silent_and_the_peers_leaving_is_recorded() -> None:
    async with fault_server() as faults:
        got, ended = await raw(faults, "silent")
        contact = faults.contacts[0]
        await asyncio.wait_for(contact.gone.wait(), 5)
    assert got == b""
    assert isinstance(ended, TimeoutError)
    assert contact.gone_at is not None
    assert contact.started < contact.gone_at <= time.monotonic()
    assert contact.body == BODY


async def test_a_stream_falls_silent_after_its_first_frames() -> None:
    async with fault_server() as faults:
        got, ended = await raw(faults, "silent_mid_stream")
    assert isinstance(ended, TimeoutError)
    assert frames(Dialect.CHAT)[5] in got
    assert frames(Dialect.CHAT)[-1] not in got


@pytest.mark.parametrize("behaviour", ["reset_mid_stream", "reset_before_headers"])
async def test_a_reset_is_a_reset_and_not_a_close(behaviour: str) -> None:
    async with fault_server() as faults:
        _, ended = await raw(faults, behaviour)
    assert isinstance(ended, ConnectionResetError)


async def test_a_clean_end_has_the_last_chunk_but_no_last_event() -> None:
    async with fault_server() as faults:
        clean, _ = await raw(faults, "clean_eof")
        truncated, ended = await raw(faults, "truncated_eof")
    assert clean.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in clean
    assert not truncated.endswith(b"0\r\n\r\n")
    assert ended is None


async def test_a_half_closed_server_has_answered_and_still_reads() -> None:
    async with fault_server() as faults:
        got, ended = await raw(faults, "half_close")
        contact = faults.contacts[0]
        await asyncio.wait_for(contact.gone.wait(), 5)
    assert json.loads(got.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"] == TEXT
    assert ended is None


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [("status_500", 500), ("status_529", 529), ("rate_limited_huge", 429), ("redirect", 302)],
)
async def test_error_statuses_are_sent_as_named(behaviour: str, code: int) -> None:
    async with fault_server() as faults:
        got, _ = await raw(faults, behaviour)
    assert got.startswith(b"HTTP/1.1 %d " % code)


@pytest.mark.parametrize("route", ["chat/completions", "responses", "messages"])
@pytest.mark.parametrize(
    ("behaviour", "figure"), [("usage_negative", b"-5"), ("usage_huge", b"1e308")]
)
async def test_usage_figures_are_replaced_by_absurd_ones(
    route: str, behaviour: str, figure: bytes
) -> None:
    async with fault_server() as faults:
        got, _ = await raw(faults, behaviour, route=route)
    assert b'_tokens":' + figure in got
    assert b'put_tokens":2' not in got


@pytest.mark.parametrize("route", ["chat/completions", "responses", "messages"])
async def test_missing_usage_is_missing(route: str) -> None:
    async with fault_server() as faults:
        got, _ = await raw(faults, "usage_missing", route=route)
    assert b'"usage":{' not in got


async def test_a_huge_line_and_a_million_chunks_arrive_whole() -> None:
    async with fault_server() as faults:
        huge, _ = await raw(faults, "huge_line")
        tiny, _ = await raw(faults, "million_one_byte_chunks")
    assert len(huge) > 10 * 1_048_576
    assert 900_000 < tiny.count(b"1\r\n") < 1_100_000


async def test_a_refused_port_refuses_and_a_blackhole_hangs() -> None:
    with refused_port() as port, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with blackhole() as port, pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 0.3)


async def test_a_redirect_names_the_host_it_is_told_to() -> None:
    async with fault_server() as faults:
        own, _ = await raw(faults, "redirect")
        faults.redirect_to = "http://169.254.169.254/latest"
        other, _ = await raw(faults, "redirect")
    assert b"location: " + faults.origin.encode() + b"/redirected/" in own
    assert b"location: http://169.254.169.254/latest\r\n" in other


async def test_the_models_name_chooses_the_behaviour_and_a_switch_replaces_it() -> None:
    body = json.dumps({"model": "fault-status_503", "messages": []}).encode()
    async with fault_server() as faults:
        broken, _ = await raw(faults, "ok", body=body)
        faults.switch("status_503", to="ok")
        healed, _ = await raw(faults, "ok", body=body)
    assert broken.startswith(b"HTTP/1.1 503")
    assert healed.startswith(b"HTTP/1.1 200")
    assert [contact.behaviour for contact in faults.contacts] == ["status_503", "ok"]


@pytest.mark.parametrize(
    "behaviour", sorted(set(BEHAVIOURS) - {"huge_line", "million_one_byte_chunks"})
)
async def test_every_behaviour_meets_its_peer_without_a_fault_of_its_own(behaviour: str) -> None:
    async with fault_server() as faults:
        await raw(faults, behaviour, patience_seconds=0.1)
        contact = faults.contacts[0]
        tasks = list(faults.tasks)
        await asyncio.wait_for(contact.gone.wait(), 5)
        await asyncio.gather(*tasks)
    assert contact.behaviour == behaviour
    assert contact.finished is not None

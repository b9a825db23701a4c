"""Every sink keeps the promises of `Sink`, before a server that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import pytest

from collector.sinks.message import Message, trial
from collector.sinks.opening import Surroundings, open_sink
from collector.sinks.sink import Answer, Sink, Verdict
from telemetry.alerting import NotifyConfig
from telemetry.clock import SystemClock
from telemetry.config import TelemetryConfig
from tests.collector.sinks.posting import NOW_NS, SECRET, alert
from tests.collector.sinks.receiver import (
    HUGE_BYTES,
    Behave,
    Receiver,
    answering,
    dripping,
    hanging,
    receiving,
)

ACCEPTED, RETRY, REFUSED, GONE = Verdict
KINDS = ("webhook", "alertmanager", "pagerduty", "chat", "otel")
KEY = "c4nary-routing-key"


def config(kind: str, **more: object) -> NotifyConfig:
    secrets = {"webhook": "SECRET", "pagerduty": "KEY", "alertmanager": "KEY"}
    settings = {"kind": kind, "url_env": "URL", "allow_private": True} | more
    return NotifyConfig.model_validate(settings | {"secret_env": secrets.get(kind)})


def opened(kind: str, url: str, **more: object) -> Sink:
    address = url.replace("http://", "json://") + "/c4nary" if kind == "chat" else url
    environment = {"URL": address, "SECRET": SECRET, "KEY": KEY}
    around = Surroundings(environment=environment, clock=SystemClock(), telemetry=TelemetryConfig())
    return open_sink("it", config(kind, **more), around)


def message() -> Message:
    return Message(
        message_id="tw_1",
        kind="alerts",
        at_ns=NOW_NS,
        summary="QualityLow",
        reason="FirstNotification",
        group_key='{}:{alertname="QualityLow"}',
        group_labels={"alertname": "QualityLow"},
        alerts=(alert(),),
    )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def tried(kind: str, receiver: Receiver, behave: Behave, **more: object) -> Answer:
    receiver.behave = behave
    sink = opened(kind, receiver.url, **more)
    try:
        return await sink.send(message())
    finally:
        await sink.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_good_answer_is_an_acknowledgement_of_one_request(
    kind: str, receiver: Receiver
) -> None:
    answer = await tried(kind, receiver, answering(200))
    assert answer.verdict is ACCEPTED
    assert len(receiver.received) == 1
    assert b"QualityLow" in receiver.received[0].body


@pytest.mark.parametrize("kind", KINDS)
async def test_a_test_is_sent_like_any_message(kind: str, receiver: Receiver) -> None:
    sink = opened(kind, receiver.url)
    answer = await sink.send(trial("tw_2", at_ns=NOW_NS, sink="it"))
    await sink.close()
    assert answer.verdict is ACCEPTED
    assert b"Test of sink it" in receiver.received[0].body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "wanted"), [(503, [RETRY]), (404, [REFUSED]), (410, [GONE, REFUSED])]
)
async def test_statuses_say_whether_to_try_again(
    kind: str, status: int, wanted: list[Verdict], receiver: Receiver
) -> None:
    answer = await tried(kind, receiver, answering(status))
    # OTLP knows no endpoint that is gone for good.
    assert answer.verdict is wanted[-1 if kind == "otel" else 0]
    assert str(status) in answer.message


@pytest.mark.parametrize("kind", KINDS)
async def test_too_many_requests_says_when_to_come_again(kind: str, receiver: Receiver) -> None:
    answer = await tried(kind, receiver, answering(429, retry_after="120"))
    assert answer.verdict is RETRY
    # apprise keeps the header to itself; the poster's own waiting covers that.
    assert answer.retry_after_seconds == (None if kind == "chat" else 120.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_redirects_are_not_followed(kind: str, receiver: Receiver) -> None:
    async with receiving() as elsewhere:
        answer = await tried(kind, receiver, answering(307, location=elsewhere.url))
        assert answer.verdict is REFUSED
        assert elsewhere.connections == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_huge_reply_changes_nothing(kind: str, receiver: Receiver) -> None:
    assert (await tried(kind, receiver, answering(200, size=HUGE_BYTES))).verdict is ACCEPTED
    assert (await tried(kind, receiver, answering(503, size=HUGE_BYTES))).verdict is RETRY


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_there_is_tried_again(kind: str) -> None:
    async with receiving() as receiver:
        url = receiver.url
    sink = opened(kind, url)
    answer = await sink.send(message())
    await sink.close()
    assert answer.verdict is RETRY


async def test_who_hangs_or_drips_is_left_in_time() -> None:
    async with AsyncExitStack() as stack:
        tries = []
        for kind in KINDS:
            for behave in (hanging, dripping):
                receiver = await stack.enter_async_context(receiving())
                tries.append(tried(kind, receiver, behave))
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*tries)
    assert {answer.verdict for answer in answers} == {RETRY}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "otel"])
async def test_private_addresses_are_refused_unless_allowed(kind: str, receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433"):
        url = receiver.url.replace("127.0.0.1", host)
        sink = opened(kind, url, allow_private=False)
        answer = await sink.send(message())
        await sink.close()
        assert answer.verdict is REFUSED, host
        # A bare number is taken for no host by some, for an IPv4 address by others.
        assert "private" in answer.message or host.isdigit()
    assert receiver.connections == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_no_answer_and_no_repr_shows_a_secret(kind: str, receiver: Receiver) -> None:
    sink = opened(kind, receiver.url)
    shown = [repr(sink)]
    receiver.behave = answering(400)
    shown.append(repr(await sink.send(message())))
    await sink.close()
    assert not leaks(shown, (KEY, SECRET.removeprefix("whsec_"), "/c4nary"))


def leaks(texts: Iterable[str], secrets: Iterable[str]) -> list[str]:
    return [secret for secret in secrets for text in texts if secret in text]

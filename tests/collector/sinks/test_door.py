"""The door: a name is looked up once, and only what was looked at is called."""

import asyncio
import socket
from typing import Any

import pytest

from collector.sinks.door import Door, is_public
from collector.sinks.sink import Verdict
from telemetry.clock import SystemClock
from tests.collector.sinks.receiver import receiving


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_addresses_of_this_house_are_told_from_those_of_the_world(
    address: str, public: bool
) -> None:
    assert is_public(address) is public


def answers(*addresses: str) -> Any:
    """Return a look-up that gives one address at a time, then none."""
    left = list(addresses)

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if not left:
            raise socket.gaierror(socket.EAI_NONAME, "looked up twice")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (left.pop(0), port))]

    return look_up


async def test_a_name_is_looked_up_once_and_that_address_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers("127.0.0.1"))
    async with receiving() as receiver:
        door = Door(allow_private=True, clock=SystemClock())
        url = f"http://hooks.example:{receiver.port}/x"
        answer = await door.post(url, body=b"{}", headers={})
        assert answer.verdict is Verdict.ACCEPTED
        assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_a_name_that_leads_home_is_refused_without_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers("127.0.0.1"))
    async with receiving() as receiver:
        door = Door(allow_private=False, clock=SystemClock())
        url = f"http://rebound.example:{receiver.port}/x"
        answer = await door.post(url, body=b"{}", headers={})
        assert answer.verdict is Verdict.REFUSED
        assert receiver.connections == 0


async def test_a_name_that_cannot_be_looked_up_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers())
    door = Door(allow_private=False, clock=SystemClock())
    answer = await door.post("http://nowhere.example/secret", body=b"{}", headers={})
    assert answer.verdict is Verdict.RETRY
    assert "secret" not in answer.message


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "no url", "http://", "http://[::1"]
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    door = Door(allow_private=True, clock=SystemClock())
    assert (await door.post(url, body=b"{}", headers={})).verdict is Verdict.REFUSED

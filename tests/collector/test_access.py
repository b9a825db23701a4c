"""Keys: who may read, who may change, and who is told to go away."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collector.access import Access, Key, Level, Person
from collector.config import AccessKeyConfig, CollectorConfig
from telemetry.errors import ConfigError
from tests.collector.conftest import Running, Start

KEYS = (
    Key(name="vic", level=Level.VIEWER, secret="v-secret"),
    Key(name="ada", level=Level.APPROVER, secret="a-secret"),
    Key(name="bi", level=Level.ANALYTICS, secret="b-secret"),
)


async def status(
    running: Running, path: str, *, key: str | None = None, method: str = "GET"
) -> int:
    headers = {} if key is None else {"authorization": key}
    async with running.session.request(
        method, running.console + path, headers=headers, json={} if method == "POST" else None
    ) as answer:
        await answer.read()
        return answer.status


def keyed() -> Access:
    return Access("s3nder", keys=KEYS)


def test_each_key_is_its_person() -> None:
    access = keyed()
    assert access.person(b"Bearer a-secret") == Person(name="ada", level=Level.APPROVER)
    assert access.person(b"Bearer v-secret") == Person(name="vic", level=Level.VIEWER)


@pytest.mark.parametrize(
    "forged",
    [b"", b"Bearer", b"Bearer ", b"a-secret", b"Bearer a-secre", b"Bearer a-secret ",
     b"bearer a-secret", b"Bearer A-SECRET", b"Basic a-secret", b"Bearer s3nder",
     b"Bearer \xff\xfe", b"Bearer a-secret,Bearer v-secret"],
)  # fmt: skip
def test_a_forged_key_is_nobody(forged: bytes) -> None:
    assert keyed().person(forged) is None


def test_without_keys_this_machine_is_local_and_others_only_read() -> None:
    here, there = Access(None), Access(None, loopback=False)
    assert here.person(b"") == Person(name="local", level=Level.APPROVER)
    assert there.person(b"") == Person(name="anybody", level=Level.VIEWER)


def test_secrets_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    monkeypatch.setenv("ADA", "a")
    key = AccessKeyConfig(name="ada", key_env="ADA", access="approver")
    access = Access.from_env("TOKEN", keys=[key], console="0.0.0.0:8081")
    assert access.person(b"Bearer a") == Person(name="ada", level=Level.APPROVER)
    monkeypatch.setenv("ADA", "t")
    with pytest.raises(ConfigError, match="same secret"):
        Access.from_env("TOKEN", keys=[key])
    monkeypatch.delenv("ADA")
    with pytest.raises(ConfigError, match="names ADA, which is not set"):
        Access.from_env("TOKEN", keys=[key])


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ([{"name": "a", "key_env": "A", "access": "viewer"}] * 2, "two keys are called 'a'"),
        ([{"name": "learner", "key_env": "A", "access": "viewer"}], "something else"),
        ([{"name": "a", "key_env": "A", "access": "owner"}], "viewer"),
        ([{"name": "a", "key_env": "se cret", "access": "viewer"}], "environment variable"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        CollectorConfig(token_env="T", keys=keys)


def test_keys_without_a_token_for_senders_are_refused() -> None:
    with pytest.raises(ValueError, match="token_env is missing"):
        CollectorConfig(keys=({"name": "a", "key_env": "A", "access": "viewer"},))


@pytest.mark.parametrize(
    ("path", "lowest"),
    [
        ("/api/roles", Level.ANALYTICS),
        ("/api/decisions", Level.VIEWER),
        ("/api/decisions/x", Level.VIEWER),
        ("/api/export/calls", Level.VIEWER),
        ("/api/no-such-route", Level.VIEWER),
    ],
)
async def test_reading_needs_a_key_of_the_right_level(
    start: Start, path: str, lowest: Level
) -> None:
    running = await start(access=keyed())
    assert await status(running, path) == 401
    assert await status(running, path, key="Bearer wrong") == 401
    assert await status(running, path, key="Bearer s3nder") == 401  # senders do not read
    for key in KEYS:
        found = await status(running, path, key=f"Bearer {key.secret}")
        assert (found == 403) == (key.level < lowest), key.name
        assert found != 401


async def test_sql_is_reading_and_other_posts_are_changes(start: Start) -> None:
    running = await start(access=keyed())
    assert await status(running, "/api/sql", key="Bearer b-secret", method="POST") == 403
    assert await status(running, "/api/sql", key="Bearer v-secret", method="POST") == 422
    assert await status(running, "/api/x", key="Bearer v-secret", method="POST") == 403


async def test_health_metrics_and_senders_need_no_key(start: Start) -> None:
    running = await start(access=keyed())
    for path in ("/livez", "/readyz", "/metrics"):
        assert await status(running, path) == 200
    assert await status(running, "/api/policy/active") == 401
    for secret in ("s3nder", "b-secret", "a-secret"):
        assert await status(running, "/api/policy/active", key=f"Bearer {secret}") == 200
    lease = "/api/budgets/lease"
    assert await status(running, lease, method="POST") == 401
    assert await status(running, lease, key="Bearer s3nder", method="POST") == 422


async def test_without_keys_the_console_reads_as_before(start: Start, tmp_path: Path) -> None:
    running = await start(token="s3nder")
    assert await status(running, "/api/roles") == 200
    assert await status(running, "/api/decisions") == 200


async def test_bodies_are_bounded_before_they_are_read(start: Start) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{}"

    running = await start()
    address = running.console + "/api/policy/freeze"
    async with running.session.post(address, data=endless()) as answer:
        assert answer.status == 413
    async with running.session.post(address, data=io.BytesIO(bytes(8_388_609))) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "too_large"

"""Whatever the console is asked wrongly, its answer says what to do next."""

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI

from collector.access import Access, Key, Level
from router.cli.app import run
from tests.collector.alerts.test_over_http import policy
from tests.collector.conftest import Running, Start

NONSENSE = "/?" + "&".join(
    f"{name}=-7"
    for name in (
        "limit", "before_ns", "window_seconds", "since_seconds", "rows_max", "steps", "wait",
        "before",
    )
)  # fmt: skip
# What answers without saying yes or no: files, health, and what a body of nonsense cannot spoil.
HARMLESS = {"/livez", "/readyz", "/metrics", "/", "/decisions", "/alerts", "/policy", "/savings"}


async def said(
    running: Running, method: str, path: str, **more: Any
) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
    async with running.session.request(method, running.console + path, **more) as answer:
        text = await answer.text()
        assert answer.status >= 400, (method, path, text[:200])
        return answer.status, json.loads(text)["error"], answer


def routes(app: FastAPI) -> list[tuple[str, str]]:
    known: dict[str, set[str]] = app.state.known
    return [
        (method, path)
        for path, methods in known.items()
        if path not in HARMLESS
        for method in sorted(methods - {"HEAD"})
    ]


async def test_every_route_asked_nonsense_says_what_and_what_next(start: Start) -> None:
    running = await start(terms=policy("worker"))
    asked = 0
    for method, path in routes(running.app):
        filled = re.sub(r"\{[^}]*\}", "nonsense", path)
        more: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": {"nonsense": 1}}
        async with running.session.request(
            method, running.console + filled + NONSENSE.removeprefix("/"), **more
        ) as answer:
            text = await answer.text()
        if answer.status < 400:
            continue
        asked += 1
        error = json.loads(text)["error"]
        assert error["hint"], (method, path)
        assert error["message"].endswith(f"; {error['hint']}"), (method, path)
        assert set(error) == {"type", "code", "message", "hint"}, (method, path)
    assert asked >= 30


async def test_a_path_that_is_none_names_the_nearest_route(start: Start) -> None:
    running = await start()
    status, error, _ = await said(running, "GET", "/api/decision")
    assert (status, error["code"]) == (404, "not_found")
    assert error["hint"] == "did you mean /api/decisions?"
    _, error, _ = await said(running, "POST", "/v1/chat/completions", json={})
    assert error["hint"] == "that is the gateway's, on port 8080 at first"
    _, error, _ = await said(running, "POST", "/v1/traces", data=b"x")
    assert "4318" in error["hint"]
    status, error, answer = await said(running, "GET", "/api/sql")
    assert (status, error["hint"], answer.headers["allow"]) == (405, "send POST", "POST")


async def test_a_key_that_opens_nothing_is_told_what_to_send(start: Start) -> None:
    key = Key(name="ann", level=Level.VIEWER, secret="s" * 24)
    running = await start(access=Access("t" * 24, keys=[key]))
    status, error, _ = await said(running, "GET", "/api/roles")
    assert (status, error["hint"]) == (
        401,
        "send it as Authorization: Bearer KEY; commands take it from TIERWISE_KEY",
    )
    for path in ("/api/policy/active", "/v1/feedback", "/api/budgets/lease"):
        method = "GET" if path.endswith("active") else "POST"
        body = {"decision": "d", "name": "n", "score": 1}
        status, error, _ = await said(
            running, method, path, json=body, headers={"authorization": "Bearer wrong"}
        )
        assert status == 401
        assert "token_env" in error["hint"], path


async def test_the_audit_of_a_running_collector_shows_the_key_of_the_environment(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Key(name="ann", level=Level.VIEWER, secret="s" * 24)
    running = await start(access=Access("t" * 24, keys=[key]))
    monkeypatch.delenv("TIERWISE_KEY", raising=False)
    assert await asyncio.to_thread(run, ["audit", running.console, "--json"]) == 1
    assert "next: send it as Authorization: Bearer KEY; commands" in capsys.readouterr().err
    monkeypatch.setenv("TIERWISE_KEY", key.secret)
    await asyncio.to_thread(run, ["audit", running.console])
    assert "No model call was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sql", "next_"),
    [
        (
            "SELECT 1 FROM decision",
            "SHOW TABLES lists what there is, DESCRIBE calls its columns; Did "
            'you mean "decisions"?',
        ),
        ("SELECT rol FROM decisions", 'Candidate bindings: "role"'),
        ("DROP TABLE calls", "write one SELECT"),
        ("SELEC 1", "write one SELECT"),
    ],
)
async def test_a_query_that_fails_is_told_what_there_is_and_what_is_near(
    start: Start, sql: str, next_: str
) -> None:
    running = await start()
    status, error, _ = await said(running, "POST", "/api/sql", json={"sql": sql})
    assert (status, error["code"]) == (400, "refused")
    assert next_ in error["hint"]


async def test_a_misspelt_field_names_the_one_that_is_missing(start: Start) -> None:
    running = await start()
    body = {"decision": "d", "nmae": "right", "score": 1}
    status, error, _ = await said(running, "POST", "/v1/feedback", json=body)
    assert (status, error["code"]) == (422, "invalid_field")
    assert "name: is missing" in error["message"]
    assert "nmae: unknown field; did you mean 'name'?" in error["message"]
    _, error, _ = await said(running, "POST", "/v1/feedback", data={"name": "right"})
    assert error["message"].startswith("body: not a JSON object under `content-type: application/")


@pytest.mark.parametrize(
    ("path", "kind", "body", "next_"),
    [
        ("/v1/trace", "application/json", b"{}", "OTLP goes to /v1/traces"),
        ("/v1/traces", "application/json", b"{", "sending it again changes nothing"),
        ("/v1/traces", "application/x-protobuf", b"junk", "sending it again changes nothing"),
        ("/v1/traces", "text/plain", b"junk", "send application/x-protobuf or application/json"),
    ],
)
async def test_senders_of_spans_are_told_what_next(
    start: Start, path: str, kind: str, body: bytes, next_: str
) -> None:
    running = await start()
    headers = {"content-type": kind}
    async with running.session.post(running.http + path, data=body, headers=headers) as answer:
        assert answer.status >= 400
        assert next_.encode() in await answer.read()

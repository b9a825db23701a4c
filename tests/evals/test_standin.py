"""The stand-in's own promises: its table, its determinism, its ledger, its pace."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.standin import reading
from evals.standin.__main__ import main
from evals.standin.ask import Ask, read_chat
from evals.standin.door import BadStatus, read_body
from evals.standin.running import Serving, StandinProcess, serving
from evals.standin.server import StandinConfig
from evals.standin.skills import SKILLS, Skill, SkillTable, Step
from evals.standin.thinking import think
from evals.standin.tokenizer import count, pieces
from telemetry.records import Dialect

JsonBody = dict[str, Any]


def ask(text: str, *, model: str = "standin-small", **fields: Any) -> Ask:
    return read_chat({"model": model, "messages": [{"role": "user", "content": text}], **fields})


@given(st.text(max_size=300))
def test_tokens_join_to_the_text_they_came_from(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count(text) == len(pieces(text))


@pytest.mark.parametrize("step", [Step.CLASSIFY, Step.DECIDE])
@pytest.mark.parametrize("model", list(SKILLS))
def test_the_share_of_right_answers_is_the_one_the_table_states(model: str, step: Step) -> None:
    prompts = {
        Step.CLASSIFY: "Answer with one of: yes, no. Does it mention 'a{n}'? <t>a{n}</t>",
        Step.DECIDE: "Decide. if n is over {n} then x, otherwise y\n<f>n: 5</f>",
    }
    asks = (ask(prompts[step].format(n=n), model=model) for n in range(1_500))
    answers = [think(one, SKILLS[model], seed=11) for one in asks]
    assert {answer.step for answer in answers} == {step}
    share = sum(answer.right for answer in answers) / len(answers)
    # Five standard errors of a share of 1,500 are at most 0.065.
    assert share == pytest.approx(SKILLS[model].steps[step].right, abs=0.065)


def test_a_wrong_answer_is_wrong_as_text_and_a_right_one_right() -> None:
    prompt = "Extract as JSON with the keys order_id and email.\n<t>DE-{n} a{n}@b.org</t>"
    right, wrong, unparsable = 0, 0, 0
    for n in range(100_000, 102_000):
        answer = think(ask(prompt.format(n=n)), SKILLS["standin-small"], seed=3)
        truth = {"order_id": f"DE-{n}", "email": f"a{n}@b.org"}
        try:
            same = json.loads(answer.text) == truth
        except ValueError:
            same = False
            unparsable += 1
        assert same is answer.right
        right += answer.right
        wrong += not answer.right
    assert right > wrong > unparsable > 0


def test_the_same_seed_answers_alike_and_another_seed_errs_elsewhere() -> None:
    prompts = [ask(f"Answer with one of: yes, no. {n}") for n in range(400)]
    skills = SKILLS["standin-small"]
    first = [think(prompt, skills, seed=1) for prompt in prompts]
    assert first == [think(prompt, skills, seed=1) for prompt in prompts]
    other = [think(prompt, skills, seed=2).right for prompt in prompts]
    assert [answer.right for answer in first] != other


def test_more_skill_only_mends_answers_and_never_spoils_one() -> None:
    table = SkillTable()
    weak = table.models["standin-small"]
    table.change({"standin-small": {"right": {"classify": 0.99}}})
    strong = table.models["standin-small"]
    for n in range(400):
        prompt = ask(f"Answer with one of: yes, no. {n}")
        if think(prompt, weak, seed=1).right:
            assert think(prompt, strong, seed=1).right


@pytest.mark.parametrize(
    ("patch", "fault"),
    [
        ({"standin-huge": {"right": 1}}, "no model 'standin-huge'"),
        ({"standin-small": {"right": {"guess": 1}}}, "no step 'guess'"),
        ({"standin-small": {"right": 1.5}}, "1.5 is not a number"),
        ({"standin-small": {"fail_status": 200}}, "200 is not an HTTP error status"),
        ({"standin-small": {"skill": 1}}, "unknown keys"),
    ],
)
def test_a_wrong_change_of_skills_names_its_fault_and_changes_nothing(
    patch: JsonBody, fault: str
) -> None:
    table = SkillTable()
    with pytest.raises(ValueError, match=fault):
        table.change({"standin-mid": {"right": 0.1}} | patch)
    assert table.models == SKILLS


def test_a_skill_outside_its_range_cannot_be_made() -> None:
    with pytest.raises(AssertionError, match=r"outside 0\.\.1"):
        Skill(right=1.1)


def test_an_unknown_prompt_gets_an_echo_and_is_never_wrong() -> None:
    answer = think(ask("Sing me a song"), SKILLS["standin-small"], seed=1)
    assert (answer.text, answer.right, answer.step) == (
        "You said: Sing me a song",
        True,
        Step.OTHER,
    )


def test_a_schema_is_filled_through_references_lists_and_unions() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["cat", "dog"]},
            "owner": {"$ref": "#/$defs/Owner"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "fixed": {"const": 3},
            "good": {"type": "boolean"},
        },
        "$defs": {"Owner": {"type": "object", "properties": {"email": {"type": "string"}}}},
    }
    value = reading.fill(schema, known={}, text="My dog is 7, write to a@b.org")
    assert value["kind"] == "dog"
    assert value["owner"] == {"email": "a@b.org"}
    assert (value["age"], value["fixed"], value["good"]) == (7, 3, True)
    assert len(value["tags"]) == 1


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    assert "next" in reading.fill(schema, known={}, text="x")


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (Dialect.CHAT, b"{"),
        (Dialect.CHAT, b"[]"),
        (Dialect.CHAT, b'{"model":"standin-mid"}'),
        (Dialect.CHAT, b'{"messages":[{"role":"user","content":"x"}]}'),
        (Dialect.CHAT, b'{"model":"m","messages":["x"]}'),
        (Dialect.CHAT, b'{"model":"m","messages":[{"role":"user"}],"response_format":"x"}'),
        (Dialect.CHAT, b'{"model":"m","messages":[{"role":"user"}],"max_tokens":0}'),
        (Dialect.RESPONSES, b'{"model":"m"}'),
        (Dialect.MESSAGES, b'{"model":"m","messages":[{"role":"user","content":"x"}]}'),
        (Dialect.MESSAGES, b'{"model":"m","max_tokens":1,"messages":[],"thinking":3}'),
        (Dialect.CHAT, b"[" * 100_000),
    ],
)
def test_a_malformed_body_is_a_bad_request(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(BadStatus) as refused:
        read_body(dialect, body)
    assert refused.value.status == 400


@pytest.fixture
async def served() -> AsyncIterator[Serving]:
    async with serving() as standin:
        yield standin


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def body_of(text: str = "hello", **fields: Any) -> JsonBody:
    return {
        "model": "standin-small", "messages": [{"role": "user", "content": text}], **fields
    }  # fmt: skip


async def test_stream_frames_follow_each_dialects_grammar(
    served: Serving, http: aiohttp.ClientSession
) -> None:
    bodies = {
        "chat/completions": body_of(stream=True),
        "responses": {"model": "standin-small", "input": "hello", "stream": True},
        "messages": body_of(stream=True, max_tokens=64),
    }
    texts = {}
    for route, body in bodies.items():
        async with http.post(f"{served.base_url}/{route}", json=body) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            texts[route] = await answer.text()
    chat = texts["chat/completions"].removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith("data: ") for frame in chat)
    assert chat[-1] == "data: [DONE]"
    assert json.loads(chat[0][6:])["choices"][0]["delta"]["role"] == "assistant"
    for route in ("responses", "messages"):
        for frame in texts[route].removesuffix("\n\n").split("\n\n"):
            name, data = frame.split("\n")
            assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    kinds = [line[7:] for line in texts["messages"].splitlines() if line.startswith("event: ")]
    deltas = kinds.count("content_block_delta")
    assert kinds == [
        "message_start", "content_block_start", "ping", *["content_block_delta"] * deltas,
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


async def test_every_base_path_and_a_version_as_model_are_served(
    served: Serving, http: aiohttp.ClientSession
) -> None:
    for path in ("/chat/completions", "/v1/chat/completions", "/a/b/chat/completions?x=1"):
        body = body_of() | {"model": "standin-mid-2026-07-15"}
        async with http.post(served.origin + path, json=body) as answer:
            assert answer.status == 200
    async with http.get(f"{served.base_url}/chat/completions") as answer:
        assert answer.status == 405
    async with http.get(f"{served.base_url}/nothing") as answer:
        assert answer.status == 404


async def test_the_ledger_names_every_request_and_is_emptied_on_demand(
    served: Serving, http: aiohttp.ClientSession
) -> None:
    for status in (200, 404):
        body = body_of() | ({"model": "nobody"} if status == 404 else {})
        async with http.post(f"{served.base_url}/chat/completions", json=body) as answer:
            assert answer.status == status
            sent = answer.headers["x-request-id"]
            ledger = served.standin.ledger.as_json()
            assert ledger["entries"][-1]["request_id"] == sent
    assert [entry["status"] for entry in ledger["entries"]] == [200, 404]
    async with http.post(f"{served.origin}/ledger/reset") as answer:
        assert answer.status == 200
    async with http.get(f"{served.origin}/ledger") as answer:
        assert await answer.json() == {"requests": 0, "dropped": 0, "entries": []}


async def test_skills_are_changed_while_it_runs_and_answers_follow(
    served: Serving, http: aiohttp.ClientSession
) -> None:
    body = body_of("Answer with one of: yes, no. Does it mention 'x'? <t>x</t>")

    async def said() -> str:
        async with http.post(f"{served.base_url}/chat/completions", json=body) as answer:
            return str((await answer.json())["choices"][0]["message"]["content"])

    for right, want in ((1, "yes"), (0, "no"), (1, "yes")):
        patch = {"standin-small": {"right": {"classify": right}}}
        async with http.post(f"{served.origin}/skills", json=patch) as answer:
            assert (await answer.json())["standin-small"]["right"]["classify"] == right
        assert await said() == want
    async with http.post(f"{served.origin}/skills", json={"x": {}}) as answer:
        assert answer.status == 400


async def test_a_share_of_requests_is_refused_when_it_is_told_so(
    served: Serving, http: aiohttp.ClientSession
) -> None:
    patch = {"standin-small": {"fail_share": 0.5, "fail_status": 529}}
    async with http.post(f"{served.origin}/skills", json=patch) as answer:
        assert answer.status == 200
    statuses = []
    for _ in range(60):
        async with http.post(f"{served.base_url}/chat/completions", json=body_of()) as answer:
            statuses.append(answer.status)
    assert set(statuses) == {200, 529}


async def test_a_peer_that_leaves_mid_stream_is_billed_for_what_it_got(
    http: aiohttp.ClientSession,
) -> None:
    async with serving(StandinConfig(pace=5)) as standin:
        body = body_of("Summarise.\n<ticket>From: A B <a@b.org>\nDE-123456</ticket>", stream=True)
        answer = await http.post(f"{standin.base_url}/chat/completions", json=body)
        for _ in range(4):
            await answer.content.readuntil(b"\n\n")
        answer.close()
        entry = standin.standin.ledger.entries[0]
        for _ in range(200):
            if not standin.standin.busy:
                break
            await asyncio.sleep(0.01)
        assert entry.finished is False
        assert 3 <= entry.output < 40  # a finished answer has 40 or more


async def test_a_paced_answer_is_whole_and_billed_in_full(http: aiohttp.ClientSession) -> None:
    async with serving(StandinConfig(pace=0.05)) as standin:
        for stream in (False, True):
            body = body_of(stream=stream)
            async with http.post(f"{standin.base_url}/chat/completions", json=body) as answer:
                assert b"hello" in await answer.read()
        assert [(e.finished, e.output) for e in standin.standin.ledger.entries] == [(True, 4)] * 2


async def test_pipelined_requests_are_answered_in_order(served: Serving) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for n in range(20):
        body = json.dumps(body_of(f"number {n}")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
    got = b""
    while got.count(b"You said") < 20:
        got += await reader.read(65_536)
    order = [got.index(f'"You said: number {n}"'.encode()) for n in range(20)]
    assert order == sorted(order)
    writer.write(b"this is not HTTP\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


def test_the_process_ends_with_its_starter_and_closing_twice_is_allowed() -> None:
    standin = StandinProcess.start()
    assert standin.ledger()["requests"] == 0
    standin.close()
    standin.close()
    with pytest.raises(OSError, match="refused"):
        standin.ledger()


def test_a_process_that_cannot_listen_says_so() -> None:
    with StandinProcess.start() as taken, pytest.raises(RuntimeError, match="exit code"):
        StandinProcess.start(port=taken.port)


def test_a_port_that_cannot_be_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["standin", "--port", "99999"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--port 99999 is not from 0 to 65535" in capsys.readouterr().err

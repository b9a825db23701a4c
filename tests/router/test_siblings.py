"""Workers of one gateway tell each other what sessions, plans and conversations came to."""

import contextlib
import http.client
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.line import Line, hang_up, lines
from router.sessions import Author, Memory, Word
from router.siblings import Siblings
from telemetry.clock import ManualClock
from tests.e2e.serving import ASKED, FREE, Service, provider, write_files
from tests.harness import until

WORKERS = 3


@contextlib.asynccontextmanager
async def workers() -> AsyncIterator[tuple[list[Memory], list[Line]]]:
    """Run the talk of three workers."""
    clock = ManualClock()
    ends = lines(WORKERS)
    talks = [Siblings(line, Memory(clock=clock)) for line in ends]
    for talk in talks:
        await talk.start()
    try:
        yield [talk.memory for talk in talks], ends
    finally:
        for talk in talks:
            await talk.close()
        hang_up(ends)


async def test_a_raise_is_known_to_all_and_a_lower_one_changes_nothing() -> None:
    async with workers() as (memories, _):
        memories[0].raise_to("s", "worker", tier=2)
        await until(lambda: [m.tier_floor("s", "worker") for m in memories] == [2] * 3, what="it")
        memories[1].hear(Word("worker\ns", raised_to=1))
        assert memories[1].tier_floor("s", "worker") == 2
        assert memories[2].tier_floor("s", "critic") == 0


async def test_escalations_of_a_plan_add_up_over_all() -> None:
    async with workers() as (memories, _):
        for memory in (memories[0], memories[1], memories[1], memories[2]):
            memory.escalated("plan")
        await until(lambda: [m.escalations("plan") for m in memories] == [4] * 3, what="all four")


async def test_who_wrote_a_conversation_and_what_its_answers_came_to_is_known_to_all() -> None:
    async with workers() as (memories, _):
        memories[0].authors.put(b"\xff\x00digest", Author("openai", 3))
        memories[0].judged("s", "worker", passed=False)
        memories[0].judged("s", "worker", passed=False)
        for memory in memories[1:]:
            await until(lambda m=memory: m.authors.get(b"\xff\x00digest"), what="the author")  # type: ignore[misc]
            assert memory.authors.get(b"\xff\x00digest") == Author("openai", 3)
            await until(lambda m=memory: m.history("s", "worker").fails == 2, what="both fails")  # type: ignore[misc]


async def test_what_was_heard_is_not_told_on() -> None:
    async with workers() as (memories, _):
        said: list[Word] = []
        memories[1].tell = said.append
        memories[0].raise_to("s", "worker", tier=1)
        memories[0].escalated("plan")
        memories[0].authors.put(b"c", Author("openai", 0))
        await until(lambda: memories[1].authors.get(b"c"), what="the last word")
        assert said == []


async def test_a_pass_after_a_pass_is_no_news() -> None:
    said: list[Word] = []
    memory = Memory(clock=ManualClock(), tell=said.append)
    for passed in (True, True, False, True, True):
        memory.judged("s", "worker", passed=passed)
    assert [word.fails for word in said] == [0, 1, 0]


async def test_a_worker_that_does_not_listen_holds_up_nobody_and_garbage_is_passed_over() -> None:
    async with workers() as (memories, ends):
        deaf = lines(2)
        talk = Siblings(deaf[0], Memory(clock=ManualClock()))
        await talk.start()
        for number in range(20_000):  # far more than a socket holds
            talk.memory.escalated(f"plan-{number}")
        await talk.close()
        hang_up(deaf)
        ends[0].others[0].send(b"\xc1 not msgpack")
        memories[0].escalated("plan")
        await until(lambda: memories[1].escalations("plan") == 1, what="the next word")


async def test_one_worker_alone_talks_to_nobody() -> None:
    talk = Siblings(None, Memory(clock=ManualClock()))
    await talk.start()
    talk.memory.escalated("plan")
    assert talk.memory.escalations("plan") == 1
    await talk.close()


POLICY = """\
schema = 1
ladder = ["small", "mid"]
[tiers.small]
models = ["one/small"]
[tiers.mid]
models = ["one/mid"]
[roles.planner]
tier = "small"
checks = [{ check = "contains", values = ["what no answer says"] }]
"""


def reason_of(service: Service, session: str) -> str:
    """Return why a streamed step of a session was served as it was, on a connection of its own."""
    link = http.client.HTTPConnection(service.address, timeout=20)
    headers = {"content-type": "application/json", "x-tierwise-session": session}
    try:
        link.request("POST", "/v1/chat/completions", json.dumps(ASKED | {"stream": True}), headers)
        answer = link.getresponse()
        answer.read()
        return answer.headers["x-tierwise-reason"]
    finally:
        link.close()


@pytest.mark.timeout(90)
def test_a_session_raised_by_one_process_starts_higher_in_every_other(tmp_path: Path) -> None:
    with provider() as upstream:
        more = '[gateway]\nworkers = 3\n[prices."one/mid"]\ninput = 1\noutput = 1\n'
        flags = write_files(tmp_path, upstream.port, more=more)
        (tmp_path / "policy.toml").write_text(POLICY)
        service = Service(["gateway", *flags, *FREE], log=tmp_path / "log", variables={}).ready()
        try:
            for session in ("s1", "s2", "s3"):
                assert reason_of(service, session) == "declared"
                time.sleep(1.0)  # the check runs when the stream is out
                # The kernel chooses a worker for each connection.
                assert [reason_of(service, session) for _ in range(11)] == ["session"] * 11
        finally:
            service.close()

"""`tierwise alerts` against a running collector."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from collector.alerts.catalogue import RULES
from router.cli.app import run
from tests.collector.alerts.test_over_http import policy
from tests.collector.alerts.test_routes import dropped
from tests.collector.conftest import Running, Start


async def tierwise(
    running: Running, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, Any, str]:
    """Run a command; return its exit code, what it wrote on stdout (as JSON if asked), stderr."""
    place = ["--console", running.console.removeprefix("http://"), "--config", "/nowhere/t.toml"]
    capsys.readouterr()
    code = await asyncio.to_thread(run, ["alerts", *words, *place])
    said = capsys.readouterr()
    if "--json" in words:
        assert said.out.count("\n") == 1
        return code, json.loads(said.out), said.err
    return code, said.out, said.err


async def test_the_commands_in_the_order_of_an_incident(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await dropped(start)
    code, listed, _ = await tierwise(
        running, capsys, "list", "--state", "firing", "--role", "drop", "--json"
    )
    assert code == 0
    mark = next(a["fingerprint"] for a in listed["alerts"] if a["name"] == "QualityLow")
    code, text, _ = await tierwise(running, capsys, "list")
    assert code == 0
    assert mark[:12] in text
    code, text, _ = await tierwise(running, capsys, "show", mark[:10])
    assert code == 0
    assert "First question" not in text
    assert "QualityLow drop: firing" in text
    assert "answered by: tier mid, model openai/b" in text

    code, made, _ = await tierwise(
        running, capsys, "silence", "alertname=Quality*", "role=drop", "--hours", "1",
        "--author", "ann", "--comment", "known", "--json",
    )  # fmt: skip
    assert code == 0
    code, text, _ = await tierwise(running, capsys, "unsilence", made["id"])
    assert (code, text) == (0, f"silence {made['id']} is over\n")
    code, _, said = await tierwise(running, capsys, "unsilence", made["id"])
    assert code == 1
    assert "no silence" in said

    code, text, _ = await tierwise(running, capsys, "armed", "--role", "drop")
    assert code == 2
    assert "sink proven: no sink" in text
    assert "held to their declared table: drop" in text
    assert "every answer graded, where there are graders: drop" in text
    code, text, _ = await tierwise(running, capsys, "ack", mark, "--comment", "rolled back")
    assert code == 0
    assert "is acknowledged" in text


async def test_explain_states_run_length_false_alarms_and_three_delays(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=policy("worker"))
    code, text, _ = await tierwise(running, capsys, "explain", "QualityLow", "--role", "worker")
    assert code == 0
    assert "run length: at least 2,600 outcomes" in text
    assert text.count("median delay") == 3
    code, found, _ = await tierwise(running, capsys, "explain", "SpendPace", "--json")
    assert code == 0
    assert "comparison" in found["errors"]
    for name in RULES:
        code, text, _ = await tierwise(running, capsys, "explain", name, "--role", "worker")
        assert code == 0
        words = {"sequential": "run length", "exact": "delay: at most", "always": "fires for ever"}
        assert words[RULES[name].kind] in text, name
    code, _, said = await tierwise(running, capsys, "explain", "SpendPaec")
    assert code == 1
    assert "known: QualityWarn" in said


async def test_a_silence_without_an_author_is_refused_in_words(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=policy("worker"))
    code, _, said = await tierwise(
        running, capsys, "silence", "role=worker", "--hours", "1", "--comment", "c"
    )
    assert code == 1
    assert "needs an author and a comment" in said
    code, _, said = await tierwise(running, capsys, "silence", "role", "--hours", "1")
    assert code == 2
    assert "no LABEL=VALUE" in said


def test_without_a_collector_it_says_where_it_looked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = ["--console", "127.0.0.1:9", "--config", str(tmp_path / "none.toml")]
    assert run(["alerts", "list", *place]) == 1
    said = capsys.readouterr().err
    assert "no collector answers on 127.0.0.1:9" in said
    assert "tierwise serve" in said


async def test_a_misspelt_role_is_refused_with_the_nearest_right_one(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=policy("worker", "planner"))
    for words in (["armed"], ["list"], ["explain", "QualityLow"]):
        code, text, said = await tierwise(running, capsys, *words, "--role", "wroker")
        assert (code, text) == (1, ""), words
        assert "the policy has no role 'wroker'" in said, words
        assert "next: its roles: planner, worker; did you mean 'worker'?" in said, words
    code, text, _ = await tierwise(running, capsys, "armed", "--role", "planner")
    assert (code, "planner" in text) == (2, True)


async def test_a_name_with_blanks_and_slashes_is_unknown_not_a_collector_away(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start(terms=policy("worker"))
    for words in (["show", "no such/one"], ["unsilence", "a b"], ["explain", "Quality Low"]):
        code, _, said = await tierwise(running, capsys, *words)
        assert code == 1
        assert "no collector" not in said
        assert "  next: " in said, words

"""`tierwise drift` before a running collector."""

import asyncio
import json
from pathlib import Path

import pytest

from collector.intake import Signal
from collector.rows import Batch
from router.cli.app import run
from router.cli.drift import seconds_of
from telemetry.errors import ConfigError
from tests.collector.chains import Try, chain
from tests.collector.conftest import Running, Start
from tests.collector.otlp import NOW_NS

DAY_NS = 86_400_000_000_000


@pytest.fixture
async def running(start: Start) -> Running:
    made = await start()
    batches = [
        chain(number, [Try(tier=tier)], start_ns=NOW_NS - days * DAY_NS + number * 10**9)
        for number, tier, days in (
            [(n, "small", 10) for n in range(1, 41)] + [(n, "mid", 3) for n in range(41, 81)]
        )
    ]
    whole = Batch(
        calls=[row for batch in batches for row in batch.calls],
        decisions=[row for batch in batches for row in batch.decisions],
    )
    await made.intake._commit(Signal.TRACES, whole)
    await made.settled("/api/drift", lambda found: found["roles"] and _now(found) == 40)
    return made


def _now(found: dict[str, list[dict[str, list[dict[str, int]]]]]) -> int:
    return found["roles"][0]["findings"][0]["n_now"]


async def asked(running: Running, tmp_path: Path, *arguments: str) -> int:
    where = ["--console", running.console.removeprefix("http://"), "--config", str(tmp_path / "no")]
    return await asyncio.to_thread(run, ["drift", *where, *arguments])


async def test_what_changed_is_said_in_words_and_in_json(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asked(running, tmp_path) == 0
    said = capsys.readouterr().out
    assert "changed  The tiers that steps started at changed" in said
    assert "n too small" not in said
    assert "comparisons rest on too little" in said
    assert await asked(running, tmp_path, "--all", "--since", "1w") == 0
    assert "n too small" in capsys.readouterr().out
    assert await asked(running, tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (first, *_) = found["roles"][0]["findings"]
    assert (first["check"], first["status"], first["n_before"]) == ("tier_mix", "changed", 40)


async def test_one_role_is_shown_when_one_is_named(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asked(running, tmp_path, "--role", "nobody", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["roles"] == []
    assert captured.err.startswith("no call of role 'nobody'; roles with calls: ")


@pytest.mark.parametrize("text", ["7", "0d", "1m", "400d", "-1d", "2 weeks", ""])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no span"):
        seconds_of(text)

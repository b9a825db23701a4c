"""`tierwise policy explain` by what is learned: from a real collector, from disk, from a file."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.revisionfile import rendered
from learning.revision import Revision
from learning.standing import Standing
from router.cli.app import run
from router.reload import build
from router.revisions import FILE
from tests.collector.conftest import running

TOKEN = "collector-token-5d41"
CONFIG = """\
schema = 1
[collector]
console = "127.0.0.1:1"
token_env = "COLLECTOR_TOKEN"
[providers.local]
base_url = "http://127.0.0.1:1/v1"
dialects = ["chat"]
[prices]
"local/small" = { input = 0, output = 0 }
"local/large" = { input = 2.5, output = 10 }
"""
POLICY = """\
schema = 1
ladder = ["small", "large"]
[tiers.small]
models = ["local/small"]
[tiers.large]
models = ["local/large"]
[roles.worker]
tier = "large"
range = ["small", "large"]
learn = "bounded"
quality_floor = 0.9
[alerts.cost]
budget_usd_per_day = 120
[alerts.quality]
"""


def revision(small: float, *, parent: str | None = None) -> Revision:
    built = build(
        CONFIG.encode(), POLICY.encode(), environment={}, today=datetime.now(UTC).date()
    ).policy
    return Revision(
        policy_hash=built.hash,
        parent=parent,
        shares={"worker||": {"small/step": small, "large/accept": 1.0 - small}},
        evidence={"worker||": {"labels": 120.0}},
    )


class House:
    """The two files, and what is asked of them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "tierwise.toml").write_text(CONFIG)
        (folder / "policy.toml").write_text(POLICY)

    def says(self, *flags: str, code: int = 0) -> str:
        files = ["--config", f"{self.folder}/tierwise.toml"]
        files += ["--policy", f"{self.folder}/policy.toml"]
        found = run(["policy", "explain", "--role", "worker", *flags, *files])
        captured = self._capsys.readouterr()
        assert found == code, captured.err
        return captured.out if code == 0 else captured.err

    def told(self, *flags: str) -> Any:
        return json.loads(self.says("--json", *flags))


@pytest.fixture
def house(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> House:
    monkeypatch.delenv("TIERWISE_KEY", raising=False)
    monkeypatch.setenv("COLLECTOR_TOKEN", TOKEN)
    return House(tmp_path, capsys)


async def test_it_goes_by_the_revision_in_force_at_the_collector_and_by_any_other_it_knows(
    house: House, tmp_path: Path
) -> None:
    async with running(tmp_path, token=TOKEN) as collector:
        ids: list[str] = []
        for number, small in enumerate((0.8, 0.3)):
            made = revision(small, parent=ids[0] if ids else None)
            now_ns = collector.clock.now_ns()
            collector.revisions.submit(
                made, author="learner", trigger="tick", now_ns=now_ns, activate=number == 0, note={}
            )
            ids.append(made.revision_id)
        at = ["--console", collector.console.removeprefix("http://")]
        found = await asyncio.to_thread(house.told, *at)
        assert found["served"] == [
            {
                "revision": ids[0],
                "share": 1.0,
                "arms": {"small/step": pytest.approx(0.8), "large/accept": pytest.approx(0.2)},
            }
        ]
        assert (found["choice"]["arm"], found["choice"]["reason"]) == ("small/step", "learned")
        assert found["source"] == f"in force at the collector on {at[1]}"
        said = await asyncio.to_thread(house.says, *at)
        assert f"learned   {ids[0]}, in force at the collector on {at[1]}" in said
        assert f"decides   {ids[0]} with small/step 0.8, large/accept 0.2" in said
        assert "arm       small/step (learned, 0.8 of such steps)" in said
        found = await asyncio.to_thread(house.told, *at, "--revision", ids[1])
        assert found["choice"]["arm"] == "large/accept"
        assert found["choice"]["propensity"] == pytest.approx(0.7)
        found = await asyncio.to_thread(house.told, *at, "--revision", "declared")
        assert found["served"][0]["revision"] == "declared"


def test_while_the_collector_is_away_the_last_word_that_a_gateway_kept_counts(
    house: House,
) -> None:
    kept = house.folder / ".tierwise" / FILE
    kept.parent.mkdir()
    kept.write_text(Standing(revision=revision(0.8)).text)
    found = house.told()
    assert found["choice"]["arm"] == "small/step"
    assert found["source"].startswith("last heard by a gateway here (no collector answers on")


def test_without_any_word_the_declared_policy_counts_and_that_is_said(house: House) -> None:
    said = house.says()
    assert "learned   no revision, policy.toml alone (no collector answers on 127.0.0.1:1" in said
    assert "decides   declared with large/accept 1\n" in said


def test_a_revision_under_review_is_read_from_its_file(house: House) -> None:
    file = house.folder / "proposal.toml"
    file.write_text(rendered(revision(0.8), base="declared"))
    found = house.told("--revision", str(file))
    assert found["choice"]["arm"] == "small/step"
    assert found["source"] == str(file)


@pytest.mark.parametrize("content", [b"{}", b"[[[", b"\xff", b"{" + b"[" * 100_000, b"a = 1"])
def test_a_file_that_is_no_revision_is_named(house: House, content: bytes) -> None:
    file = house.folder / "odd"
    file.write_bytes(content)
    said = house.says("--revision", str(file), code=2)
    assert said.startswith(f"error: {file}: no revision: ")
    assert "next: name a file that `tierwise policy export` wrote" in said


def test_a_revision_that_nobody_can_be_asked_for_is_an_error(house: House) -> None:
    assert "no collector answers" in house.says("--revision", "0123456789abcdef", code=1)


async def test_a_misspelt_role_is_told_with_the_nearest_right_one(house: House) -> None:
    said = house.says("--role", "wroker")
    assert "'wroker' is no role of the policy; did you mean 'worker'?" in said

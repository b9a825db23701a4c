"""`tierwise ope` on an exported log, on the store and with a revision."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from collector.desk import Desk, desk_path
from collector.duckdb_store import DuckDBStore
from learning.revision import Revision
from router.cli.app import run
from router.cli.ope import instant
from telemetry.errors import ConfigError
from tests.collector.otlp import NOW_NS, Trace
from tests.collector.test_duckdb_store import decoded
from tests.evals.test_logged import many, row
from tests.router.test_cli_policy import CONFIG, POLICY


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "tierwise.toml").write_text(CONFIG)
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.setenv("BOT_KEY", "tw-canary-0123456789abcdef")
    folder = str(tmp_path)
    return ["--config", f"{folder}/tierwise.toml", "--policy", f"{folder}/policy.toml"]


@pytest.fixture
def log(tmp_path: Path) -> str:
    """800 decisions of a role that the policy starts small: half tried on the large tier."""
    rows = [
        *many(300, quality=1.0), *many(100, quality=0.0),
        *many(400, tier_start="large", cost_usd=0.1), row(pinned=True),
    ]  # fmt: skip
    path = tmp_path / "decisions.ndjson"
    lines = [
        json.dumps(one | {"offered": ",".join(one["offered"]), "start_ns": 10**18 + number})
        for number, one in enumerate(rows)
    ]
    path.write_text("\n".join(lines))
    return str(path)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_policy_is_judged_by_an_exported_log(
    files: list[str], log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ope", *files, "--file", log, "--json"]) == 1
    value = answer(capsys)
    assert (value["decisions"], value["left_out"]) == (801, {"not free": 1})
    refused = value["worths"][0]["estimates"][2]["refused"]
    # the policy escalates what fails, and no logged arm did that
    assert "arm small > large in role worker was never tried" in refused
    policy = Path(files[-1])
    policy.write_text(POLICY.replace('tier = "small"', 'tier = "small"\non_fail = "accept"'))
    assert run(["ope", *files, "--file", log]) == 0
    shown = capsys.readouterr().out
    assert "not enough data" not in shown
    assert "75.0%" in shown  # SNIPS of the 400 on the small tier
    assert run(["ope", *files, "--file", log, "--since", "1h", "--json"]) == 1
    assert answer(capsys)["decisions"] == 0


def test_a_revision_is_read_from_a_file_or_from_the_desk(
    files: list[str], log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[-1]).write_text(
        POLICY + '[roles.worker]\ntier = "small"\nlearn = "bounded"\nquality_floor = 0.5\n'
        "[alerts.cost]\nbudget_usd_per_day = 9\n[alerts.quality]\n"
    )
    shares = {"small/accept": 0.25, "large/accept": 0.75}
    revision = Revision(policy_hash="0" * 16, parent=None, shares={"worker||": shares}, evidence={})
    path = tmp_path / "revision.json"
    path.write_text(revision.text)
    assert run(["ope", *files, "--file", log, "--revision", str(path), "--json"]) == 0
    ips = answer(capsys)["worths"][0]["estimates"][0]
    assert ips["value"] == pytest.approx(0.25 * 0.75 + 0.75)

    store = tmp_path / "here.duckdb"
    DuckDBStore(store, now_ns=NOW_NS).close()
    Desk(desk_path(store)).close()
    with sqlite3.connect(desk_path(store)) as desk:
        desk.execute(
            "INSERT INTO revisions (id, policy_hash, text, created_ns, author, trigger_name, note,"
            " status, status_ns, status_by) VALUES (?, '', ?, 0, '', '', '{}', 'proposed', 0, '')",
            (revision.revision_id, revision.text),
        )
    desk.close()
    at = ["--file", log, "--store", str(store), "--console", "127.0.0.1:1", "--json"]
    assert run(["ope", *files, "--revision", revision.revision_id, *at]) == 0
    assert answer(capsys)["worths"][0]["estimates"][0]["value"] == pytest.approx(ips["value"])
    assert run(["ope", *files, "--revision", "0123456789abcdef", *at]) == 2
    assert "has no such revision" in answer(capsys)["error"]["message"]
    assert run(["ope", *files, "--revision", log, *at]) == 2


def test_the_stores_own_log_is_read_page_by_page(
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("router.cli.ope.PAGE", 50)
    trace = Trace()
    for number in range(120):
        large = number % 2 == 1
        trace.span(
            "route default",
            {
                "tierwise.decision.id": f"d{number}",
                "tierwise.decision.reason": "explored",
                "tierwise.decision.propensity": 0.5,
                "tierwise.decision.offered": ["small/accept", "small/step", "large/accept"],
                "tierwise.role": "default",
                "tierwise.dialect": "chat",
                "tierwise.tier.start": "large" if large else "small",
                "tierwise.on_fail": "accept" if large else "step",
                "tierwise.quality.score": 1.0 if large or number % 4 else 0.5,
                "tierwise.cost.usd": 0.1 if large else 0.01,
            },
        )
    path = tmp_path / "store.duckdb"
    store = DuckDBStore(path, now_ns=NOW_NS)
    store.write([decoded(trace)], now_ns=NOW_NS)
    store.close()
    at = ["--store", str(path), "--console", "127.0.0.1:1", "--json"]
    assert run(["ope", *files, *at]) == 0
    quality, usd = answer(capsys)["worths"]
    assert (quality["known"], usd["known"]) == (120, 120)
    assert quality["estimates"][1]["value"] == pytest.approx(0.75)
    assert usd["estimates"][1]["value"] == pytest.approx(0.01)


def test_an_age_or_a_date_says_since_when() -> None:
    assert instant("90m", now=10_000.0) == 10_000 - 5_400
    assert instant("7d", now=1e6) == 1e6 - 604_800
    assert instant("1970-01-02", now=0.0) == 86_400
    assert instant("1970-01-01T02:00+02:00", now=0.0) == 0
    with pytest.raises(ConfigError, match="neither an age nor a date"):
        instant("yesterday", now=0.0)

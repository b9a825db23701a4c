"""`tierwise replay` on a small file of worlds."""

import json
from pathlib import Path

import duckdb
import pytest

from router.cli.app import run
from router.cli.replay import checked
from telemetry.errors import ConfigError


@pytest.fixture
def worlds(tmp_path: Path) -> str:
    path = tmp_path / "worlds.parquet"
    with duckdb.connect() as database:
        database.execute(
            f"""
            COPY (
              SELECT CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END AS world,
                'role-' || (i % 3) AS role, (i % 5 > 1)::DOUBLE AS q_small, 1.0 AS q_frontier,
                1.0 AS cost_small, 20.0 AS cost_frontier, 'item ' || i AS prompt
              FROM range(120) AS t(i)
            ) TO '{path}' (FORMAT parquet)
            """
        )
    return str(path)


def test_a_replay_prints_a_table_and_writes_what_is_needed_to_repeat_it(
    worlds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    flags = ["--requests", "600", "--seeds", "2", "--policies", "tierwise,table,cascade,small,mid"]
    assert run(["replay", "--world", worlds, "--name", "odd", *flags, "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "small *" in shown  # 60 % right where the floor is 97 %
    value = json.loads(out.read_text())
    assert list(value["worlds"]) == ["odd"]
    assert value["version"]
    assert value["request"]["check"]["sensitivity"] == 0.8
    found = {row["policy"]: row["figures"] for row in value["summaries"]}
    assert set(found) == {"tierwise", "table", "cascade", "small"}  # the world has no mid tier
    assert found["small"]["cost"] == pytest.approx(1 / 20)
    assert found["small"]["bad"] == 1.0
    assert found["table"]["cost_of_table"] == pytest.approx(1.0)
    assert len(value["rows"]) == 8
    assert found["table"]["recover_requests"] is None


def test_a_replay_with_a_scenario_says_when_it_was_noticed(
    worlds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--requests", "400", "--seeds", "1", "--scenario", "drop", "--check", "none"]
    assert run(["replay", "--world", worlds, *flags, "--policies", "frontier", "--json", "-"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["summaries"][0]["figures"]["never_alarmed"] == 1.0
    assert value["summaries"][0]["figures"]["recover_requests"] == 0.0  # it never fell


def test_unknown_names_are_refused_with_the_known_ones(
    worlds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "--world", worlds, "--name", "uneven"]) == 2
    assert "no world 'uneven'" in capsys.readouterr().err
    assert run(["replay", "--world", worlds, "--policies", "best"]) == 2
    assert "no policy 'best'" in capsys.readouterr().err
    assert run(["replay", "--world", worlds + "x"]) == 2


def test_a_check_is_given_by_its_two_shares() -> None:
    assert checked("none").sensitivity == 0.0
    found = checked("0.9/0.05/0.3")
    assert (found.sensitivity, found.false_alarm, found.correlation) == (0.9, 0.05, 0.3)
    for wrong in ("0.9", "90/5", "a/b", "0.1/0.2/0.3/0.4"):
        with pytest.raises(ConfigError, match="--check"):
            checked(wrong)

"""What `tierwise roles` shows of a board that was counted by hand."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from collector.duckdb_store import DuckDBStore
from collector.scoreboard import scoreboard
from router.cli.roles import COLUMNS, _table
from tests.collector.otlp import NOW_NS
from tests.collector.test_scoreboard import keep_chains


def cell(board: dict[str, Any], column: str) -> str:
    """Return what stands under a column in the first role's line."""
    out = io.StringIO()
    Console(file=out, width=250, color_system=None).print(_table(board))
    head, line, *_ = out.getvalue().splitlines()
    end = head.index(column) + len(column)
    return line[:end].split()[-1]


@pytest.fixture
def board(tmp_path: Path) -> dict[str, Any]:
    store = DuckDBStore(tmp_path / "t.duckdb", now_ns=NOW_NS)
    keep_chains(store)
    store.roll_up(NOW_NS)
    found = scoreboard(store, now_ns=NOW_NS, window_seconds=3_600).plain()
    store.close()
    return found


def test_steps_that_code_handed_on_and_the_cost_of_passed_tasks_are_shown(
    board: dict[str, Any],
) -> None:
    assert cell(board, "handed on") == "37.5%"  # 3 of 8 steps
    board["roles"][0]["escalation_rate"] = 0.25  # else it is as much
    assert cell(board, "escalated") == "25.0%"
    assert cell(board, "usd/passed") == f"{board['roles'][0]['cost_per_passed_task_usd']:.4g}"


def test_what_is_unknown_is_a_dash(board: dict[str, Any]) -> None:
    for name in ("abstention_rate", "cost_per_passed_task_usd"):
        board["roles"][0][name] = None
    assert cell(board, "handed on") == cell(board, "usd/passed") == "-"
    assert len(COLUMNS) == len(_table(board).columns)

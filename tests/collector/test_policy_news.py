"""News of the policy: each move of what is in force is told once, nothing else is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.auditlog import Deed, append
from collector.desk import Desk
from collector.policy_news import MOVES, PolicyNews

COLLECTOR = Path(__file__).parents[2] / "collector"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "a.desk")
    yield made
    made.close()


def move(desk: Desk, action: str, subject: str = "r1", reason: str | None = None) -> None:
    with desk.transaction() as change:
        deed = Deed(actor="kim", at_ns=7, reason=reason)
        append(change, deed, action=action, subject=subject, before=None, after=None)


def told(desk: Desk) -> list[str]:
    rows = desk.rows("SELECT body FROM outbox WHERE kind = 'change' ORDER BY number")
    return [json.loads(row["body"])["summary"] for row in rows]


def test_moves_are_told_once_and_history_is_not(desk: Desk) -> None:
    news = PolicyNews(desk)
    move(desk, "activate", "r0")
    assert news.look() == 0
    move(desk, "propose")
    move(desk, "approve", reason="measured")
    move(desk, "pin", "worker")
    assert news.look() == 2
    assert news.look() == 0
    assert PolicyNews(desk).look() == 0
    assert told(desk) == [
        "Revision r1 was approved and is in force, by kim",
        "Role worker was pinned, by kim",
    ]
    (first, _) = desk.rows("SELECT body FROM outbox ORDER BY number")
    assert json.loads(first["body"])["details"]["reason"] == "measured"


def test_every_move_is_one_that_the_collector_makes() -> None:
    code = "".join(
        path.read_text() for path in COLLECTOR.glob("*.py") if path.stem != "policy_news"
    )
    assert {move for move in MOVES if f'"{move}"' not in code} == set()

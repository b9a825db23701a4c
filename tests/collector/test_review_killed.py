"""Killed in the middle of changes: what was told stays, nothing is half done."""

import os
import random
import subprocess
import sys
from pathlib import Path

from collector.auditlog import verify
from collector.desk import Desk
from collector.revisions import Revisions
from telemetry.clock import SystemClock
from tests.collector import review_program
from tests.collector.reviewing import terms

ROUNDS = 40 if os.environ.get("TIERWISE_LONG") else 3


def told_until_killed(path: Path, *, start: int, lines: int) -> list[tuple[int, str]]:
    """Let the program change until it has told of so many changes, and kill it at once."""
    command = [sys.executable, "-m", "tests.collector.review_program", str(path), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(lines)]
        finally:
            child.kill()  # SIGKILL, wherever it is by now
        told += child.stdout.readlines()
    whole = [line.split() for line in told if line.endswith("\n")]
    return [(int(number), head) for number, head in whole]


def test_changes_are_whole_or_absent_after_a_kill(tmp_path: Path) -> None:
    path, rng, start = tmp_path / "t.desk", random.Random(7), 0
    for _ in range(ROUNDS):
        told = told_until_killed(path, start=start, lines=rng.randrange(3, 23))
        assert len(told) >= 3
        desk = Desk(path)
        for _, head in (told[0], told[-1]):
            assert verify(desk, noted=head).fault is None
        active = desk.rows("SELECT id FROM revisions WHERE status = 'active'")
        standing = desk.rows("SELECT revision AS id FROM standing WHERE revision IS NOT NULL")
        assert active == standing
        start = finished(desk, told[-1][0] + 1)
        desk.close()


def finished(desk: Desk, number: int) -> int:
    """Send the change once more that was under way; return the number of the next one."""
    revisions = Revisions(desk, SystemClock(), terms=terms)
    kept = "SELECT count(*) AS n FROM answers WHERE key = $key"
    mine = desk.row(kept, {"key": f"k{number}"})
    before = desk.row("SELECT count(*) AS n FROM audit_log")
    review_program.change(revisions, number)
    if mine == {"n": 1}:  # it had taken place: its answer comes again, it does not
        assert desk.row("SELECT count(*) AS n FROM audit_log") == before
    assert verify(desk).fault is None
    return number + 1

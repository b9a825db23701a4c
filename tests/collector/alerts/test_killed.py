"""Killed at any moment: nothing fires twice, nothing is lost."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collector.desk import Desk
from tests.collector.alerts import ticking

ROUNDS_MAX = 60
FEW = 1 if os.environ.get("TIERWISE_LONG") else 3


def outcome(folder: Path) -> tuple[list[tuple[str, str, str]], list[dict[str, str]]]:
    """Return what the outbox holds, in order, and every detector."""
    desk = Desk(folder / "k.desk")
    events = [
        json.loads(row["body"]) for row in desk.rows("SELECT body FROM outbox ORDER BY number")
    ]
    told = [(each["name"], each["role"], each["status"]) for each in events]
    detectors = desk.rows("SELECT name, role, state FROM detectors ORDER BY name, role")
    desk.close()
    return told, detectors


@pytest.mark.timeout(300 if FEW == 1 else 60)
def test_kills_in_the_middle_of_ticks_leave_the_same_alerts_as_none(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    ticking.work(whole)
    rng, kills = random.Random(3), 0
    for _ in range(ROUNDS_MAX):
        command = [sys.executable, "-m", "tests.collector.alerts.ticking", str(killed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(rng.randint(FEW, 2 * FEW)):
                line = child.stdout.readline()
            if line:
                try:  # somewhere within the next tick
                    child.wait(rng.uniform(0, 0.05))
                except subprocess.TimeoutExpired:
                    child.kill()
                    kills += 1
        if child.returncode == 0:
            break
    assert child.returncode == 0
    assert kills >= 2
    told, detectors = outcome(whole)
    assert ("QualityLow", "worker", "firing") in told
    assert ("QualityLow", "worker", "resolved") in told
    assert len(told) == len(set(told))
    assert outcome(killed) == (told, detectors)

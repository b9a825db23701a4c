"""Two collaboration modes over real processes: the learner finds another best tier in each."""

import json
import os
import subprocess

import pytest

from tests.e2e.serving import TIERWISE

LONG = os.environ.get("TIERWISE_LONG") == "1"
RUNS: list[list[str]] = [[], ["--one-floor"]] if LONG else [[]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flags", RUNS, ids=" ".join)
def test_the_learner_finds_each_mode_s_tier_through_gateway_and_collector(flags: list[str]) -> None:
    command = [str(TIERWISE), "eval", "modes", "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    debate, reflection = found["found"]
    assert (debate["mode"], reflection["mode"]) == ("debate", "reflection")
    assert debate["small_share"] >= 0.8
    assert reflection["small_share"] <= (0.4 if flags else 0.2)
    assert min(debate["tried"], reflection["tried"]) >= 12  # the learner looked in both
    assert found["unseen"] > reflection["small_share"]  # a new mode is served as the role is

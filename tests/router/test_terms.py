"""Terms: what both files declare, for a process that has no provider's key."""

import os
from pathlib import Path

import pytest

from collector.normalising import Normaliser, evaluators_of
from router.terms import TermsFile
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import ConfigError
from telemetry.records import Arm, OnFail
from telemetry.terms import TierTerms

CONFIG = """
schema = 1
[providers.cloud]
base_url = "https://api.example.com/v1"
dialects = ["chat"]
key_env = "NOBODY_SET_THIS"

[prices."cloud/big"]
input = 10
output = 40
cache_read = 1
"""
POLICY = """
schema = 1
ladder = ["code", "small", "frontier"]
[tiers.small]
models = ["cloud/unpriced"]
[tiers.frontier]
models = ["cloud/big"]
[roles.worker]
tier = "small"
range = ["small", "frontier"]
quality_floor = 0.9
learn = "bounded"
checks = ["json"]
[roles.worker.mode.debate]
tier = "frontier"
[roles.guard]
pin = { model = "cloud/big", reason = "law", owner = "a@example.com" }
[alerts.cost]
budget_usd_per_day = 5
[alerts.quality]
"""


def _files(tmp_path: Path) -> tuple[Path, Path]:
    config, policy = tmp_path / "tierwise.toml", tmp_path / "policy.toml"
    config.write_text(CONFIG)
    policy.write_text(POLICY)
    return config, policy


def test_terms_say_what_a_role_may_and_what_a_token_costs(tmp_path: Path) -> None:
    terms = TermsFile(*_files(tmp_path), clock=SystemClock()).current()
    worker = terms.of("worker")
    assert worker is not None
    assert worker.tiers == ("small", "frontier")
    assert worker.declared == Arm(tier="small", on_fail=OnFail.STEP)
    assert (worker.floor, worker.learn, worker.checked, worker.pin) == (0.9, "bounded", True, None)
    debate = terms.of("worker", "debate")
    assert debate is not None
    assert debate.declared == Arm(tier="frontier", on_fail=OnFail.ACCEPT)
    assert terms.of("worker", "chain") is worker
    assert terms.of("nobody") is None
    guard = terms.of("guard")
    assert guard is not None
    assert guard.pin is not None
    assert guard.pin.owner == "a@example.com"
    assert terms.tiers["frontier"].usd_per_token == pytest.approx((10e-6, 40e-6, 1e-6))
    assert terms.tiers["small"] == TierTerms(models=("cloud/unpriced",), usd_per_token=None)
    assert terms.tiers["code"].usd_per_token == (0.0, 0.0, 0.0)


def test_a_changed_file_is_taken_up_and_a_faulty_one_is_not(tmp_path: Path) -> None:
    config, policy = _files(tmp_path)
    clock = ManualClock()
    terms = TermsFile(config, policy, clock=clock)
    first = terms.current()
    policy.write_text(POLICY.replace("0.9", "0.8"))
    assert terms.current() is first
    clock.advance(3.0)
    second = terms.current()
    assert second.of("worker").floor == 0.8  # type: ignore[union-attr]
    assert second.policy_hash != first.policy_hash
    policy.write_text("schema = ")
    clock.advance(3.0)
    assert terms.current() is second
    os.unlink(policy)
    clock.advance(3.0)
    assert terms.current() is second


def test_evaluators_change_with_the_rest_of_their_file_or_not_at_all(tmp_path: Path) -> None:
    """What grades and what learns go by one version of the policy."""
    config, policy = _files(tmp_path)
    stars = "[evaluators.stars]\nscale = [1, {}]\n"
    policy.write_text(POLICY + stars.format(5))
    clock = ManualClock()
    terms = TermsFile(config, policy, clock=clock)
    normaliser = Normaliser(lambda: evaluators_of(terms.current()))
    assert normaliser.quality("stars", score=4.0, label=None) == 0.75
    faulty = POLICY.replace('tier = "small"', 'tier = "smol"') + stars.format(7)
    policy.write_text(faulty)
    clock.advance(3.0)
    assert normaliser.quality("stars", score=4.0, label=None) == 0.75
    before = policy.stat()
    policy.write_text(POLICY + stars.format(7))
    os.utime(policy, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.advance(3.0)
    assert normaliser.quality("stars", score=4.0, label=None) == 0.5


def test_a_policy_that_does_not_fit_together_is_refused_at_the_start(tmp_path: Path) -> None:
    config, policy = _files(tmp_path)
    policy.write_text(POLICY.replace('tier = "small"', 'tier = "smol"'))
    with pytest.raises(ConfigError, match="smol"):
        TermsFile(config, policy, clock=SystemClock())

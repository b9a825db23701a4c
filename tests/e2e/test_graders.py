"""Graders in real processes: a share is judged, and everything while quality may be falling."""

from pathlib import Path
from typing import Any

import pytest

from evals.standin.running import StandinProcess
from tests.collector.program import free_ports
from tests.e2e.test_collector_gateway import (
    CONFIG,
    ask,
    eventually,
    get,
    standin,
    tierwise,
)

__all__ = ["standin"]  # the fixture

POLICY = """schema = 1
ladder = ["small"]
[tiers.small]
models = ["standin/standin-small"]
[roles.worker]
tier = "small"
quality_floor = 0.9
graders = [{ check = "contains", name = "harsh", values = ["never to be found"] }]
[alerts.quality]
sample = 0.25
warn_arl = 50
graded_share_min = 0.01
horizon_seconds = 6
[learning]
tick_seconds = 0.5
"""


def verdicts(console: int, name: str) -> list[str]:
    found: dict[str, Any] = get(console, f"/api/decisions/{name}")
    return [word["name"] for word in found["verdicts"]]


@pytest.mark.timeout(120)
def test_a_warning_raises_the_share_that_is_graded_to_all(
    tmp_path: Path, standin: StandinProcess
) -> None:
    (tmp_path / "tierwise.toml").write_text(CONFIG.format(base_url=standin.base_url))
    (tmp_path / "policy.toml").write_text(POLICY)
    ports, gateway = free_ports(), free_ports().http
    with tierwise(tmp_path, "serve", gateway, ports):
        eventually(lambda: get(gateway, "/readyz"), lambda _: True)
        first = [ask(gateway, "worker") for _ in range(60)]
        eventually(
            lambda: get(ports.console, "/api/policy/active"),
            lambda found: found.get("graded") == ["worker"],
        )
        eventually(
            lambda: get(gateway, "/readyz"), lambda found: found["revision"]["graded"] == ["worker"]
        )
        then = [ask(gateway, "worker") for _ in range(20)]
        for name in then:
            eventually(lambda name=name: verdicts(ports.console, name), lambda found: found)
        share = sum(bool(verdicts(ports.console, name)) for name in first) / len(first)
    assert 0.05 <= share <= 0.5  # a quarter; of the others, none

"""The files of deploy/: they load, their cases hold, and they ask only for metrics that exist."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # ships no types

from collector.alerts.engine import Seen
from collector.alerts.gauges import Gauges
from collector.meters import Meters
from telemetry.metric_table import METRICS
from tests.needs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "tierwise.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "tierwise.json"
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def known() -> set[str]:
    """Return the names of all series that gateway and collector expose."""
    found = {metric.name + suffix for metric in METRICS for suffix in SUFFIXES[metric.kind]}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", Meters().text().decode(), re.M):
        found |= {name + suffix for suffix in SUFFIXES[kind]}
    return found | {family.name for family in Gauges(Seen, lambda: ()).collect()}


def asked(expression: str) -> set[str]:
    """Return the metrics of ours that an expression names."""
    return set(re.findall(r"\b(?:tierwise|gen_ai)_[a-z_]+", re.sub(r'"[^"]*"', '""', expression)))


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def expressions() -> list[tuple[str, str]]:
    board = json.loads(DASHBOARD.read_text())
    shown = [(p["title"], t["expr"]) for p in panels(board) for t in p.get("targets", ())]
    return [(rule["alert"], rule["expr"]) for rule in rules()] + shown


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_every_metric_that_is_asked_for_exists(where: str, expression: str) -> None:
    assert asked(expression) - known() == set()


def test_there_is_something_asked_for() -> None:
    assert len({name for _, one in expressions() for name in asked(one)}) > 20


def test_every_variable_of_the_dashboard_is_one_it_has() -> None:
    text = DASHBOARD.read_text()
    names = {one["name"] for one in json.loads(text)["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\}?", text)) == names


def test_no_two_panels_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(json.loads(DASHBOARD.read_text())):
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_rule_has_a_case_that_fires_it() -> None:
    fired = set()
    for path in (DEPLOY / "prometheus" / "tests").glob("*.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            fired |= {one["alertname"] for one in case["alert_rule_test"] if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def ran(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def test_the_rules_pass_their_cases() -> None:
    promtool = program("promtool")
    said = ran(promtool, "check", "rules", str(RULES))
    assert f"{len(rules())} rules found" in said
    cases = sorted(map(str, (DEPLOY / "prometheus" / "tests").glob("*.yml")))
    assert ran(promtool, "test", "rules", *cases).count("SUCCESS") == len(cases) == 3


def test_the_examples_are_taken_by_their_programs() -> None:
    ran(program("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    ran(program("amtool"), "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml"))

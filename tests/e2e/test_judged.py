"""A judge as a check in real processes: its bill is part of what an attempt costs the learner."""

from pathlib import Path

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from collector.duckdb_store import DuckDBStore
from collector.evidence import Archive, Scope
from collector.learner_state import Carried
from collector.role_cases import case_of
from evals.standin.running import StandinProcess
from learning.measure import attempt_costs
from telemetry.records import Arm
from telemetry.terms import RoleTerms, Terms, TierTerms
from tests.collector.program import free_ports
from tests.e2e.test_collector_gateway import CONFIG, LADDER, ask, eventually, get, standin, tierwise

__all__ = ["standin"]  # the fixture

ROLES = """[roles.judge]
tier = "mid"
overhead = true
[roles.worker]
tier = "small"
checks = [{{ check = "llm_judge", rubric = "It says hello.", url = "{gateway}" }}]
[roles.writer]
tier = "small"
quality_floor = 0.5
graders = [{{ check = "llm_judge", rubric = "It says hello.", url = "{gateway}" }}]
[alerts.quality]
sample = 1.0
graded_share_min = 0.01
"""
USD = {"standin-small": (0.1e-6, 0.4e-6), "standin-mid": (1e-6, 4e-6)}
STEPS = 4


def ask_streamed(gateway: int, role: str) -> None:
    """Take one streamed step to its end."""
    client = OpenAI(base_url=f"http://127.0.0.1:{gateway}/v1", api_key="any", max_retries=0)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]
    with client.chat.completions.create(
        model=f"tierwise/{role}", messages=messages, stream=True
    ) as stream:
        assert list(stream)


def roles(console: int) -> dict[str, int]:
    found = get(console, "/api/roles")
    return {role["role"]: role["decisions"] for role in found["roles"]}


def spent(standin: StandinProcess, *models: str) -> float:
    """What the provider's own ledger says that these models' answers cost, in USD."""
    bills = [entry for entry in standin.ledger()["entries"] if entry["model"] in models]
    usd = [
        bill["input"] * USD[bill["model"]][0] + bill["output"] * USD[bill["model"]][1]
        for bill in bills
    ]
    return float(sum(usd))


def learned_usd(path: Path, role: str) -> float:
    """The expected USD of an attempt at the small tier, from the store's evidence."""
    terms = Terms(
        policy_hash="p",
        ladder=("small", "mid"),
        tiers={
            tier: TierTerms(
                models=(f"standin/standin-{tier}",), usd_per_token=(*USD[f"standin-{tier}"], 0.0)
            )
            for tier in ("small", "mid")
        },
        roles=(
            RoleTerms(
                role=role, mode=None, tiers=("small", "mid"), declared=Arm(tier="small"),
                floor=0.5, learn="observe", checked=True, pin=None,
            ),
        ),
    )  # fmt: skip
    store = DuckDBStore(path, now_ns=0)
    try:
        latest = store.read("SELECT max(end_ns) AS at FROM decisions")[0]["at"]
        archive = Archive(store, terms=terms, now_ns=latest)
        carried = Carried(versions=archive.versions(role, {}))
        case = case_of(terms.roles[0], terms, carried=carried)
        found = archive.of(
            Scope(role=role, mode=None), prefixes=case.arms.prefixes, carried=carried
        )
        case = case_of(terms.roles[0], terms, carried=carried, usage=found.usage)
        recent = found.trusted.total(half_life=1e12, since={})
        costs = attempt_costs(case.arms, recent=recent, price=case.price, typical=case.typical)
        return float(costs[0, case.arms.prefix_index[("small",)]])
    finally:
        store.close()


@pytest.mark.timeout(120)
def test_the_bill_of_a_judge_that_steps_wait_for_is_part_of_an_attempts_cost(
    tmp_path: Path, standin: StandinProcess
) -> None:
    ports, gateway = free_ports(), free_ports().http
    (tmp_path / "tierwise.toml").write_text(CONFIG.format(base_url=standin.base_url))
    url = f"http://127.0.0.1:{gateway}/v1/chat/completions"
    (tmp_path / "policy.toml").write_text(LADDER + ROLES.format(gateway=url))
    with tierwise(tmp_path, "serve", gateway, ports):
        eventually(lambda: get(gateway, "/readyz"), lambda _: True)
        for number in range(STEPS):
            (ask if number % 2 else ask_streamed)(gateway, "worker")
        eventually(
            lambda: roles(ports.console),
            lambda found: (found.get("worker"), found.get("judge")) == (STEPS, STEPS),
        )
        checked = spent(standin, *USD)
        before = spent(standin, "standin-small")
        for _ in range(STEPS):
            ask(gateway, "writer")
        eventually(
            lambda: roles(ports.console),
            lambda found: (found.get("writer"), found.get("judge")) == (STEPS, 2 * STEPS),
        )
        bare = spent(standin, "standin-small")
    bills = standin.ledger()["entries"]
    assert [bill["model"] for bill in bills].count("standin-mid") == 2 * STEPS
    # All of what the worker's steps and their verdicts cost, to the dollar of the provider.
    worker = learned_usd(tmp_path / "t.duckdb", "worker")
    assert worker == pytest.approx(checked / STEPS, rel=1e-9)
    # Nobody waits for graders: the same verdicts are no part of what the writer's attempts cost.
    writer = learned_usd(tmp_path / "t.duckdb", "writer")
    assert writer == pytest.approx((bare - before) / STEPS, rel=1e-9)

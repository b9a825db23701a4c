"""The real LiteLLM, as a client and as a proxy, with the telemetry of our page."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.collector.program import free_ports
from tests.e2e.test_collector import rows
from tests.needs import lacking
from tests.recipes.page import exported, written
from tests.recipes.world import World, calls, world

START_SECONDS = 120.0
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # else it fetches its price list at every start
KEY = "sk-proxy"
# It reports from threads of its own, a while after the answer; a program that ends at once loses
# what they had not sent.
FLUSH = """
from litellm.litellm_core_utils.thread_pool_executor import executor
from opentelemetry import trace
executor.shutdown(wait=True)
trace.get_tracer_provider().force_flush()
"""
pytestmark = pytest.mark.timeout(300)


def installed() -> Path:
    """Return the environment that LiteLLM is in, or leave the test."""
    found = os.environ.get("TIERWISE_LITELLM")
    if found is None:
        lacking("LiteLLM (TIERWISE_LITELLM names an environment of its own that holds it)")
        raise AssertionError("unreachable")
    return Path(found)


def agree(told: list[dict[str, Any]], bills: list[dict[str, Any]]) -> None:
    """Compare LiteLLM's calls with the bill, each with each."""
    used = ("input_tokens", "output_tokens", "cache_read_tokens")
    found = [tuple(call[name] or 0 for name in used) for call in told]
    assert found == [(bill["input"], bill["output"], bill["cache_read"]) for bill in bills]
    assert [call["role"] for call in told] == ["worker"] * len(bills)


def silent(store: Path) -> None:
    """No word of a prompt or an answer is in the store."""
    for table in ("calls", "spans"):
        found = rows(store, f"SELECT count(*) FROM {table} WHERE attributes ILIKE '%say hello%'")
        assert found == [(0,)], table


def test_litellm_s_calls_through_the_gateway_count_once(tmp_path: Path) -> None:
    python = installed() / "bin" / "python"
    with world(tmp_path) as house:
        more = QUIET | dict(exported("litellm", house)) | {
            "OPENAI_API_BASE": f"http://127.0.0.1:{house.gateway}/v1", "OPENAI_API_KEY": "any",
        }  # fmt: skip
        house.run([python, "-c", written("litellm-client", house) + FLUSH], more=more)
        bills = house.billed()
        house.settle(4)
        assert house.outside.tried == []
    assert len(bills) == 2
    told = calls(house.store, "dialect = 'litellm'")
    agree(told, bills)
    assert [call["uncounted_reason"] for call in told] == ["duplicate", "duplicate"]
    counted = calls(house.store, "counted")
    assert {call["dialect"] for call in counted} == {"tierwise"}
    agree(counted, bills)
    assert [call["cost_usd"] for call in counted] == pytest.approx([b["cost"] for b in bills])
    silent(house.store)


CACHED = """
text = {"type": "text", "text": "Keep to the contract. " * 2_000}
text["cache_control"] = {"type": "ephemeral"}
for _ in range(2):
    litellm.completion(
        model="anthropic/standin-mid",
        messages=[{"role": "system", "content": [text]}, {"role": "user", "content": "Say hello"}],
        metadata={"requester_metadata": {"role": "worker"}},
    )
"""


def test_litellm_s_calls_to_providers_are_counted_with_their_bill(tmp_path: Path) -> None:
    python = installed() / "bin" / "python"
    with world(tmp_path) as house:
        script = written("litellm-client", house).replace("tierwise/worker", "standin-mid")
        more = QUIET | dict(exported("litellm", house)) | {
            "OPENAI_API_BASE": house.standin.base_url, "OPENAI_API_KEY": "any",
            "ANTHROPIC_API_BASE": house.standin.origin, "ANTHROPIC_API_KEY": "any",
        }  # fmt: skip
        house.run([python, "-c", script + CACHED + FLUSH], more=more)
        bills = house.billed()
        house.settle(4)
        assert house.outside.tried == []
    assert bills[2]["cache_write"] == bills[3]["cache_read"] > 1_000
    told = calls(house.store, "counted")
    agree(told, bills)
    written_to_cache = [call["cache_write_tokens"] or 0 for call in told]
    assert written_to_cache == [bill["cache_write"] for bill in bills]
    assert [call["cost_usd"] for call in told] == pytest.approx([b["cost"] for b in bills])
    silent(house.store)


@contextmanager
def proxy(house: World) -> Iterator[str]:
    """Run LiteLLM's proxy as the page sets it up; yields its address."""
    port = free_ports().http
    address = f"http://127.0.0.1:{port}"
    config = house.folder / "litellm.yaml"
    config.write_text(written("litellm-proxy", house))
    more = QUIET | dict(exported("litellm", house)) | house.outside.variables | {
        "PATH": f"{installed()}/bin:/usr/bin:/bin", "HOME": str(house.folder),
        "TIERWISE_CLIENT_KEY": "any", "LITELLM_MASTER_KEY": KEY,
    }  # fmt: skip
    command = [f"{installed()}/bin/litellm", "--config", str(config), "--host", "127.0.0.1"]
    with (house.folder / "litellm.log").open("wb") as log:
        child = subprocess.Popen(
            [*command, "--port", str(port)], cwd=house.folder, env=more, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{address}/health/liveliness", timeout=10).close()
                break
            except OSError:
                assert time.monotonic() < until, (house.folder / "litellm.log").read_text()[-3_000:]
                assert child.poll() is None, (house.folder / "litellm.log").read_text()[-3_000:]
                time.sleep(0.2)
        yield address
    finally:
        child.terminate()
        child.wait(60)


def test_litellm_s_proxy_before_the_gateway_counts_once(tmp_path: Path) -> None:
    installed()
    with world(tmp_path) as house:
        with proxy(house) as address:
            client = OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=120)
            hello: Any = [{"role": "user", "content": "Say hello"}]
            asked = {"metadata": {"role": "worker"}}
            client.chat.completions.create(
                model="tierwise/worker", messages=hello, extra_body=asked
            )
            for _ in client.chat.completions.create(
                model="tierwise/worker", messages=hello, stream=True, extra_body=asked
            ):
                pass
            bills = house.billed()
            house.settle(4)
        assert house.outside.tried == []
    assert len(bills) == 2
    told = calls(house.store, "dialect = 'litellm'")
    agree(told, bills)
    assert [call["uncounted_reason"] for call in told] == ["duplicate", "duplicate"]
    counted = calls(house.store, "counted")
    agree(counted, bills)
    assert [call["cost_usd"] for call in counted] == pytest.approx([b["cost"] for b in bills])
    assert json.loads(told[0]["attributes"])["litellm.model_group"] == "tierwise/worker"
    silent(house.store)

"""Every page in a real browser, over a running collector's data."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from learning.revision import Revision
from tests.browser.chromium import Tab, tab
from tests.browser.world import HOSTILE, fill, terms
from tests.collector.conftest import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOWN = "!!document.querySelector('main h1')"
# Page -> a script that holds once it is there, and texts that it must show.
PAGES = {
    "/": (
        "Overview",
        ["planner", "0.950 (0.895 to 0.977, n 120)", "small 45 %", "cost: no", "Handed on by code"],
    ),
    "/decisions": ("Decisions", ["d240", "escalated", "Older decisions"]),
    "/decisions?id=d10": ("Decision d10", ["worker||plain", "small → mid", "feedback:ci", "0.500"]),
    "/alerts": ("Alerts", ["Watchdog", "denominator live", "Nothing is muted."]),
    "/policy": ("Policy", ["Review queue", "quality disarmed", "declared: what policy.toml says"]),
    "/savings": ("Savings and drift", ["more was spent", "With measured token ratios", "evidence"]),
}


@dataclass
class World:
    running: Running
    proposal: Revision


@dataclass
class Scene:
    running: Running
    page: Tab
    proposal: Revision

    async def goto(self, path: str) -> None:
        await self.page.goto(self.running.console + path)
        await self.page.until(f"location.pathname + location.search === {json.dumps(path)}")
        await self.page.until(SHOWN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One collector for all tests of this file; what they change they name apart."""
    async with running(tmp_path_factory.mktemp("console"), terms=terms()) as found:
        yield World(found, await fill(found))


@pytest_asyncio.fixture(loop_scope="module")
async def scene(browser: str, world: World) -> AsyncIterator[Scene]:
    async with tab(browser) as page:
        yield Scene(world.running, page, world.proposal)


async def test_each_page_shows_what_the_collector_holds_and_asks_nobody_else(
    scene: Scene,
) -> None:
    page = scene.page
    for path, (title, texts) in PAGES.items():
        await scene.goto(path)
        assert await page.run("document.querySelector('h1').innerText") == title
        for text in texts:
            await page.sees(text)
        shown = await page.run("document.body.innerText")
        assert not any(word in shown for word in ("undefined", "NaN", "[object", "null"))
    await scene.goto(f"/policy?revision={scene.proposal.revision_id}")
    for text in ("What it would have done", "clears", "80.0 %", "Approve"):
        await page.sees(text)
    assert page.complaints == []
    hosts = {urlsplit(request["url"]).netloc for request in page.requests}
    assert hosts == {urlsplit(scene.running.console).netloc}
    assert any("/api/roles" in request["url"] for request in page.requests)


async def test_markup_in_names_from_spans_is_shown_as_words(scene: Scene) -> None:
    page = scene.page
    for path in ("/", "/decisions", "/decisions?id=hostile-1", "/savings"):
        await scene.goto(path)
        await page.until(f"document.body.textContent.includes({json.dumps(HOSTILE)})")
        assert await page.run("document.querySelectorAll('main img, main script').length") == 0
        assert "owned" not in await page.run("document.title")
    await scene.goto("/")
    href = await page.run("document.querySelector('#roles tbody tr:last-child a').href")
    await page.goto(href)
    await page.until("new URLSearchParams(location.search).get('role')?.startsWith('<img')")
    await page.sees("hostile-1")
    assert page.complaints == []


async def test_the_browser_itself_refuses_what_the_pages_never_do(scene: Scene) -> None:
    page = scene.page
    await scene.goto("/")
    tries = {
        "markup": "document.body.innerHTML = '<b>x</b>'",
        "script": "document.head.append(Object.assign(document.createElement('script'),"
        "{textContent: 'window.ran = 1'}))",
        "another host": "await fetch('http://127.0.0.2:9/')",
        "style": "document.body.setAttribute('style', 'opacity: 0.5');"
        "if (getComputedStyle(document.body).opacity === '1') throw new Error('kept out')",
    }
    for name, what in tries.items():
        script = (
            f"(async () => {{ try {{ {what}; return 'done'; }} catch {{ return 'refused'; }} }})()"
        )
        assert await page.run(script) == "refused", name
    assert await page.run("window.ran") is None
    assert all("127.0.0.2" not in request["url"] for request in page.requests)


async def test_what_nobody_knows_is_unknown_and_not_nought(scene: Scene) -> None:
    page = scene.page
    await scene.goto("/")
    cell = "document.querySelector('#roles tbody tr:last-child td[data-label=\"{}\"]').innerText"
    await page.until(f"{cell.format('Quality and floor')}.startsWith('unknown')")
    assert await page.run(cell.format("Per passed task")) == "unknown"
    await scene.goto("/decisions?id=hostile-1")
    facts = await page.run("document.querySelector('main dl').innerText")
    assert "Cost of all attempts\nunknown" in facts
    assert "Quality\nunknown" in facts


async def test_decisions_are_filtered_and_read_page_by_page(scene: Scene) -> None:
    page = scene.page
    await scene.goto("/decisions")
    await page.fill("#role", "worker")
    await page.click("form.filter button")
    await page.until("location.search.includes('role=worker')")
    await page.sees("d120")
    rows = "[...document.querySelectorAll('#decisions tbody th')].map((one) => one.innerText)"
    seen = await page.run(rows)
    for _ in range(2):
        await page.click("#older")
        await page.until(f"{rows}[0] && !{json.dumps(seen)}.includes({rows}[0])")
        seen += await page.run(rows)
    assert seen == [f"d{number}" for number in range(120, 0, -1)]
    await page.sees("There are no older ones.")


async def test_the_window_is_chosen_and_stays_in_the_address(scene: Scene) -> None:
    await scene.goto("/")
    await scene.page.click("#window-3600")
    await scene.page.until("location.search === '?window=3600'")
    await scene.page.until(
        "document.querySelector('.windows [aria-current]')?.innerText === '1 hour'"
    )
    assert any("window_seconds=3600" in request["url"] for request in scene.page.requests)


async def test_new_facts_come_by_themselves_until_the_page_is_paused(scene: Scene) -> None:
    page = scene.page
    await scene.goto("/policy")
    await page.sees("Nothing is pinned or frozen.")
    body = {"role": "worker", "reason": "stay"}
    headers = {"if-match": '"declared"'}
    url = f"{scene.running.console}/api/policy/freeze"
    async with scene.running.session.post(url, json=body, headers=headers) as answer:
        assert answer.status == 200
    await page.sees("stay")
    await page.click("#pause")
    assert await page.run("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"


async def test_a_collector_that_is_away_is_named_with_the_age_of_what_is_shown(
    scene: Scene,
) -> None:
    page = scene.page
    await scene.goto("/")
    await page.sees("planner")
    await page.tell(
        "Network.emulateNetworkConditions",
        offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1,
    )  # fmt: skip
    await page.run("document.dispatchEvent(new Event('visibilitychange'))")  # it looks at once
    await page.until("document.querySelector('#trouble').innerText.includes('tierwise collector')")
    assert "is from" in await page.run("document.querySelector('#trouble').innerText")
    await page.sees("planner")

"""The pages for everybody: labels, headings, contrast, keyboard, narrow screens, little motion."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.chromium import Tab, tab
from tests.browser.world import fill, terms
from tests.collector.conftest import running

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIT = Path(__file__).with_name("audit.js").read_text()
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
CUT = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth)"
FOCUSABLE = (
    "[...document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea,"
    ' summary, [tabindex="0"]\')]'
)


@dataclass
class Site:
    console: str
    paths: tuple[str, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running(tmp_path_factory.mktemp("console"), terms=terms()) as found:
        made = await fill(found)
        paths = ("/", "/decisions", "/decisions?id=d10", "/alerts", "/policy",
                 f"/policy?revision={made.revision_id}", "/savings")  # fmt: skip
        yield Site(found.console, paths)


@pytest_asyncio.fixture(loop_scope="module")
async def view(browser: str) -> AsyncIterator[Tab]:
    async with tab(browser) as made:
        yield made


async def visit(view: Tab, site: Site, path: str) -> None:
    await view.goto(site.console + path)
    await view.until(
        f"location.href === '{site.console}{path}' && !!document.querySelector('main h1')"
    )


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
async def test_every_page_is_named_ordered_and_legible(
    site: Site, view: Tab, scheme: str, width: int
) -> None:
    await view.scheme(scheme)
    await view.size(width, 800)
    for path in site.paths:
        await visit(view, site, path)
        await view.run(OPEN_ALL)
        assert await view.run(AUDIT) == [], path
        if width == 360:
            assert await view.run(f"{CUT}.map((one) => one.id)") == [], path


async def test_a_dialog_is_named_and_legible_in_both_schemes(site: Site, view: Tab) -> None:
    await visit(view, site, "/policy")
    await view.click("#pin")
    for scheme in ("light", "dark"):
        await view.scheme(scheme)
        assert await view.run(AUDIT) == []
    assert await view.run("document.activeElement.labels[0].innerText") == "Role"


async def test_the_keyboard_reaches_everything_and_the_focus_is_seen(site: Site, view: Tab) -> None:
    await visit(view, site, "/alerts")
    wanted = await view.run(f"{FOCUSABLE}.filter((one) => one.checkVisibility()).length")
    seen = []
    for _ in range(wanted):
        await view.press("Tab", 9)
        seen.append(
            await view.run(
                "(() => { const one = document.activeElement; const style = getComputedStyle(one);"
                f"return [{FOCUSABLE}.indexOf(one), style.outlineStyle,"
                "parseFloat(style.outlineWidth)]; })()"
            )
        )
    order = [at for at, _, _ in seen]
    assert order == sorted(set(order))
    assert len(order) == wanted
    assert {(style, width >= 2) for _, style, width in seen} == {("solid", True)}


async def test_the_skip_link_leads_past_the_header(site: Site, view: Tab) -> None:
    await visit(view, site, "/")
    await view.press("Tab", 9)
    assert await view.run("document.activeElement.className") == "skip"
    await view.press("Enter", 13)
    await view.until("document.activeElement.id === 'main'")


async def test_nothing_moves_for_those_who_asked_for_that(site: Site, view: Tab) -> None:
    moves = "parseFloat(getComputedStyle(document.querySelector('#pause')).transitionDuration)"
    await visit(view, site, "/")
    assert await view.run(moves) > 0
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    await view.tell("Emulation.setEmulatedMedia", features=features)
    assert await view.run(moves) == 0


async def test_a_narrow_screen_names_each_value_beside_it(site: Site, view: Tab) -> None:
    await view.size(360, 800)
    await visit(view, site, "/")
    label = "getComputedStyle(document.querySelector('#roles tbody td'), '::before').content"
    assert await view.run(label) == '"Learning"'

"""A browser for the whole run, and tabs of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.chromium import Tab, chromium, tab
from tests.collector.conftest import start as start  # noqa: PLC0414 - the fixture, by its name
from tests.needs import program


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools address of a running Chromium."""
    with chromium(program("chromium"), tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
async def page(browser: str) -> AsyncIterator[Tab]:
    async with tab(browser) as made:
        yield made

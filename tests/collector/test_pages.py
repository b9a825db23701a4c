"""The console's pages as files: what is served, and with which headers."""

import re

import pytest

from collector.pages import DOCUMENT, FOLDER, KINDS, PAGES, assets
from tests.collector.conftest import Start

FILE_LINES_MAX = 400


async def test_every_page_is_one_document_that_may_load_from_the_console_only(
    start: Start,
) -> None:
    running = await start()
    for path in PAGES:
        async with running.session.get(running.console + path) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert await answer.read() == (FOLDER / DOCUMENT).read_bytes()
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_the_browser_has_is_not_sent_again(start: Start) -> None:
    running = await start()
    url = running.console + "/pages/console.js"
    async with running.session.get(url) as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert answer.headers["cache-control"] == "no-cache"
        etag = answer.headers["etag"]
    async with running.session.get(url, headers={"if-none-match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with running.session.head(url) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%2e%2e%2fpages.py"])
async def test_nothing_but_the_pages_files_is_served(start: Start, name: str) -> None:
    running = await start()
    async with running.session.get(f"{running.console}/pages/{name}") as answer:
        assert answer.status == 404


def test_every_page_is_described() -> None:
    described = (FOLDER.parents[1] / "docs" / "console.md").read_text()
    assert [path for path in PAGES if f"| `{path}` |" not in described] == []


def test_every_file_in_the_folder_is_served() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(assets())
    assert {path.suffix for path in FOLDER.iterdir()} == set(KINDS)


def test_the_files_name_no_other_host() -> None:
    namespace = b"http://www.w3.org/2000/svg"  # a name; nothing is asked for under it
    for name, asset in assets().items():
        found = re.findall(rb"https?://[^\"\s]+", asset.body)
        assert {url for url in found if url != namespace} == set(), name


def test_the_scripts_never_parse_markup_or_run_text() -> None:
    words = rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\("
    found = {name for name, asset in assets().items() if re.search(words, asset.body)}
    assert found == set()


def test_the_document_holds_no_inline_script_style_or_handler() -> None:
    text = (FOLDER / DOCUMENT).read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []


@pytest.mark.parametrize("name", sorted(assets()))
def test_a_file_of_the_pages_is_short(name: str) -> None:
    assert len(assets()[name].body.splitlines()) <= FILE_LINES_MAX

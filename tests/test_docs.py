"""What the pages say is there, and what is there stands on a page."""

import re
import tomllib
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from router import reply
from router.app import Health, create_app
from router.policyfile import PolicyFile
from router.request import ENDPOINTS
from telemetry.errors import CODES
from tests.harness import House

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    broken = [
        link
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_page_is_listed_in_the_readme() -> None:
    listed = set(LINK.findall(text("README.md")))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= listed


def test_every_error_code_has_a_heading_with_its_status_and_meaning() -> None:
    page = text("docs/errors.md")
    wanted = [f"### `{code}` ({known.status})\n\n{known.meaning}" for code, known in CODES.items()]
    assert [heading for heading in wanted if heading not in page] == []
    assert len(re.findall(r"^### `", page, re.M)) == len(CODES)


def test_every_route_of_the_gateway_is_documented(shared_house: House) -> None:
    page = text("docs/gateway.md")
    routes = {f"POST {path}" for path in ENDPOINTS}
    health = Health(
        version="0",
        worker="test",
        metrics=lambda: b"",
        reload_error=lambda: None,
        warnings=lambda: (),
    )
    for route in create_app(shared_house.gateway.gateway, health).routes:
        assert isinstance(route, APIRoute)
        routes |= {f"{method} {route.path.replace(':path', '')}" for method in route.methods or ()}
    assert {route for route in routes if f"`{route}`" not in page} == set()


def test_every_header_that_replies_carry_is_documented() -> None:
    written = set(re.findall(rb'b"(x-tierwise-[a-z-]+)"', Path(reply.__file__).read_bytes()))
    page = text("docs/gateway.md").encode()
    assert len(written) >= 10
    assert {name for name in written if b"`" + name + b"`" not in page} == set()


def test_the_policy_of_the_readme_is_a_policy() -> None:
    block = re.search(r"```toml\n(.*?)```", text("README.md"), re.S)
    assert block is not None
    PolicyFile.model_validate(tomllib.loads(block[1]))

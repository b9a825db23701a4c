"""The five rooms have plain names: they must be this checkout's, and nobody else's."""

import importlib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("router", "collector", "evals", "learning", "telemetry")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_from_this_checkout(room: str) -> None:
    found = importlib.import_module(room).__file__
    assert found is not None
    assert Path(found).resolve() == ROOT / room / "__init__.py"


@pytest.mark.parametrize("room", ROOMS)
def test_no_installed_distribution_brings_a_package_of_the_same_name(room: str) -> None:
    owners = set(metadata.packages_distributions().get(room, []))
    assert owners <= {"tierwise"}


def test_the_rooms_are_all_that_the_distribution_brings() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*ROOMS, "tests"}

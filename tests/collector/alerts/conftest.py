"""One world per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.alerts.world import World, terms


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(folder=tmp_path, terms=terms())
    yield made
    made.close()

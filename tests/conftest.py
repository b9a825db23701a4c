"""Fixtures that several rooms share."""

from collections.abc import Iterator

import pytest

from tests.harness import House, house


@pytest.fixture(scope="session")
def shared_house() -> Iterator[House]:
    """One gateway with one stand-in for the whole session."""
    with house() as found:
        yield found


@pytest.fixture
def at_home(shared_house: House) -> House:
    """The shared gateway, with everything forgotten that earlier tests did."""
    shared_house.mark()
    return shared_house

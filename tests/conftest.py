"""Fixtures that several rooms share."""

from collections.abc import Iterator

import pytest

from tests.harness import House, house
from tests.needs import SAID


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests recorded for the reader, whichever process they ran in."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == SAID:
                terminalreporter.write_line(str(value))

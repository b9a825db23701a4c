"""Functions for the tier `code` that go wrong in every way a person's own code can."""

import sys
import time
from typing import Any

from tests.faults.house import PROMPT_CANARY

BLOCKED_SECONDS = 1.5  # longer than a function may take


def raises(step: Any) -> Any:
    """Raise, quoting what the caller sent."""
    raise RuntimeError(PROMPT_CANARY)


def exits(step: Any) -> Any:
    """Try to end the whole process."""
    sys.exit(3)


def recurses(step: Any) -> Any:
    """Run out of stack."""
    return recurses(step)


def blocks(step: Any) -> Any:
    """Hold on to its thread."""
    time.sleep(BLOCKED_SECONDS)
    return "too late"


def nonsense(step: Any) -> Any:
    """Return what is no answer."""
    return object()


def endless(step: Any) -> Any:
    """Return what has no end when written down."""
    found: list[Any] = []
    found.append(found)
    return found

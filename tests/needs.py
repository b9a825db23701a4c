"""Optional parts of a machine: a test that lacks one skips, or fails where nothing may skip."""

import os
import shutil

import pytest

REQUIRE_ALL = "TIERWISE_REQUIRE_ALL"
SAID = "said"  # a property of a test that is shown at the end of the run


def lacking(what: str) -> None:
    """Skip the test and say what is missing; with TIERWISE_REQUIRE_ALL=1 fail it instead."""
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{what} is missing and {REQUIRE_ALL}=1 allows no skips")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """Return the path of a program, or leave the test."""
    found = shutil.which(name)
    if found is None:
        lacking(f"the program {name}")
        raise AssertionError("unreachable")
    return found

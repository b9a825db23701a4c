"""The right name that is nearest to a misspelt one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the end of a remedy that suggests the most similar name, or nothing.

    >>> nearest_name("wroker", ["planner", "worker"])
    "; did you mean 'worker'?"
    """
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""

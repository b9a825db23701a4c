"""Pages of docs/ with parts that are made from the code."""

from collections.abc import Mapping


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return ``page`` with each part's text between its ``<!-- NAME: begin -->`` and ``end``.

    Raises:
        ValueError: a part has no such place in the page.
    """
    for name, text in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, begun, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"no {begin} ... {end} in the page")
        page = f"{before}{begin}\n{text}{end}{after}"
    return page

"""The tables of docs/telemetry.md, made from the code that they describe.

``python -m telemetry.tables`` writes them into the page again; a test fails while it is stale.
"""

from pathlib import Path
from typing import Final

from telemetry.filling import filled
from telemetry.metric_table import METRICS
from telemetry.names import ATTRIBUTES

PAGE: Final = Path(__file__).parent.parent / "docs" / "telemetry.md"
_PLACES: Final = {"both": "route, attempt"}


def attribute_table() -> str:
    """Return every attribute as a Markdown table."""
    rows = [
        f"| `{attribute}` | {attribute.kind} | {_PLACES.get(attribute.place, attribute.place)} "
        f"| {_cell(attribute.meaning)} |"
        for attribute in ATTRIBUTES
    ]
    return "\n".join(["| attribute | type | on | meaning |", "|---|---|---|---|", *rows, ""])


def metric_table() -> str:
    """Return every metric of /metrics as a Markdown table."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or 'none'} "
        f"| {_cell(metric.meaning)} |"
        for metric in METRICS
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""])


def refreshed(page: str) -> str:
    """Return ``page`` with both tables as they should be.

    Raises:
        ValueError: a table's place, between its two comments, is not in the page.
    """
    return filled(page, {"attributes": attribute_table(), "metrics": metric_table()})


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

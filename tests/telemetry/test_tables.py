import pytest

from telemetry import tables


def test_the_page_shows_the_tables_that_the_code_makes() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.refreshed(page) == page, "run: python -m telemetry.tables"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="attributes: begin"):
        tables.refreshed("# Telemetry\n")

"""The collector's pages say what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest

from collector.config import CollectorConfig
from collector.console import Parts, console
from collector.control import Control, Room
from collector.desk import Desk
from collector.dialects import table
from collector.duckdb_store import DuckDBStore
from collector.meters import Meters
from collector.quota import Quota
from telemetry.clock import SystemClock

DOCS = Path(__file__).parents[2] / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text()


def between(page: str, name: str) -> str:
    found = re.search(f"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", page, re.S)
    assert found is not None
    return found[1]


def test_the_table_of_dialects_is_the_one_that_runs() -> None:
    assert between(text("dialects.md"), "table") == table()


def test_every_view_stands_there_with_its_columns(store: DuckDBStore) -> None:
    page = between(text("store.md"), "views")
    described = {
        name: tuple(re.findall(r"`(\w+)`", columns.split("\n\n")[1]))
        for name, columns in re.findall(r"### `(\w+)`\n\n(.*?)(?=\n###|\Z)", page, re.S)
    }
    names = store.query(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal", rows_max=100, seconds_max=5
    )
    found = {
        name: store.query(f"SELECT * FROM {name} LIMIT 0", rows_max=1, seconds_max=5).columns
        for (name,) in names.rows
    }
    assert described == found


@pytest.mark.parametrize("page", ["store.md", "operations.md"])
def test_the_examples_in_sql_run(store: DuckDBStore, page: str) -> None:
    found = re.findall(r"```sql\n(.*?)```", text(page), re.S)
    found += [f"{sql};" for sql in re.findall(r'tierwise sql "(SELECT [^."]+)"', text(page))]
    statements = [sql for block in found for sql in block.split(";") if sql.strip()]
    assert statements
    for sql in statements:
        store.query(sql, rows_max=10, seconds_max=5)


def test_every_route_is_described(tmp_path: Path) -> None:
    page = text("collector.md")
    nothing: Any = None
    desk = Desk(tmp_path / "t.desk")
    room = Room(
        desk=desk, store=nothing, terms=lambda: None, meters=Meters(), clock=SystemClock(),
        access=nothing,
    )  # fmt: skip
    parts = Parts(
        store=nothing, intake=nothing, meters=Meters(), clock=SystemClock(), access=nothing,
        normaliser=nothing, exports=tmp_path, healthy=lambda: None,
        control=Control(room), quota=Quota(1),
    )  # fmt: skip
    for path, methods in console(parts).openapi()["paths"].items():
        for method in methods:
            assert re.search(rf"`{method.upper()} {re.escape(path)}[?`]", page), (method, path)
    desk.close()


def test_every_metric_is_described_and_exists() -> None:
    described = set(re.findall(r"`(tierwise_collector_\w+)` \|", text("operations.md")))
    exposed = {
        name
        for name in re.findall(r"^# TYPE (\S+)", Meters().text().decode(), re.M)
        if not name.endswith("_created")
    }
    assert described == exposed


def test_the_defaults_that_are_named_are_the_defaults() -> None:
    config = CollectorConfig()
    page = text("operations.md")
    assert f"`collector.spans_days` ({config.spans_days})" in page
    assert f"`collector.calls_days` ({config.calls_days})" in page
    assert config.otlp_http in text("collector.md")
    assert config.otlp_grpc in text("collector.md")
    assert config.console in text("collector.md")

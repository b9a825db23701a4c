import asyncio
from pathlib import Path
from typing import Any

import pytest

from collector.duckdb_store import DuckDBStore
from collector.reader import ConsoleReader, FileReader, Reader, open_reader
from collector.store import StoreRefused, StoreUnavailable
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS
from tests.collector.test_duckdb_store import decoded, routed


def read_all(reader: Reader, folder: Path) -> dict[str, Any]:
    page = folder / "page.ndjson"
    cursor = reader.export("calls", page, form="ndjson", cursor=None, rows_max=10)
    after = reader.export("calls", page, form="ndjson", cursor=cursor, rows_max=10)
    with pytest.raises(StoreRefused):
        reader.sql("DROP TABLE calls", rows_max=1)
    with pytest.raises(StoreRefused):
        reader.export("nothing", page, form="ndjson", cursor=None, rows_max=10)
    found = reader.explain("d1")
    assert found is not None
    assert reader.explain("d2") is None
    return {
        "decisions": reader.decisions(limit=5)["decisions"],
        "role": reader.decisions(limit=5, role="nobody")["decisions"],
        "attempts": found["attempts"],
        "sql": reader.sql("SELECT tier FROM v_calls ORDER BY tier", rows_max=5),
        "lines": page.read_text().count("\n"),
        "after": after,
        "roles": set(reader.roles(window_seconds=3_600)),
    }


async def test_the_file_and_the_running_collector_answer_the_same(
    start: Start, tmp_path: Path
) -> None:
    running = await start()
    await running.post("/v1/traces", routed().body())
    address = running.console.removeprefix("http://")
    asked = await asyncio.to_thread(open_reader, console=address, store=tmp_path / "none")
    assert isinstance(asked, ConsoleReader)
    over_http = await asyncio.to_thread(read_all, asked, tmp_path)

    path = tmp_path / "other.duckdb"
    store = DuckDBStore(path, now_ns=NOW_NS)
    store.write([decoded(routed())], now_ns=NOW_NS)
    store.close()
    reader = open_reader(console="127.0.0.1:1", store=path)
    assert isinstance(reader, FileReader)
    with reader:
        from_file = read_all(reader, tmp_path)
    assert over_http == from_file
    assert over_http["sql"].rows == [("mid",), ("small",)]
    assert (over_http["lines"], over_http["after"]) == (2, None)


def test_without_a_collector_and_without_a_file_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="tierwise serve"):
        open_reader(console="127.0.0.1:1", store=tmp_path / "none")
    assert not (tmp_path / "none").exists()

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collector.desk import Desk, desk_path
from collector.duckdb_store import DuckDBStore
from collector.file_reader import FileReader
from collector.reader import ConsoleReader, Reader, open_reader
from collector.revisions import Revisions
from collector.store import SQL_HELP, StoreRefused, StoreUnavailable
from learning.revision import Revision
from router.cli.asking import Console, ConsoleAway, ConsoleRefused
from tests.collector.conftest import Start
from tests.collector.otlp import NOW_NS
from tests.collector.test_duckdb_store import decoded, routed
from tests.httpd import Quiet, listening


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


async def test_a_revision_is_read_the_same_from_the_desk_and_from_the_running_collector(
    start: Start, tmp_path: Path
) -> None:
    running = await start()
    shares = {"worker||": {"small/step": 0.25, "mid/step": 0.75}}
    made = Revision(policy_hash="p", parent=None, shares=shares, evidence={"worker||": {"n": 3.0}})
    running.revisions.submit(made, author="a", trigger="t", now_ns=1, activate=True, note={})
    asked = ConsoleReader(running.console.removeprefix("http://"))
    over_http = await asyncio.to_thread(asked.revision, made.revision_id)
    assert await asyncio.to_thread(asked.revision, "nobody") is None

    path = tmp_path / "other.duckdb"
    desk = Desk(desk_path(path))
    book = Revisions(desk, running.clock)
    book.submit(made, author="a", trigger="t", now_ns=1, activate=True, note={})
    desk.close()
    with FileReader(path) as reader:
        from_file = reader.revision(made.revision_id)
        assert reader.revision("nobody") is None
    assert over_http is not None
    assert from_file is not None
    assert over_http["shares"] == from_file["shares"] == shares
    assert over_http["evidence"] == from_file["evidence"] == {"worker||": {"n": 3.0}}
    with FileReader(tmp_path / "without.duckdb") as reader:
        assert reader.revision(made.revision_id) is None


def test_without_a_collector_and_without_a_file_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="tierwise serve"):
        open_reader(console="127.0.0.1:1", store=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_who_names_a_console_alone_hears_of_it_and_reads_no_other_file(tmp_path: Path) -> None:
    DuckDBStore(tmp_path / "mine", now_ns=NOW_NS).close()
    with pytest.raises(StoreUnavailable) as raised:
        open_reader(console="127.0.0.1:1", store=None)
    assert "no collector answers on 127.0.0.1:1 (" in raised.value.message
    assert "--console" in raised.value.hint


def test_a_gateway_at_the_console_s_address_is_named(tmp_path: Path) -> None:
    class Gateway(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("x-tierwise-decision", "d1")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    with listening(Gateway) as port:
        address = f"127.0.0.1:{port}"
        with pytest.raises(StoreUnavailable, match=r"answers on .* \(a gateway does\)"):
            open_reader(console=address, store=None)
        with pytest.raises(ConsoleAway, match=r"\(a gateway does\)"):
            Console(address, key="").get("/api/alerts")


async def test_what_the_console_refuses_is_told_with_its_hint_apart(start: Start) -> None:
    running = await start()
    address = running.console.removeprefix("http://")
    asked = ConsoleReader(address)
    with pytest.raises(StoreRefused) as of_reader:
        await asyncio.to_thread(asked.sql, "SELECT x FROM nowhere", rows_max=1)
    with pytest.raises(ConsoleRefused) as of_cli:
        await asyncio.to_thread(
            Console(address, key="").post, "/api/sql", {"sql": "SELECT x FROM nowhere"}
        )
    for said in (of_reader.value, of_cli.value):
        assert "nowhere" in said.message
        assert said.hint.startswith(SQL_HELP)
        assert said.hint not in said.message

"""The desk: transactions are whole, survive reopening, and a newer file is refused."""

import sqlite3
import threading
from pathlib import Path

import pytest

from collector.desk import Desk, desk_path
from collector.store import StoreUnavailable
from telemetry.errors import ConfigError

PUT = "INSERT INTO facts VALUES ($name, $value)"


def test_a_committed_fact_is_there_after_reopening(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "a.desk")
    with desk.transaction() as change:
        assert change.run(PUT, {"name": "cursor", "value": "7"}) == 1
    desk.close()
    again = Desk(tmp_path / "a.desk")
    assert again.row("SELECT value FROM facts WHERE name = 'cursor'") == {"value": "7"}
    again.close()


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "a.desk")

    def write_and_fail() -> None:
        with desk.transaction() as change:
            change.run(PUT, {"name": "cursor", "value": "7"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert desk.rows("SELECT * FROM facts") == []
    desk.close()


def test_a_broken_rule_of_the_tables_is_told_apart_from_a_broken_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "a.desk")
    with desk.transaction() as change:
        change.run(PUT, {"name": "cursor", "value": "7"})
    with pytest.raises(sqlite3.IntegrityError), desk.transaction() as change:
        change.run(PUT, {"name": "cursor", "value": "8"})
    with pytest.raises(StoreUnavailable), desk.transaction() as change:
        change.run("INSERT INTO nowhere VALUES (1)")
    desk.close()


def test_threads_that_write_at_once_all_get_their_turn(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "a.desk")

    def write(number: int) -> None:
        for count in range(20):
            with desk.transaction() as change:
                change.run(PUT, {"name": f"{number}.{count}", "value": ""})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.row("SELECT count(*) AS n FROM facts") == {"n": 80}
    desk.close()


def test_a_file_of_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = desk_path(tmp_path / "t.duckdb")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(ConfigError, match="newer"):
        Desk(path)


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.desk"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreUnavailable) as caught:
        Desk(path)
    assert "move the file away" in str(caught.value.hint)

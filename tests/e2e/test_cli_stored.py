"""`tierwise roles`, `explain`, `sql` and `export`, beside a running collector and after its end."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.serving import (
    FREE,
    FREE_COLLECTOR,
    TIERWISE,
    Service,
    provider,
    until,
    write_files,
)

COST_USD = 4e-6  # 3 tokens in and 1 out at $1 per million


def tierwise(*arguments: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [TIERWISE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def told(*arguments: str) -> Any:
    code, out, err = tierwise(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, list[str], Path]]:
    """One step through `tierwise serve`; yields the service, the flags and the folder."""
    folder = tmp_path_factory.mktemp("stored")
    with provider() as upstream:
        files = write_files(folder, upstream.port)
        service = Service(
            ["serve", *files, *FREE, *FREE_COLLECTOR],
            log=folder / "log",
            variables={"TIERWISE_LOG_LEVEL": "WARNING"},
        )
        try:
            addresses = service.event("ready")["addresses"]
            service.address = addresses["gateway"].removeprefix("http://")
            assert service.step() == 200
            console = addresses["console"].removeprefix("http://")
            where = [files[0], "--console", console]
            until(lambda: told("roles", *where)["calls"], "the call in the store")
            yield service, where, folder
        finally:
            service.close()


def check(where: list[str], folder: Path) -> None:
    """What was stored is told the same way, whoever is asked."""
    board = told("roles", *where)
    assert [role["role"] for role in board["roles"]] == ["planner"]
    assert board["spend_usd"] == pytest.approx(COST_USD)
    query = "SELECT decision_id, role, cost_usd FROM decisions"
    (row,) = told("sql", query, *where)["rows"]
    assert row[1:] == ["planner", pytest.approx(COST_USD)]
    whole = told("explain", row[0], *where)
    assert whole["decision"]["reason"] == "declared"
    assert "policy.toml declares was certain" in whole["why"]["words"]
    assert [attempt["tier"] for attempt in whole["attempts"]] == ["small"]
    first = told("export", "calls", str(folder), "--format", "ndjson", *where)
    (page,) = first["pages"]
    assert [json.loads(line)["role"] for line in Path(page).read_text().splitlines()] == ["planner"]
    again = told("export", "calls", str(folder), "--cursor", first["cursor"], *where)
    assert again == {"pages": [], "cursor": first["cursor"]}


COMMANDS = (["roles"], ["alerts", "list"], ["learn"], ["audit-log", "list"], ["sql", "SELECT 1"])


def away(command: list[str], *where: str) -> str:
    """Run a command whose console is not there; return what it says of that address."""
    code, out, err = tierwise(*command, *where)
    assert (code, out) == (1, ""), err
    assert f"no collector answers on {where[2]}" in err
    assert "  next: " in err
    return err


@pytest.mark.timeout(180)  # some fifteen commands, each a process of its own
def test_the_store_is_read_beside_the_collector_and_after_its_end(
    stored: tuple[Service, list[str], Path], tmp_path: Path
) -> None:
    service, where, folder = stored
    check(where, tmp_path / "beside")
    people = tierwise("roles", *where)[1]
    assert "planner" in people
    assert "known: price 100.0%" in people

    code, out, err = tierwise("explain", "nobody", *where)
    assert (code, out) == (1, "")
    assert "no decision 'nobody' is stored" in err
    assert tierwise("sql", "DROP TABLE calls", *where)[0] == 1
    code, _, err = tierwise("sql", "SELECT nothing FROM nowhere", *where)
    assert code == 1
    assert "nowhere" in err
    records = tierwise("sql", "SELECT * FROM v_calls LIMIT 1", *where)[1]
    assert "…" not in records
    assert len(records.splitlines()) > 20  # a name and its value a line, not fifty slivers

    store = ["--store", str(next(folder.rglob("*.duckdb")))]
    for command in COMMANDS:
        away(command, *where[:1], "--console", "127.0.0.1:1")
    err = away(COMMANDS[0], *where[:1], "--console", service.address)
    assert "a gateway does" in err
    err = away(COMMANDS[0], *where[:1], "--console", "127.0.0.1:1", *store)
    assert "is in use by process" in err
    assert "next: name that collector's console: --console" in err

    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0
    away(COMMANDS[0], *where)
    check([*where, *store], tmp_path / "after")


def test_nobody_and_nothing_to_read_from_is_told_with_the_remedy(tmp_path: Path) -> None:
    code, out, err = tierwise(
        "roles", "--console", "127.0.0.1:1", "--store", str(tmp_path / "none.duckdb")
    )
    assert (code, out) == (1, "")
    assert "no collector answers on 127.0.0.1:1" in err
    assert "tierwise serve" in err

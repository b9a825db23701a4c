from pathlib import Path

from collector.history import measure_history


def test_a_history_is_written_and_asked(tmp_path: Path) -> None:
    told: list[str] = []
    found = measure_history(tmp_path / "h.duckdb", calls=2_000, tell=told.append)
    assert found.calls == 2_000
    assert 0 < found.by_tier_ms < 60_000
    assert 0 < found.board_ms < 60_000
    assert told[-1] == "rolling up"

from pathlib import Path

import pytest

from collector.history import BYTES_PER_CALL, measure_history, room_for
from telemetry.errors import ConfigError


def test_a_history_is_written_and_asked(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    path = tmp_path / "h.duckdb"
    found = measure_history(path, calls=2_000, tell=lambda work, share: told.append((work, share)))
    assert found.calls == 2_000
    assert 0 < found.by_tier_ms < 60_000
    assert 0 < found.board_ms < 60_000
    assert found.by_tier_cpu_ms > 0
    assert found.board_cpu_ms > 0
    assert 0 < found.month_ms < 60_000
    assert found.month_cpu_ms > 0
    assert found.store_mb * 2**20 == path.stat().st_size
    assert [work for work, _ in told if work != "rolling up"] == ["writing", "asking"]
    shares = [share for work, share in told if work == "rolling up"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_history_that_the_disk_cannot_hold_is_refused_before_it_is_made(tmp_path: Path) -> None:
    assert room_for(tmp_path, calls=1_000) == 1_000 * BYTES_PER_CALL
    with pytest.raises(ConfigError, match=r"1,000,000,000,000 calls may take 300000\.0 GB"):
        room_for(tmp_path, calls=10**12)

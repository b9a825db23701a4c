import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from evals.worlds import load_worlds, made_up, role_means
from telemetry.errors import ConfigError

SHARED = Path(os.environ.get("TIERWISE_DATA", "../shared/data")) / "worlds.parquet"


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "worlds.parquet"
    with duckdb.connect() as database:
        database.execute(
            """
            create table rows as select * from (values
                ('w1', 'a', 0.0, 0.25, 1.0, 0.1, 0.2, 2.0, 5.0),
                ('w1', 'b', 1.0, 0.50, 1.0, 0.1, 0.2, 4.0, 7.0),
                ('w2', 'a', 1.0, null, 0.5, 0.1, null, 3.0, 5.0),
                ('w2', 'a', null, null, 0.5, 0.1, null, 3.0, 5.0)
            ) t(world, role, q_small, q_mid, q_frontier, cost_small, cost_mid, cost_frontier, f_x)
            """
        )
        database.execute(f"copy rows to '{path}' (format parquet)")
    return path


def test_a_world_is_read_with_its_tiers_roles_and_features(small_file: Path) -> None:
    world = load_worlds(small_file, names=["w1"])[0]
    assert world.tiers == ("small", "mid", "frontier")
    assert world.role_names == ("a", "b")
    assert world.quality.tolist() == [[0.0, 0.25, 1.0], [1.0, 0.5, 1.0]]
    assert world.top_cost == 3.0
    assert world.features.tolist() == [[-1.0], [1.0]]


def test_a_tier_without_scores_is_absent_and_unscored_items_are_left_out(small_file: Path) -> None:
    world = load_worlds(small_file)[1]
    assert world.tiers == ("small", "frontier")
    assert world.items_count == 1
    assert world.features.shape == (1, 0)  # a constant says nothing


def test_a_wrong_file_or_name_says_what_to_do(small_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_worlds(tmp_path / "absent.parquet")
    with pytest.raises(ConfigError, match="no world 'w9'; it holds w1, w2"):
        load_worlds(small_file, names=["w9"])
    other = tmp_path / "other.parquet"
    with duckdb.connect() as database:
        database.execute(f"copy (select 1 as x) to '{other}' (format parquet)")
    with pytest.raises(ConfigError, match="not a file of worlds"):
        load_worlds(other)
    other.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(ConfigError, match="no Parquet that can be read"):
        load_worlds(other)


def test_the_same_rows_have_the_same_digest(small_file: Path) -> None:
    first, again = load_worlds(small_file), load_worlds(small_file)
    assert [world.digest for world in first] == [world.digest for world in again]
    assert first[0].digest != first[1].digest


def test_role_means_by_hand() -> None:
    values = np.array([[1.0], [3.0], [8.0]])
    found = role_means(values, roles=np.array([0, 0, 2]), count=3)
    assert found.tolist() == [[2.0], [0.0], [8.0]]


def test_made_up_worlds_repeat_and_hold_what_worlds_promise() -> None:
    for seed in range(5):
        one, same = (made_up(np.random.default_rng(seed), tiers=2 + seed % 2) for _ in range(2))
        assert (one.quality == same.quality).all()
        assert set(one.roles.tolist()) == set(range(8))
        assert one.cost[:, -1].mean() > one.cost[:, 0].mean()


def test_the_shared_worlds_are_as_described() -> None:
    if not SHARED.is_file():
        pytest.skip(f"{SHARED} is absent; set TIERWISE_DATA to the folder with worlds.parquet")
    found: dict[str, Any] = {world.name: world for world in load_worlds(SHARED)}
    assert found["mmlu57"].tiers == ("small", "frontier")
    assert len(found["mmlu57"].role_names) == 57
    assert found["bfcl_anthropic"].quality.mean(axis=0) == pytest.approx(
        [0.75, 0.905, 0.88], abs=0.005
    )

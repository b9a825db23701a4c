"""Replay worlds: what every tier scored and cost on the same items, so that the truth is known.

A world comes from a Parquet file of per-item outcomes or is made up from a seed. It is finite: the
true quality and cost of any policy on it can be summed, not only sampled.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from telemetry.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIERS = ("small", "mid", "frontier")
ITEMS_MAX = 2_000_000
HASHED, TEXT_FEATURES = 2**16, 25
CORRECT_FROM = 0.5  # an answer that scores less counts as wrong for a simulated check


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Outcomes of ``n`` items on ``k`` tiers, ladder order, the last tier on top.

    ``roles`` is (n,) and indexes ``role_names``; ``quality`` is (n, k) in 0..1; ``cost`` is (n, k)
    in USD at the recorded prices; ``features`` is (n, f), standardised, cheap facts of the request.
    """

    name: str
    tiers: tuple[str, ...]
    role_names: tuple[str, ...]
    roles: Ints
    quality: Floats
    cost: Floats
    features: Floats
    digest: str

    def __post_init__(self) -> None:
        items, tiers = self.quality.shape
        assert items > 0, f"world {self.name} has no items"
        assert self.cost.shape == (items, tiers), f"world {self.name}: cost and quality differ"
        assert tiers == len(self.tiers), f"world {self.name}: {tiers} columns, {self.tiers}"
        assert bool(np.isfinite(self.quality).all()), f"world {self.name}: a quality is not finite"
        assert bool((self.cost >= 0).all()), f"world {self.name}: a cost is below 0"

    @property
    def items_count(self) -> int:
        """Number of items."""
        return len(self.roles)

    @property
    def top_quality(self) -> float:
        """Mean quality of the top tier; floors are given relative to it."""
        return float(self.quality[:, -1].mean())

    @property
    def top_cost(self) -> float:
        """Mean cost of a step on the top tier, in USD."""
        return float(self.cost[:, -1].mean())

    def role_weights(self) -> Floats:
        """Share of the items that each role has, (roles,)."""
        return np.bincount(self.roles, minlength=len(self.role_names)) / self.items_count

    def role_means(self, values: Floats) -> Floats:
        """Mean of (n, m) ``values`` per role: (roles, m)."""
        return role_means(values, roles=self.roles, count=len(self.role_names))


def role_means(values: Floats, *, roles: Ints, count: int) -> Floats:
    """Mean of each column of (n, m) ``values`` in each of ``count`` roles; 0 where one is empty."""
    sizes = np.maximum(np.bincount(roles, minlength=count), 1)
    columns = [np.bincount(roles, weights=column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1) / sizes[:, None]


def load_worlds(path: Path, *, names: Sequence[str] = ()) -> list[World]:
    """Read the worlds of a Parquet file, in the file's order; all of them when none is named.

    Wants the columns ``world, role, q_{tier}, cost_{tier}`` for some of small, mid and frontier and
    takes every ``f_*`` column as a feature; a ``prompt`` column becomes 25 more, see
    ``text_features``. A tier without a score on any item is absent. Raises ConfigError on a missing
    file, column or name.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file", hint="give a Parquet file with worlds")
    with duckdb.connect() as database:  # in memory: only a reader of Parquet here
        try:
            rows = database.read_parquet(str(path))
        except duckdb.Error as error:
            raise ConfigError(
                f"{path}: no Parquet that can be read: {error}", hint="give a file of worlds"
            ) from error
        columns = set(rows.columns)
        if not {"world", "role"} <= columns or not any(f"q_{tier}" in columns for tier in TIERS):
            raise ConfigError(
                f"{path}: not a file of worlds; its columns are {', '.join(sorted(columns))}",
                hint="it needs world, role, q_small … q_frontier and cost_small … cost_frontier",
            )
        table = rows.limit(ITEMS_MAX).fetchnumpy()
    worlds_column = np.asarray(table["world"]).astype(str)
    found = list(dict.fromkeys(worlds_column.tolist()))
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ConfigError(f"{path}: no world {unknown[0]!r}", hint=f"it holds {', '.join(found)}")
    return [
        _world(name, {key: column[worlds_column == name] for key, column in table.items()})
        for name in (names or found)
    ]


def _world(name: str, table: dict[str, NDArray[np.generic]]) -> World:
    """One world from its rows of the table."""
    tiers = [tier for tier in TIERS if f"q_{tier}" in table and _known(table[f"q_{tier}"]).any()]
    quality = np.stack([_floats(table[f"q_{tier}"]) for tier in tiers], axis=1)
    cost = np.stack([_floats(table[f"cost_{tier}"]) for tier in tiers], axis=1)
    whole = np.isfinite(quality).all(axis=1) & np.isfinite(cost).all(axis=1)
    quality, cost = quality[whole], cost[whole]
    role_names, roles = np.unique(np.asarray(table["role"]).astype(str)[whole], return_inverse=True)
    keys = sorted(key for key in table if key.startswith("f_"))
    columns = [_floats(table[key])[whole] for key in keys]
    if "prompt" in table:
        columns += list(text_features([str(text) for text in table["prompt"][whole]]).T)
    features = standardised(columns, rows=len(roles))
    digest = hashlib.sha256()
    for array in (roles.astype(np.int64), quality, cost, features):
        digest.update(np.ascontiguousarray(array).tobytes())
    return World(
        name=name,
        tiers=tuple(tiers),
        role_names=tuple(role_names.tolist()),
        roles=roles.astype(np.int64),
        quality=quality,
        cost=cost,
        features=features,
        digest=digest.hexdigest()[:16],
    )


def text_features(texts: Sequence[str]) -> Floats:
    """Hashed words and pairs of words, cut down to their 25 strongest directions: (n, 25 at most).

    What a router without an embedding model can see of a text.
    """
    from sklearn.decomposition import TruncatedSVD  # noqa: PLC0415 - slow to load, rarely wanted
    from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415 - as above

    hashed = HashingVectorizer(n_features=HASHED, ngram_range=(1, 2)).transform(texts)
    size = min(TEXT_FEATURES, len(texts) - 1)
    return np.asarray(TruncatedSVD(size, random_state=0).fit_transform(hashed), dtype=np.float64)


def _floats(column: NDArray[np.generic]) -> Floats:
    """The column as floats, NaN where it is unknown."""
    numbers = np.ma.asarray(column).astype(np.float64)
    return np.asarray(np.ma.filled(numbers, np.nan), dtype=np.float64)


def _known(column: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.isfinite(_floats(column))


def standardised(columns: Sequence[Floats], *, rows: int) -> Floats:
    """Columns with mean 0 and deviation 1, unknown as 0, constant ones left out: (rows, f)."""
    kept = []
    for column in columns:
        known = column[np.isfinite(column)]
        if known.size and (deviation := float(known.std())) > 1e-12:
            kept.append(np.nan_to_num((column - known.mean()) / deviation))
    return np.stack(kept, axis=1) if kept else np.zeros((rows, 0))


def made_up(
    rng: np.random.Generator,
    *,
    name: str = "made-up",
    items: int = 1500,
    roles: int = 8,
    tiers: int = 3,
) -> World:
    """A world drawn from ``rng``: item difficulty shared by tiers, roles that differ, odd prices.

    An item is right on a tier when skill + role offset beats its difficulty, on a logistic scale;
    costs are lognormal around tier prices that span 30 to 500 times. Tiers need not be ordered by
    quality within a role.
    """
    weights = rng.dirichlet(np.full(roles, 2.0))
    which = np.concatenate([np.arange(roles), rng.choice(roles, items - roles, p=weights)])
    skill = np.cumsum(rng.uniform(0.2, 1.2, tiers)) + rng.uniform(-0.6, 0.8)
    offsets = rng.normal(0, 0.7, (roles, 1)) + rng.normal(0, 0.4, (roles, tiers))
    difficulty = rng.normal(0, rng.uniform(0.5, 1.5), items)
    chance = 1 / (1 + np.exp(-(skill[None, :] + offsets[which] - difficulty[:, None])))
    quality = (rng.random((items, tiers)) < chance).astype(float)
    spread = math.log(rng.uniform(30, 500))
    price = np.exp(-spread * np.sort(rng.uniform(0, 1, tiers))[::-1])
    price[-1] = 1.0
    cost = price[None, :] * np.exp(
        rng.normal(0, 0.4, (items, 1)) + rng.normal(0, 0.2, (items, tiers))
    )
    noise = rng.normal(0, 1, (items, 2))
    return World(
        name=name,
        tiers=TIERS[-tiers:] if tiers != 2 else ("small", "frontier"),
        role_names=tuple(f"role-{number}" for number in range(roles)),
        roles=which.astype(np.int64),
        quality=quality,
        cost=cost / 1000,
        features=np.column_stack([difficulty * 0.3 + noise[:, 0], noise[:, 1]]),
        digest="made-up",
    )

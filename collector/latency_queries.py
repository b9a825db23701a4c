"""Latencies in buckets, summed by minute, hour and day, so that no window reads many rows.

A minute of few calls has about as many rows as calls, since hardly two of them share a role,
a tier and a bucket. Hours and days hold the same sums in a fraction of the rows; a window takes
whole days, then whole hours, then the minutes at its ends. Minutes are kept for three days.
"""

# ruff: noqa: S608 - only constants of this file are spliced in; values are bound

from typing import Final

HOUR: Final = 60  # minutes
DAY: Final = 1_440


def _derived(table: str, source: str, width: int) -> tuple[str, str]:
    """Return statements that sum ``source`` up again for what holds a minute that is due."""
    low, high = f"$low // {width} * {width}", f"($high + {width - 1}) // {width} * {width}"
    among = f"IN (SELECT minute // {width} * {width} FROM temp.due)"
    return (
        f"DELETE FROM {table} WHERE minute >= {low} AND minute < {high} AND minute {among}",
        f"""
INSERT INTO {table} BY NAME
SELECT minute // {width} * {width} AS minute, role, tier, bucket, sum(calls) AS calls
FROM {source} WHERE minute >= {low} AND minute < {high} AND minute // {width} * {width} {among}
GROUP BY ALL ORDER BY 1
""",
    )


# After the minutes (further back: hours) that are due were summed up as ``rollups_latency``.
ROLL_UP: Final[tuple[str, ...]] = (
    *_derived("rollups_latency_hours", "rollups_latency", HOUR),
    *_derived("rollups_latency_days", "rollups_latency_hours", DAY),
    "DELETE FROM rollups_latency WHERE minute >= $low AND minute < $high AND minute < $edge",
)
COMPACT: Final = "DELETE FROM rollups_latency WHERE minute >= $from AND minute < $edge"

MIGRATION: Final = f"""
CREATE TABLE rollups_latency_hours (
  minute BIGINT NOT NULL, role VARCHAR, tier VARCHAR, bucket SMALLINT NOT NULL,
  calls DOUBLE NOT NULL
);
CREATE TABLE rollups_latency_days (
  minute BIGINT NOT NULL, role VARCHAR, tier VARCHAR, bucket SMALLINT NOT NULL,
  calls DOUBLE NOT NULL
);
INSERT INTO rollups_latency_hours
SELECT minute // {HOUR} * {HOUR} AS minute, role, tier, bucket, sum(calls) FROM rollups_latency
GROUP BY ALL ORDER BY 1;
INSERT INTO rollups_latency_days
SELECT minute // {DAY} * {DAY} AS minute, role, tier, bucket, sum(calls) FROM rollups_latency_hours
GROUP BY ALL ORDER BY 1;
DELETE FROM rollups_latency
WHERE minute < (SELECT value FROM state WHERE name = 'hourly_before_minute');
"""

# One row for each role and tier, with its buckets and how many calls are in each.
BOARD: Final = """
SELECT role, tier, list(bucket) AS buckets, list(calls) AS calls FROM (
  SELECT role, tier, bucket, sum(calls) AS calls FROM (
    SELECT role, tier, bucket, calls FROM rollups_latency
    WHERE minute >= $from AND minute < $hours_from
    UNION ALL SELECT role, tier, bucket, calls FROM rollups_latency
    WHERE minute >= $hours_to AND minute < $to
    UNION ALL SELECT role, tier, bucket, calls FROM rollups_latency_hours
    WHERE minute >= $hours_from AND minute < $days_from
    UNION ALL SELECT role, tier, bucket, calls FROM rollups_latency_hours
    WHERE minute >= $days_to AND minute < $hours_to
    UNION ALL SELECT role, tier, bucket, calls FROM rollups_latency_days
    WHERE minute >= $days_from AND minute < $days_to
  ) GROUP BY role, tier, bucket
) GROUP BY role, tier
"""


def board_bounds(start: int, end: int) -> dict[str, int]:
    """Return the bounds of ``BOARD`` for the minutes from ``start`` up to ``end``.

    >>> board_bounds(50, 3_000)  # minutes, two hours, a day, two hours, no minutes
    ... # doctest: +NORMALIZE_WHITESPACE
    {'from': 50, 'hours_from': 60, 'days_from': 1440, 'days_to': 2880, 'hours_to': 3000, 'to': 3000}
    """
    hours = -(-start // HOUR) * HOUR, end // HOUR * HOUR
    if hours[0] >= hours[1]:
        hours = end, end
    days = -(-hours[0] // DAY) * DAY, hours[1] // DAY * DAY
    if days[0] >= days[1]:
        days = hours[1], hours[1]
    return {
        "from": start,
        "hours_from": hours[0],
        "days_from": days[0],
        "days_to": days[1],
        "hours_to": hours[1],
        "to": end,
    }

"""The tables of the desk that hold what must still be told, to whom, and what came of it."""

from typing import Final

TABLES: Final[tuple[str, ...]] = (
    # What happened, in order. ``number`` is never used again, so a cursor into it stays right.
    """
CREATE TABLE outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('alert', 'change', 'report')),
  at_ns INTEGER NOT NULL, body TEXT NOT NULL
) STRICT
""",
    # The last word on every alert that fires, or did lately.
    """
CREATE TABLE outbox_alerts (
  fingerprint TEXT PRIMARY KEY, status TEXT NOT NULL, starts_ns INTEGER NOT NULL,
  ends_ns INTEGER, body TEXT NOT NULL
) STRICT
""",
    # ``cursor``: events up to this one are spread out. ``next_ns``: nothing is sent before.
    """
CREATE TABLE sinks (
  sink TEXT PRIMARY KEY, cursor INTEGER NOT NULL, failures INTEGER NOT NULL DEFAULT 0,
  next_ns INTEGER NOT NULL DEFAULT 0, acknowledged_ns INTEGER, tested_ns INTEGER,
  test_tried_ns INTEGER, state_ns INTEGER, resend_ns INTEGER NOT NULL DEFAULT 0,
  disabled TEXT, error TEXT
) STRICT
""",
    # Fingerprints: ``told`` as firing by the last message, changed since then (``news``), and kept
    # back because they were muted (``held``).
    """
CREATE TABLE notice_groups (
  sink TEXT NOT NULL, group_key TEXT NOT NULL, labels TEXT NOT NULL, flush_ns INTEGER NOT NULL,
  flushed_ns INTEGER, told TEXT NOT NULL, news TEXT NOT NULL, held TEXT NOT NULL,
  PRIMARY KEY (sink, group_key)
) STRICT
""",
    # One message to one sink. Of a lane only the oldest is sent, so order holds within it.
    """
CREATE TABLE deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, sink TEXT NOT NULL,
  lane TEXT NOT NULL, created_ns INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'dead')),
  ended_ns INTEGER, error TEXT, body TEXT NOT NULL, UNIQUE (message_id, sink)
) STRICT
""",
    "CREATE INDEX deliveries_due ON deliveries (sink, lane, number) WHERE state = 'due'",
)

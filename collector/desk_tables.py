"""The tables of the desk, in numbered steps: a step that was released never changes."""

from typing import Final

from collector.sinks.tables import TABLES

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # Small facts that outlive a restart, by name: cursors, when a sink was last tested ...
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    ),
    (
        # The review of the policy: revisions with what became of them, which one stands, what
        # people hold, what they did, and what they were answered.
        """
CREATE TABLE revisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, parent TEXT, policy_hash TEXT NOT NULL,
  text TEXT NOT NULL, created_ns INTEGER NOT NULL, author TEXT NOT NULL,
  trigger_name TEXT NOT NULL, note TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN
    ('proposed', 'shadow', 'active', 'superseded', 'rejected', 'rolled back')),
  status_ns INTEGER NOT NULL, status_by TEXT NOT NULL, reason TEXT, served_ns INTEGER
) STRICT
""",
        "CREATE UNIQUE INDEX revisions_active ON revisions (status) WHERE status = 'active'",
        "CREATE INDEX revisions_status ON revisions (status, number)",
        # One row: NULL is the declared policy.
        """
CREATE TABLE standing (
  one INTEGER PRIMARY KEY CHECK (one = 1), revision TEXT REFERENCES revisions (id),
  previous TEXT REFERENCES revisions (id), rollout REAL NOT NULL, activated_ns INTEGER
) STRICT
""",
        "INSERT INTO standing VALUES (1, NULL, NULL, 1.0, NULL)",
        """
CREATE TABLE holds (
  kind TEXT NOT NULL CHECK (kind IN ('pin', 'freeze')), role TEXT NOT NULL, arm TEXT,
  owner TEXT NOT NULL, reason TEXT NOT NULL, since_ns INTEGER NOT NULL, until_ns INTEGER,
  PRIMARY KEY (kind, role), CHECK ((kind = 'pin') = (arm IS NOT NULL)),
  CHECK (kind = 'freeze' OR until_ns IS NOT NULL)
) STRICT
""",
        """
CREATE TABLE audit_log (
  sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, actor TEXT NOT NULL,
  action TEXT NOT NULL, subject TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
  reason TEXT, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT
""",
        """
CREATE TRIGGER audit_log_keeps BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
""",
        """
CREATE TRIGGER audit_log_keeps_all BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
""",
        # What a mutation was answered, by the key that its sender gave it.
        """
CREATE TABLE answers (
  actor TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, body TEXT NOT NULL,
  at_ns INTEGER NOT NULL, PRIMARY KEY (actor, key)
) STRICT
""",
    ),
    (
        # What the alerting engine has seen and said.
        """
CREATE TABLE detectors (
  name TEXT NOT NULL, role TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (name, role)
) STRICT
""",
        """
CREATE TABLE alerts (
  fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT, severity TEXT NOT NULL,
  labels TEXT NOT NULL, annotations TEXT NOT NULL, state TEXT NOT NULL, since_ns INTEGER NOT NULL,
  starts_ns INTEGER, ends_ns INTEGER, waited_ns INTEGER NOT NULL, waited_steps INTEGER NOT NULL,
  told INTEGER NOT NULL, muted TEXT, acknowledged TEXT, seen_ns INTEGER NOT NULL
) STRICT
""",
        """
CREATE TABLE transitions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, name TEXT NOT NULL, role TEXT,
  was TEXT NOT NULL, state TEXT NOT NULL, at_ns INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT
""",
        "CREATE INDEX transitions_of ON transitions (fingerprint, id)",
        """
CREATE TABLE silences (
  id TEXT PRIMARY KEY, matchers TEXT NOT NULL, starts_ns INTEGER NOT NULL,
  ends_ns INTEGER NOT NULL, author TEXT NOT NULL, comment TEXT NOT NULL,
  created_ns INTEGER NOT NULL
) STRICT
""",
    ),
    TABLES,  # what must be told to whom
    (
        # What the learner carries from tick to tick, by scope (role|mode|), and its alarms.
        "CREATE TABLE learner (scope TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT",
        """
CREATE TABLE learner_alarms (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, scope TEXT NOT NULL,
  tier TEXT NOT NULL, version TEXT NOT NULL, change TEXT NOT NULL, minute INTEGER NOT NULL
) STRICT
""",
    ),
)

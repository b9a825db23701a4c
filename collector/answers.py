"""What changes were answered, so that one that comes again under its key takes place once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from collector.desk import Transaction
from collector.holds import DAY_NS
from collector.refusals import Refusal

KEY_CHARS_MAX: Final = 200
ANSWERS_DAYS: Final = 7
ANSWERS_MAX: Final = 10_000

_ANSWER: Final = "SELECT request, body FROM answers WHERE actor = $actor AND key = $key"
_KEEP: Final = "INSERT INTO answers VALUES ($actor, $key, $request, $body, $at_ns)"
_FORGET: Final = """
DELETE FROM answers WHERE at_ns < $since OR rowid <=
  (SELECT max(rowid) FROM answers) - $kept
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One wish to change something: by whom, what exactly, and made for which base.

    ``base`` is the If-Match header, ``key`` the Idempotency-Key; both None when absent.
    """

    person: str
    action: str
    body: Mapping[str, Any]
    base: str | None = None
    key: str | None = None

    @property
    def fingerprint(self) -> str:
        """What tells this request from another under the same key."""
        content = json.dumps([self.action, dict(self.body)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a change led to; ``again`` when it had taken place before."""

    body: Mapping[str, Any]
    again: bool = False


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the Idempotency-Key of a request; None without one.

    Raises:
        Refusal: it is empty or too long.
    """
    key = headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise Refusal(
            "invalid_field",
            f"Idempotency-Key: 1 to {KEY_CHARS_MAX} characters",
            hint="send a random one, such as a UUID, or leave the header out",
        )
    return key


def earlier(change: Transaction, ask: Ask) -> Answer | None:
    """Return the answer of the first time; None when there was none, or no key.

    Raises:
        Refusal: the key came before with another request.
    """
    if ask.key is None:
        return None
    row = change.row(_ANSWER, {"actor": ask.person, "key": ask.key})
    if row is None:
        return None
    if row["request"] != ask.fingerprint:
        raise Refusal(
            "key_reused",
            "this Idempotency-Key came before with another request",
            hint="send a new key with a new request",
        )
    return Answer(body=json.loads(row["body"]), again=True)


def keep(change: Transaction, ask: Ask, body: Mapping[str, Any], now_ns: int) -> None:
    """Keep the answer of a request that has a key, in the transaction of its change."""
    if ask.key is None:
        return
    change.run(_FORGET, {"since": now_ns - ANSWERS_DAYS * DAY_NS, "kept": ANSWERS_MAX})
    change.run(
        _KEEP,
        {
            "actor": ask.person,
            "key": ask.key,
            "request": ask.fingerprint,
            "body": json.dumps(dict(body)),
            "at_ns": now_ns,
        },
    )

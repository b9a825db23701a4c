"""Silences: who muted the notices of which alerts, until when and why.

A silence mutes what is told to people. It never stops the safety action of an alert.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

from collector.desk import Desk, Transaction
from telemetry.errors import ApiError

DAY_NS: Final = 86_400_000_000_000
SILENCES_MAX: Final = 1_000
MATCHERS_MAX: Final = 16
PATTERN_MAX: Final = 200
KEPT_NS: Final = 30 * DAY_NS  # ended silences stay readable for so long
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
# Alternatives of plain words with stars: no pattern that could take long to match.
_STAR: Final = re.compile(r"\\\*")


class BadSilence(ApiError):
    """A silence that cannot be: no end, too long, no author, no comment, no matcher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matcher:
    """One label and what its value must be; ``*`` stands for any characters."""

    name: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the label is there with such a value (an absent label is empty).

        >>> Matcher(name="alertname", value="Cost*").matches({"alertname": "CostHigh"})
        True
        """
        pattern = _STAR.sub(".*", re.escape(self.value))
        return re.fullmatch(pattern, labels.get(self.name, "")) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """One silence; every matcher must match. Times are unix nanoseconds."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_ns: int
    ends_ns: int
    author: str
    comment: str
    created_ns: int

    def mutes(self, labels: Mapping[str, str], now_ns: int) -> bool:
        """Say whether it holds now for an alert with ``labels``."""
        in_time = self.starts_ns <= now_ns < self.ends_ns
        return in_time and all(matcher.matches(labels) for matcher in self.matchers)

    def plain(self, now_ns: int) -> dict[str, Any]:
        """Return it as the API shows it."""
        status = "pending" if now_ns < self.starts_ns else "active"
        return {
            "id": self.id,
            "matchers": [{"name": each.name, "value": each.value} for each in self.matchers],
            "starts_ns": self.starts_ns,
            "ends_ns": self.ends_ns,
            "author": self.author,
            "comment": self.comment,
            "status": "expired" if now_ns >= self.ends_ns else status,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A silence as somebody asks for it."""

    matchers: Mapping[str, str]
    starts_ns: int
    ends_ns: int
    author: str
    comment: str


def checked(asked: Asked, *, now_ns: int, days_max: float) -> Silence:
    """Return the silence that was asked for.

    Raises:
        BadSilence: naming what is missing or too much, and what would do.
    """
    if not asked.author.strip() or not asked.comment.strip():
        raise BadSilence(
            "a silence needs an author and a comment",
            hint="say who answers for it and why it is wanted",
        )
    if not 0 < len(asked.matchers) <= MATCHERS_MAX:
        raise BadSilence(
            f"a silence has 1 to {MATCHERS_MAX} matchers, not {len(asked.matchers)}",
            hint="name at least one label, such as alertname=CostHigh",
        )
    for name, value in asked.matchers.items():
        if not _LABEL.fullmatch(name) or len(value) > PATTERN_MAX or value.count("*") > 1:
            raise BadSilence(
                f"{name[:64]!r} = {value[:64]!r} is no matcher",
                hint=f"a label's name and a value of up to {PATTERN_MAX} characters with at most "
                "one *",
            )
    if all(value == "*" for value in asked.matchers.values()):
        raise BadSilence(
            "this silence would mute every alert", hint="name an alert or a role besides the *"
        )
    length_ns, most_ns = asked.ends_ns - asked.starts_ns, int(days_max * DAY_NS)
    if length_ns <= 0 or asked.ends_ns <= now_ns:
        raise BadSilence(
            "a silence must end after it starts, and later than now",
            hint="send hours, or an ends_ns in the future (nanoseconds since 1970)",
        )
    if length_ns > most_ns or asked.ends_ns > now_ns + 2 * most_ns:
        raise BadSilence(
            f"a silence lasts at most {days_max:g} days, not {length_ns / DAY_NS:.3g}",
            hint="choose an earlier end; renew it when it is still needed",
        )
    return Silence(
        id=token_hex(8),
        matchers=tuple(Matcher(name=k, value=v) for k, v in sorted(asked.matchers.items())),
        starts_ns=asked.starts_ns,
        ends_ns=asked.ends_ns,
        author=asked.author.strip()[:200],
        comment=asked.comment.strip()[:1_000],
        created_ns=now_ns,
    )


def put(change: Transaction, silence: Silence) -> None:
    """Store a silence.

    Raises:
        BadSilence: there are too many already.
    """
    change.run("DELETE FROM silences WHERE ends_ns < $old", {"old": silence.created_ns - KEPT_NS})
    count = change.row("SELECT count(*) AS n FROM silences")
    if count is not None and count["n"] >= SILENCES_MAX:
        raise BadSilence(f"there are {SILENCES_MAX} silences already", hint="end some first")
    matchers = {matcher.name: matcher.value for matcher in silence.matchers}
    change.run(
        "INSERT INTO silences VALUES ($id, $matchers, $starts, $ends, $author, $comment, $created)",
        {
            "id": silence.id,
            "matchers": json.dumps(matchers),
            "starts": silence.starts_ns,
            "ends": silence.ends_ns,
            "author": silence.author,
            "comment": silence.comment,
            "created": silence.created_ns,
        },
    )


def end(change: Transaction, id_: str, now_ns: int) -> bool:
    """End a silence now; False when there is none of that id that has not ended."""
    sql = (
        "UPDATE silences SET ends_ns = $now, starts_ns = min(starts_ns, $now) "
        "WHERE id = $id AND ends_ns > $now"
    )
    return change.run(sql, {"id": id_, "now": now_ns}) > 0


def all_of(desk: Desk | Transaction) -> tuple[Silence, ...]:
    """Return every stored silence, the last to end first."""
    rows = desk.rows("SELECT * FROM silences ORDER BY ends_ns DESC, id")
    return tuple(
        Silence(
            id=row["id"],
            matchers=tuple(
                Matcher(name=k, value=v) for k, v in sorted(json.loads(row["matchers"]).items())
            ),
            starts_ns=row["starts_ns"],
            ends_ns=row["ends_ns"],
            author=row["author"],
            comment=row["comment"],
            created_ns=row["created_ns"],
        )
        for row in rows
    )


def muting(silences: Iterable[Silence], labels: Mapping[str, str], now_ns: int) -> str | None:
    """Return the id of a silence that mutes an alert with ``labels`` now, or None."""
    return next((each.id for each in silences if each.mutes(labels, now_ns)), None)

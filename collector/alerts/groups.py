"""Alerts that share labels, gathered: one incident is one line, however many roles it has."""

from collections.abc import Iterable, Sequence
from typing import Any

from collector.alerts.ledger import Alert


def groups(alerts: Iterable[Alert], *, by: Sequence[str]) -> list[dict[str, Any]]:
    """Return groups of alerts with equal values of the labels ``by``, and what all of one share.

    An absent label counts as empty.
    """
    gathered: dict[tuple[str, ...], list[Alert]] = {}
    for alert in alerts:
        key = tuple(alert.labels.get(name, "") for name in by)
        gathered.setdefault(key, []).append(alert)
    return [
        {
            "labels": dict(zip(by, key, strict=True)),
            "common": _common(members),
            "states": _counts(members),
            "fingerprints": [alert.fingerprint for alert in members],
        }
        for key, members in sorted(gathered.items())
    ]


def _common(members: Sequence[Alert]) -> dict[str, str]:
    first = members[0].labels.items()
    return {k: v for k, v in first if all(each.labels.get(k) == v for each in members)}


def _counts(members: Sequence[Alert]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for alert in members:
        state = alert.standing.state.value
        counts[state] = counts.get(state, 0) + 1
    return counts

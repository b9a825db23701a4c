"""What is told about an alert when it starts or ends; sinks read nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from collector.desk import Transaction

Status = Literal["firing", "resolved"]
NAME: Final = "alertname"  # of the label that every alert carries, as Alertmanager spells it


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertEvent:
    """One alert that began or ended; times are unix nanoseconds.

    ``labels`` are its identity and hold no value that changes; ``annotations`` are words.
    """

    fingerprint: str
    name: str
    role: str | None  # None: over all roles, or about the house itself
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    status: Status
    starts_ns: int
    ends_ns: int | None  # None while it fires
    at_ns: int
    reason: str


# Puts an event into the outbox inside the transaction that records it, or not at all.
Enqueue = Callable[[Transaction, AlertEvent], None]


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of an alert on every surface: SHA-256 of its sorted labels.

    >>> fingerprint({"role": "worker", "alertname": "CostHigh"})[:16]
    'ca2802527f9f249f'
    >>> a = fingerprint({"a": "bc", "d": ""})
    >>> a == fingerprint({"a": "b", "cd": ""})
    False
    """
    text = "".join(f"{key}\x00{labels[key]}\x00" for key in sorted(labels))
    return sha256(text.encode()).hexdigest()


def nowhere(change: Transaction, event: AlertEvent) -> None:
    """Tell nobody: what happens to events while no sink is wired."""

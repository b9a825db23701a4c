"""Who is not worth asking just now, and how many extra calls a bad hour may cause.

Sources: Envoy's outlier detection (ejection grows with repeats, panic threshold) and Finagle's
retry budget (a share of requests plus a floor).
"""

import random
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from telemetry.clock import Clock

FAILURES_TO_OPEN: Final = 5  # in a row
OPEN_SECONDS_MIN: Final = 1.0
OPEN_SECONDS_MAX: Final = 30.0
MODELS_MAX: Final = 4_096

RETRY_SHARE: Final = 0.2  # extra calls for each request
RETRY_FLOOR_PER_SECOND: Final = 0.5
RETRIES_SAVED_MAX: Final = 100.0


@dataclass(slots=True)
class _Circuit:
    failures: int = 0  # in a row
    openings: int = 0  # in a row
    open_until: float = 0.0  # monotonic seconds; 0 while closed
    probing: bool = False


class Leave(NamedTuple):
    """Leave to ask a model once; it is handed back with what came of the call."""

    model: str
    probe: bool  # the one call that decides whether an open circuit closes


@dataclass(kw_only=True, slots=True)
class Breakers:
    """One circuit breaker a model: closed, open for a while, then half open for one probe."""

    clock: Clock
    rng: random.Random
    _circuits: dict[str, _Circuit] = field(default_factory=dict)

    def allows(self, model: str) -> bool:
        """Say whether ``model`` may be asked: its circuit is closed, or waits for a probe."""
        circuit = self._circuits.get(model)
        return circuit is None or not circuit.open_until or self._may_probe(circuit)

    def enter(self, model: str) -> Leave:
        """Return leave to ask ``model``, as its probe when one is due.

        It is given even while ``allows`` says no, for a step that has nobody else to ask; what
        comes of such a call may close the circuit and cannot keep it open for longer.
        """
        circuit = self._circuits.get(model)
        probe = circuit is not None and bool(circuit.open_until) and self._may_probe(circuit)
        if probe and circuit is not None:
            circuit.probing = True
        return Leave(model, probe)

    def answered(self, leave: Leave) -> None:
        """Close the circuit."""
        self._circuits.pop(leave.model, None)

    def failed(self, leave: Leave, *, certain: bool = False) -> None:
        """Count a failure; open the circuit after several in a row, longer each time.

        ``certain`` says that the next call would fail as well: the first one opens it. While it is
        open only its probe counts: calls that began before say nothing new.
        """
        circuit = self._circuits.get(leave.model)
        if circuit is None:
            if len(self._circuits) >= MODELS_MAX:
                return
            circuit = self._circuits[leave.model] = _Circuit()
        if circuit.open_until:
            if leave.probe:
                self._open(circuit)
            return
        circuit.failures += 1
        if certain or circuit.failures >= FAILURES_TO_OPEN:
            self._open(circuit)

    def gave_up(self, leave: Leave) -> None:
        """Let another step probe: this one ended without learning anything."""
        circuit = self._circuits.get(leave.model)
        if leave.probe and circuit is not None:
            circuit.probing = False

    def _may_probe(self, circuit: _Circuit) -> bool:
        return not circuit.probing and self.clock.monotonic() >= circuit.open_until

    def _open(self, circuit: _Circuit) -> None:
        seconds = min(OPEN_SECONDS_MAX, OPEN_SECONDS_MIN * 2.0 ** min(circuit.openings, 16))
        circuit.openings += 1
        circuit.probing = False
        circuit.open_until = self.clock.monotonic() + seconds * self.rng.uniform(0.5, 1.0)


@dataclass(kw_only=True, slots=True)
class RetryBudget:
    """Extra calls (retries, failovers, escalations of failed calls) as a share of requests."""

    clock: Clock
    _saved: float = 3.0
    _at: float | None = None

    def request(self) -> None:
        """Count a request, which earns a fifth of an extra call."""
        self._earn(RETRY_SHARE)

    def take(self) -> bool:
        """Spend one extra call; False when none is left."""
        self._earn(0.0)
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True

    def _earn(self, amount: float) -> None:
        now = self.clock.monotonic()
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._saved = min(RETRIES_SAVED_MAX, self._saved + amount + passed * RETRY_FLOOR_PER_SECOND)

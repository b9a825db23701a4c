"""The alerts on tierwise itself: its store, what it dropped, and that alerting works at all."""

from collections.abc import Iterator
from typing import Final

from collector.alerts.sighting import Sighting
from collector.alerts.states import Look
from collector.meters import Meters

_UP: Final = "tierwise_collector_store_up"


class House:
    """Compares the process's own counters with those of the tick before."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._lost = 0.0

    def sightings(self, trouble: str | None) -> Iterator[Sighting]:
        """Yield what these alerts see; ``trouble`` is why the store could not be read now."""
        up = self._meters.registry.get_sample_value(_UP)
        words = trouble or "the last commit or roll-up failed"
        yield Sighting(
            name="StoreDegraded",
            look=Look(holds=trouble is not None or up == 0),
            words=lambda: {"summary": words},
        )
        lost = self._total()
        more = max(lost - self._lost, 0.0)
        self._lost = lost
        yield Sighting(
            name="TelemetryDropped",
            look=Look(holds=more > 0),
            words=lambda: {"summary": f"{more:g} spans or records were not kept"},
        )
        yield Sighting(
            name="Watchdog",
            look=Look(holds=True),
            words=lambda: {"summary": "alerting works"},
        )

    def _total(self) -> float:
        return sum(
            sample.value
            for counter in (self._meters.dropped, self._meters.rejected)
            for metric in counter.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )

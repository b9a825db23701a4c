"""The alerts on `/metrics`: state, armed and evidence, as the last tick left them."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.alerts.engine import Seen
from collector.alerts.states import State
from collector.armed import Side

CODES: Final = {
    State.INACTIVE: 0,
    State.NO_DATA: -1,
    State.PENDING: 1,
    State.FIRING: 2,
    State.KEEP_FIRING: 2,
    State.RESOLVED: 0,
}


class Gauges(Collector):
    """Read by the registry at every scrape; costs no query."""

    def __init__(self, seen: Callable[[], Seen], sides: Callable[[], Iterable[Side]]) -> None:
        self._seen = seen
        self._sides = sides

    def collect(self) -> Iterable[Metric]:
        """Yield the four families."""
        seen = self._seen()
        state = GaugeMetricFamily(
            "tierwise_collector_alert_state",
            "-1 no data, 0 inactive or resolved, 1 pending, 2 firing",
            labels=("alert", "role", "severity"),
        )
        worst: dict[tuple[str, str, str], int] = {}
        for alert in seen.alerts:
            key = (alert.name, alert.role or "", alert.severity)
            worst[key] = max(worst.get(key, -1), CODES[alert.standing.state])
        for key, code in sorted(worst.items()):
            state.add_metric(key, code)
        armed = GaugeMetricFamily(
            "tierwise_collector_alert_armed",
            "1 when the alert of the role could fire now",
            labels=("alert", "role"),
        )
        for side in self._sides():
            armed.add_metric((side.alert, side.role), float(side.armed))
        evidence = GaugeMetricFamily(
            "tierwise_collector_alert_evidence",
            "E-value of a sequential detector; it alarms at its arl",
            labels=("alert", "role"),
        )
        for detector, value in sorted(seen.evidence.items()):
            evidence.add_metric(detector, value)
        ticks = CounterMetricFamily(
            "tierwise_collector_alert_ticks", "Looks at all alerts that were committed"
        )
        ticks.add_metric((), seen.ticks)
        yield from (state, armed, evidence, ticks)

"""What one rule saw at one tick of one thing that it watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from collector.alert_events import NAME
from collector.alerts.catalogue import RULES, Rule
from collector.alerts.states import Look

Words = Callable[[], Mapping[str, str]]


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One alert's condition now. ``words`` is asked only when the alert begins to fire."""

    name: str
    look: Look
    role: str | None = None
    # Beside its name and role; a severity among them takes the place of the rule's.
    labels: Mapping[str, str] = field(default_factory=dict)
    words: Words = _nothing

    @property
    def rule(self) -> Rule:
        return RULES[self.name]

    @property
    def identity(self) -> dict[str, str]:
        """The labels that make the alert what it is; none of them ever changes."""
        own = {NAME: self.name, "severity": self.rule.severity, **self.labels}
        return own if self.role is None else own | {"role": self.role}

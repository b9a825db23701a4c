"""The worked examples by name."""

from collections.abc import Callable, Mapping
from typing import Final

from evals.examples import (
    coding_agent,
    daily_tasks,
    escalation_rates,
    split,
    support_ticket,
    thousand_documents,
)
from evals.examples.example import Example

EXAMPLES: Final[Mapping[str, Callable[[], Example]]] = {
    "thousand-documents": thousand_documents.example,
    "daily-tasks": daily_tasks.example,
    "support-ticket": support_ticket.example,
    "coding-agent": coding_agent.example,
    "split": split.example,
    "escalation-rates": escalation_rates.example,
}

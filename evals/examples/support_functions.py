"""The code tier of the support ticket's policy: answers, or None to hand the step to a model."""

import re

from evals.steps import Step

ORDER = re.compile(r"\bDE-\d{6}\b")
DAYS = re.compile(r"days since delivery: (\d+), allowed: (\d+)")
ADDRESS = re.compile(r"to (\S+@\S+)$")


def intake(step: Step) -> str | None:
    """Read the order out of a mail's subject."""
    found = ORDER.search(step.last_user_text)
    return None if found is None else found.group()


def look_up(step: Step) -> str | None:
    """Say where an order is; a shop would ask its database."""
    found = ORDER.search(step.last_user_text)
    return None if found is None else f"{found.group()} delivered"


def eligibility(step: Step) -> str | None:
    """Say whether a return is still allowed."""
    found = DAYS.search(step.last_user_text)
    if found is None:
        return None
    return "yes" if int(found[1]) <= int(found[2]) else "no"


def sender(step: Step) -> str | None:
    """Send the reply; a shop would hand it to its mail server."""
    order, to = ORDER.search(step.last_user_text), ADDRESS.search(step.last_user_text)
    return None if order is None or to is None else f"sent {order.group()} to {to[1]}"

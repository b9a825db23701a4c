"""The support-ticket agent: nine steps from an incoming ticket to a sent reply."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, replace
from typing import Any

from evals.workloads.clients import Asker
from evals.workloads.steps import Call, StepResult, result_of
from evals.workloads.tickets import ACTIONS, CATEGORIES, LANGUAGES, RULES, Ticket

ROLES = (
    "intake", "categoriser", "extractor", "tool_caller", "summariser", "decider", "writer",
    "critic", "sender",
)  # fmt: skip
NIGHT_ROLE = "night_decider"  # decides at night, when nobody watches what it spends
SYSTEM = "You work at a shop's support desk. Do exactly what is asked and add nothing."
FORBIDDEN = "guarantee"
EXTRACT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("order_id", "email", "customer")},
    "required": ["order_id", "email", "customer"],
    "additionalProperties": False,
}
LOOK_UP = {
    "name": "look_up_order",
    "description": "Look up an order in the shop's database.",
    "schema": {
        "type": "object",
        "properties": {"order_id": {"type": "string", "description": "like DE-123456"}},
        "required": ["order_id"],
    },
}
SEND = {
    "name": "send_reply",
    "description": "Send the reply to the customer.",
    "schema": {
        "type": "object",
        "properties": {
            "to": {"type": "string", "description": "e-mail address"},
            "order_id": {"type": "string"},
        },
        "required": ["to", "order_id"],
    },
}


async def handle(ticket: Ticket, asker: Asker) -> AsyncIterator[StepResult]:
    """Work through one ticket and yield each step, judged against what is true of the ticket.

    A step's material is what the desk itself holds (the ticket, the order, its own decision), so
    that one wrong answer does not make the following ones wrong; only the draft is passed on.
    """
    for call, right_answer in _reading_steps(ticket):
        said = await asker.ask(call)
        yield result_of(call, said, right=right_answer(said.text))
    drafting = _draft(ticket)
    draft = await asker.ask(drafting)
    yield result_of(drafting, draft, right=draft_is_right(draft.text, ticket))
    checking = _check(ticket, draft.text)
    checked = await asker.ask(checking)
    yield result_of(checking, checked, right=_check_is_right(checked.text, draft.text, ticket))
    sending = _send(ticket, draft.text)
    sent = await asker.ask(sending)
    wanted = {"to": ticket.email, "order_id": ticket.order.order_id}
    yield result_of(sending, sent, right=has_fields(sent.text, wanted))


async def decide_at_night(tickets: Iterable[Ticket], asker: Asker) -> AsyncIterator[StepResult]:
    """Decide one ticket after the other; go home at the first one that gets no answer."""
    for ticket in tickets:
        call = replace(_decide(ticket), role=NIGHT_ROLE)
        said = await asker.ask(call)
        yield result_of(call, said, right=has_fields(said.text, {"action": ticket.action}))
        if said.error is not None:
            return


def _reading_steps(ticket: Ticket) -> list[tuple[Call, Any]]:
    order = ticket.order
    about = {"order_id": order.order_id, "email": ticket.email, "customer": ticket.customer}
    return [
        (_receive(ticket), lambda text: text.strip() == ticket.language),
        (categorise(ticket), lambda text: text.strip() == ticket.category),
        (_extract(ticket), lambda text: has_fields(text, about)),
        (_look_up(ticket), lambda text: has_fields(text, {"order_id": order.order_id})),
        (_summarise(ticket), lambda text: summary_is_right(text, ticket)),
        (_decide(ticket), lambda text: has_fields(text, {"action": ticket.action})),
    ]


def _call(ticket: Ticket, role: str, step: str, user: str) -> Call:
    return Call(
        role=role, step=step, session=ticket.ticket_id, mode="chain", system=SYSTEM, user=user
    )


def _tagged(ticket: Ticket) -> str:
    return f"<ticket>\n{ticket.text}\n</ticket>"


def _receive(ticket: Ticket) -> Call:
    ask = "In which language is the ticket written? Answer with one of: " + ", ".join(LANGUAGES)
    return _call(ticket, "intake", "receive", f"{ask}.\n\n{_tagged(ticket)}")


def categorise(ticket: Ticket) -> Call:
    """Return the step that asks for a ticket's category."""
    ask = "Categorise the ticket. Answer with one of: " + ", ".join(CATEGORIES)
    return _call(ticket, "categoriser", "categorise", f"{ask}.\n\n{_tagged(ticket)}")


def _extract(ticket: Ticket) -> Call:
    ask = "Extract from the ticket, as JSON with the keys order_id, email and customer."
    call = _call(ticket, "extractor", "extract", f"{ask}\n\n{_tagged(ticket)}")
    return replace(call, schema=EXTRACT_SCHEMA)


def _look_up(ticket: Ticket) -> Call:
    ask = "Look up the order that the ticket is about."
    call = _call(ticket, "tool_caller", "look_up", f"{ask}\n\n{_tagged(ticket)}")
    return replace(call, tool=LOOK_UP)


def _summarise(ticket: Ticket) -> Call:
    ask = "Summarise the ticket in English: who writes, which order, what kind of problem."
    return _call(ticket, "summariser", "summarise", f"{ask}\n\n{_tagged(ticket)}")


def _decide(ticket: Ticket) -> Call:
    ask = (
        "Decide what to do about the order. Answer as JSON with the keys action and reason.\n"
        f"Rules, the first that matches wins:\n{RULES}"
    )
    order = json.dumps(asdict(ticket.order))
    return _call(ticket, "decider", "decide", f"{ask}\n\n<order>\n{order}\n</order>")


def _draft(ticket: Ticket) -> Call:
    ask = (
        f"Draft a reply in the language {ticket.language}. Name the customer, the order and what "
        "will be done; promise nothing else."
    )
    facts = (
        f"customer: {ticket.customer}\norder_id: {ticket.order.order_id}\naction: {ticket.action}"
    )
    call = _call(ticket, "writer", "draft", f"{ask}\n\n<facts>\n{facts}\n</facts>")
    return replace(call, stream=True)


def _check(ticket: Ticket, draft: str) -> Call:
    ask = (
        "Check the draft against the policy. Answer as JSON with the keys ok and violations.\n"
        f"- the draft must contain '{ticket.order.order_id}'\n"
        f"- the draft must contain '{ticket.action}'\n"
        f"- the draft must not contain '{FORBIDDEN}'"
    )
    return _call(ticket, "critic", "check_policy", f"{ask}\n\n<draft>\n{draft}\n</draft>")


def _send(ticket: Ticket, draft: str) -> Call:
    ask = "Send the reply to the customer who wrote the ticket."
    user = f"{ask}\n\n{_tagged(ticket)}\n<draft>\n{draft}\n</draft>"
    return replace(_call(ticket, "sender", "send", user), tool=SEND)


def has_fields(text: str, wanted: dict[str, Any]) -> bool:
    """Say whether ``text`` is a JSON object with these values."""
    value = _object(text)
    return value is not None and all(value.get(name) == want for name, want in wanted.items())


def summary_is_right(text: str, ticket: Ticket) -> bool:
    """Say whether a summary names who, which order and what."""
    facts = (ticket.customer, ticket.order.order_id, ticket.category)
    return all(fact in text for fact in facts)


def draft_is_right(text: str, ticket: Ticket) -> bool:
    """Say whether a draft names customer, order and action, and promises nothing."""
    named = all(fact in text for fact in (ticket.customer, ticket.order.order_id, ticket.action))
    other = any(action in text for action in ACTIONS if action != ticket.action)
    return named and not other and FORBIDDEN not in text.casefold()


def _check_is_right(text: str, draft: str, ticket: Ticket) -> bool:
    lowered = draft.casefold()
    missing = [f for f in (ticket.order.order_id, ticket.action) if f.casefold() not in lowered]
    broken = missing + ([FORBIDDEN] if FORBIDDEN in lowered else [])
    value = _object(text)
    if value is None or value.get("ok") is not (not broken):
        return False
    violations = value.get("violations")
    return isinstance(violations, list) and sorted(map(str, violations)) == sorted(broken)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

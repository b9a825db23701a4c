"""The document-batch agent: one plan, then twenty mechanical steps for each document."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from evals.workloads.clients import Asker
from evals.workloads.documents import KINDS, LANGUAGES, Document
from evals.workloads.steps import Call, Said, StepResult, result_of

# Each mechanical step: the role that does it, what it needs first, what is asked.
_FIELD = "Give the value of the field '{name}' as it stands. Answer with the value only."
_DATE = "Give the value of the field '{name}' as an ISO 8601 date. Answer with the date only."
_AMOUNT = (
    "Give the value of the field '{name}' as a plain number with two decimals and a point. "
    "Answer with the number only."
)
STEPS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "language": (
        "doc_classifier", (),
        "In which language is the document? Answer with one of: " + ", ".join(LANGUAGES) + ".",
    ),
    "kind": (
        "doc_classifier", ("language",),
        "What kind of document is it? Answer with one of: " + ", ".join(KINDS) + ".",
    ),
    **{
        name: ("field_extractor", ("kind",), _FIELD)
        for name in (
            "invoice_number", "supplier", "customer", "purchase_order", "currency", "iban",
            "vat_id", "contact", "phone", "payment_terms",
        )
    },
    "issue_date": ("normaliser", ("language",), _DATE),
    "due_date": ("normaliser", ("language",), _DATE),
    "net_amount": ("normaliser", ("currency",), _AMOUNT),
    "tax_amount": ("normaliser", ("currency",), _AMOUNT),
    "total": ("normaliser", ("currency",), _AMOUNT),
    "line_items": (
        "normaliser", ("kind",), "How many line items are there? Answer with the number only.",
    ),
    "sums_agree": (
        "doc_classifier", ("net_amount", "tax_amount", "total"),
        "Do net_amount and tax_amount add up to total? Answer with one of: yes, no.",
    ),
    "file_name": (
        "normaliser", ("supplier", "invoice_number"),
        "Make a file name: supplier and invoice_number in lower case, everything but letters a-z "
        "and digits as single hyphens, then .pdf. Answer with the file name only.",
    ),
}  # fmt: skip

ROLES = ("planner", "doc_classifier", "field_extractor", "normaliser")

_CLAUSE = (
    "Clause {n}. Read the document from its first line to its last before you answer. Values are "
    "given as they stand unless another form is asked for. A value that is not there is answered "
    "with the word unknown, never with a guess. Nothing is added, explained or translated. "
)
HANDBOOK = (
    "You are one of several clerks who read business documents. This handbook holds for all.\n"
    + "\n".join(_CLAUSE.format(n=n) for n in range(1, 25))
)


MODE = "plan-execute"
CAREFUL = "plan-execute-careful"  # mode of the operations that a revised plan does not trust
REVISIONS_MAX = 8
FINE = (None, "code")  # nothing was thrown away: no escalation, or a function that abstained


@dataclass(kw_only=True, slots=True)
class _Plan:
    """The plan in force, and what went wrong under it and those before."""

    plan_id: str
    order: Sequence[str]
    revisions_count: int = 0
    troubled: set[str] = field(default_factory=set)

    def notice(self, step: str, said: Said) -> bool:
        """Take note of a reply; say whether the gateway wants the plan revised and it can be."""
        if said.headers.get("check") == "fail" or said.headers.get("escalated-from") not in FINE:
            self.troubled.add(step)
        wanted = said.headers.get("replan") == "true" and self.revisions_count < REVISIONS_MAX
        return wanted and bool(self.troubled)


async def process(
    batch: Sequence[Document], asker: Asker, *, plan_id: str
) -> AsyncIterator[StepResult]:
    """Plan the batch once, then do every step of every document in the planned order.

    When a reply asks for a new plan, the planner is told which operations gave trouble, the rest
    of the batch follows its second plan under an id of its own, and those operations go out in
    the mode ``CAREFUL``. A plan that is not valid is judged wrong and replaced by the order in
    which steps are declared.
    """
    planning = _planning(plan_id, troubled=())
    planned = await asker.ask(planning)
    order = valid_plan(planned.text)
    yield result_of(planning, planned, right=order is not None)
    plan = _Plan(plan_id=plan_id, order=order or list(STEPS))
    for document in batch:
        done: set[str] = set()
        while len(done) < len(STEPS):
            step = next(name for name in plan.order if name not in done)
            call = _step(document, step, plan)
            said = await asker.ask(call)
            done.add(step)
            yield result_of(call, said, right=said.text.strip() == document.truth[step])
            if plan.notice(step, said):
                revising = _planning(_revised(plan, plan_id), troubled=sorted(plan.troubled))
                revised = await asker.ask(revising)
                order = valid_plan(revised.text)
                plan.order = order or list(STEPS)
                yield result_of(revising, revised, right=order is not None)


def _revised(plan: _Plan, first_id: str) -> str:
    """Count a revision and return the id of the plan that it makes: `batch`, `batch.2` ..."""
    plan.revisions_count += 1
    plan.plan_id = f"{first_id}.{plan.revisions_count + 1}"
    return plan.plan_id


def valid_plan(text: str) -> list[str] | None:
    """Return the steps that ``text`` plans; None unless each is there once, after its needs."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    order = value.get("steps") if isinstance(value, dict) else None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(STEPS):
        return None
    position = {step: n for n, step in enumerate(order)}
    kept = all(position[need] < position[step] for step in STEPS for need in STEPS[step][1])
    return order if kept else None


def _planning(plan_id: str, *, troubled: Sequence[str]) -> Call:
    """Return the call that asks for a plan, with ``troubled`` operations as late as they can be."""
    names = [name for name in STEPS if name not in troubled] + list(troubled)
    operations = "\n".join(
        f"- {name}" + (f" needs {', '.join(STEPS[name][1])}" if STEPS[name][1] else "")
        for name in names
    )
    ask = (
        "Plan the work on a document: put the operations into an order in which each one comes "
        "after those it needs. Answer as JSON with the key steps."
    )
    if troubled:
        ask += (
            " The plan before this one cost too much: answers failed their checks. Put these "
            f"operations as late as their order allows: {', '.join(troubled)}."
        )
    return Call(
        role="planner",
        step="replan" if troubled else "plan",
        session=plan_id,
        mode=MODE,
        plan=plan_id,
        system=HANDBOOK,
        user=f"{ask}\n\n<operations>\n{operations}\n</operations>",
        stream=True,
        cache_system=True,
        output_tokens_max=4_096,
    )


def _step(document: Document, step: str, plan: _Plan) -> Call:
    role, _, ask = STEPS[step]
    # Under a first plan nothing is known yet; a revised one knows what went wrong.
    careful = plan.revisions_count > 0 and step in plan.troubled
    return Call(
        role=role,
        step=step,
        session=document.document_id,
        mode=CAREFUL if careful else MODE,
        plan=plan.plan_id,
        system=HANDBOOK,
        user=f"{ask.format(name=step)}\n\n<document>\n{document.text}\n</document>",
        cache_system=True,
    )

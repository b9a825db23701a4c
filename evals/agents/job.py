"""What a Plan-and-Execute agent is given to do, what it asks, and which answers it accepts.

All three agents share this; they differ in the library that makes the calls, and the graph also in
what drives the loop.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MODE: Final = "plan-execute"
CAREFUL: Final = "plan-execute-careful"  # of operations that a revised plan does not trust
PLANNER: Final = "planner"
EXECUTOR: Final = "executor"
REVISIONS_MAX: Final = 3
PLAN_TOKENS_MAX: Final = 2_048
STEP_TOKENS_MAX: Final = 128  # an executor's step is bounded: one value, a few tokens
HEADER: Final = "x-tierwise-"
SYSTEM: Final = "Do exactly what is asked and add nothing. A value that is not there is unknown."


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One kind of bounded work: what must be known before, and the form of a valid result."""

    name: str
    form: str  # regular expression of a whole valid result
    needs: tuple[str, ...] = ()

    def accepts(self, result: str) -> bool:
        """Say whether ``result`` has the form."""
        return re.fullmatch(self.form, result) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Operations to be done on each of some documents, given by name."""

    job_id: str
    operations: Mapping[str, Operation]
    documents: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One model call, whatever the library that makes it."""

    role: str
    plan_id: str
    mode: str
    prompt: str
    output_tokens_max: int

    @property
    def headers(self) -> dict[str, str]:
        """What the gateway should know beside the prompt."""
        return {
            f"{HEADER}role": self.role,
            f"{HEADER}mode": self.mode,
            f"{HEADER}plan": self.plan_id,
            f"{HEADER}session": self.plan_id,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back: the text, and what the gateway's headers say of how it came about."""

    text: str
    tier: str | None = None
    cost_usd: float | None = None
    failed: bool = False  # it is the best answer there is, and failed its checks
    escalated: bool = False
    replan: bool = False


def reply_of(text: str, headers: Mapping[str, str]) -> Reply:
    """Read a reply from its text and its HTTP headers, with names in lower case."""
    cost = headers.get(f"{HEADER}cost-usd")
    return Reply(
        text=text.strip(),
        tier=headers.get(f"{HEADER}tier"),
        cost_usd=None if cost is None else float(cost),
        failed=headers.get(f"{HEADER}check") == "fail",
        escalated=f"{HEADER}escalated-from" in headers,
        replan=headers.get(f"{HEADER}replan") == "true",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The order of operations in force, and those that earlier plans had trouble with."""

    plan_id: str
    order: tuple[str, ...]
    careful: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One operation on one document."""

    document: str
    operation: str


@dataclass(kw_only=True, slots=True)
class Record:
    """What a run did: plans in their order, results by step, and every reply."""

    plans: list[Plan] = field(default_factory=list)
    results: dict[Step, str] = field(default_factory=dict)
    unanswered: list[Step] = field(default_factory=list)  # tried, also carefully, without a result
    replies: list[tuple[str, Reply]] = field(default_factory=list)  # role and reply
    troubled: set[str] = field(default_factory=set)

    @property
    def revisions_count(self) -> int:
        """How often the planner was asked again."""
        return max(0, len(self.plans) - 1)

    @property
    def cost_usd(self) -> float:
        """What all replies cost, their failed attempts counted."""
        return sum(reply.cost_usd or 0.0 for _, reply in self.replies)


def planning(job: Job, record: Record) -> Ask:
    """Return the planner's call: the first one, or one that says what gave trouble."""
    troubled = sorted(record.troubled)
    names = [name for name in job.operations if name not in record.troubled] + troubled
    lines = "\n".join(_line(job.operations[name]) for name in names)
    ask = (
        "Plan the work on a document: put the operations into an order in which each one comes "
        "after those it needs. Answer as JSON with the key steps."
    )
    if troubled:
        ask += f" Answers to these failed under the plan before: {', '.join(troubled)}."
    number = len(record.plans) + 1
    return Ask(
        role=PLANNER,
        plan_id=job.job_id if number == 1 else f"{job.job_id}.{number}",
        mode=MODE,
        prompt=f"{ask}\n\n<operations>\n{lines}\n</operations>",
        output_tokens_max=PLAN_TOKENS_MAX,
    )


def _line(operation: Operation) -> str:
    needs = f" needs {', '.join(operation.needs)}" if operation.needs else ""
    return f"- {operation.name}{needs}"


async def pursue(job: Job, ask: Callable[[Ask], Awaitable[Reply]]) -> Record:
    """Do a job and return what was done; whatever ``ask`` raises ends it.

    The planner is asked once, and once more whenever a reply says ``x-tierwise-replan`` or a
    result is not accepted, at most ``REVISIONS_MAX`` times.
    """
    record = Record()
    plan = await revise(job, record, ask)
    while (step := next_step(job, plan, record)) is not None:
        reply = await ask(executing(job, plan, record, step))
        if take(job, plan, record, step=step, reply=reply):
            plan = await revise(job, record, ask)
    return record


async def revise(job: Job, record: Record, ask: Callable[[Ask], Awaitable[Reply]]) -> Plan:
    """Ask the planner, take its reply into the record, and return the plan now in force."""
    asked = planning(job, record)
    reply = await ask(asked)
    record.replies.append((PLANNER, reply))
    record.plans.append(planned(job, record, reply, plan_id=asked.plan_id))
    return record.plans[-1]


def planned(job: Job, record: Record, reply: Reply, *, plan_id: str) -> Plan:
    """Return the plan in ``reply``; the order of declaration when it is not a valid one.

    The last plan that there may be trusts no operation: all that is left is done carefully.
    """
    order = valid_order(job.operations, reply.text)
    last = len(record.plans) == REVISIONS_MAX
    return Plan(
        plan_id=plan_id,
        order=tuple(order or job.operations),
        careful=frozenset(job.operations if last else record.troubled),
    )


def valid_order(operations: Mapping[str, Operation], text: str) -> list[str] | None:
    """Return the order that ``text`` plans; None unless each is there once, after its needs."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    order = value.get("steps") if isinstance(value, dict) else None
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(operations):
        return None
    place = {name: number for number, name in enumerate(order)}
    kept = all(place[n] < place[o.name] for o in operations.values() for n in o.needs)
    return order if kept else None


def next_step(job: Job, plan: Plan, record: Record) -> Step | None:
    """Return the first step of the plan that is still to do."""
    left = (
        Step(document=document, operation=operation)
        for document in job.documents
        for operation in plan.order
    )
    over = {*record.results, *record.unanswered}
    return next((step for step in left if step not in over), None)


def executing(job: Job, plan: Plan, record: Record, step: Step) -> Ask:
    """Return an executor's call: one document, one operation, and the results it builds on."""
    operation = job.operations[step.operation]
    known = {
        name: record.results[Step(document=step.document, operation=name)]
        for name in operation.needs
        if Step(document=step.document, operation=name) in record.results
    }
    facts = "".join(f"\n{name} is {value}." for name, value in known.items())
    ask = (
        f"Give the value of the field '{operation.name}' as it stands. Answer with the value only."
    )
    return Ask(
        role=EXECUTOR,
        plan_id=plan.plan_id,
        mode=CAREFUL if step.operation in plan.careful else MODE,
        prompt=f"{ask}{facts}\n\n<document>\n{job.documents[step.document]}\n</document>",
        output_tokens_max=STEP_TOKENS_MAX,
    )


def take(job: Job, plan: Plan, record: Record, *, step: Step, reply: Reply) -> bool:
    """Take an executor's reply into the record; say whether the plan must be revised now.

    A result counts only when the gateway's checks and the operation's own form accept it. What is
    not accepted stays to be done under the next plan, carefully; what fails there is given up.
    """
    record.replies.append((EXECUTOR, reply))
    good = not reply.failed and job.operations[step.operation].accepts(reply.text)
    if good:
        record.results[step] = reply.text
    if reply.escalated or not good:
        record.troubled.add(step.operation)
    if not good and step.operation in plan.careful:
        record.unanswered.append(step)
        return False
    return (reply.replan or not good) and not record.troubled <= plan.careful


FIELDS: Final[Sequence[Operation]] = (
    Operation(name="invoice_number", form=r"[A-C]\d{5}"),
    Operation(name="purchase_order", form=r"PO-\d{4}", needs=("invoice_number",)),
    Operation(name="vat_id", form=r"[A-Z]{2}\d{9}"),
    Operation(name="iban", form=r"[A-Z]{2}\d{2}( \d{4}){2}", needs=("vat_id",)),
    Operation(name="phone", form=r"\+\d{2} \d{3} \d{5}"),
)


def invoices(job_id: str, documents: Mapping[str, str]) -> Job:
    """Return the job of reading five fields out of each invoice."""
    operations = {operation.name: operation for operation in FIELDS}
    return Job(job_id=job_id, operations=operations, documents=documents)

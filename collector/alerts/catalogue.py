"""Every alert that tierwise can raise: what it means, what to ask first and what to do."""

from dataclasses import dataclass
from typing import Final, Literal

from collector.alerts.states import Patience

Severity = Literal["page", "ticket", "info"]
SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
AT_ONCE: Final = Patience()
TICK_SECONDS_MAX: Final = 10.0  # between two looks at all alerts: they wait for no slow learner


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One alert. ``kind`` says what is known of its errors.

    sequential: a betting detector with a stated run length; exact: a comparison that is true or
    false; always: fires for ever.
    """

    name: str
    severity: Severity
    kind: Literal["sequential", "exact", "always"]
    meaning: str
    question: str
    remedy: str
    patience: Patience = AT_ONCE


def _rules(*rules: Rule) -> dict[str, Rule]:
    return {rule.name: rule for rule in rules}


RULES: Final = _rules(
    Rule(
        name="QualityWarn",
        severity="info",
        kind="sequential",
        meaning="Early evidence that a role's mean quality is under its floor.",
        question="Is one tier or model version behind most of the low scores?",
        remedy="Watch it; nothing moves yet, but the role's graders judge every answer. Read the "
        "example decisions.",
        patience=Patience(keep_steps=5),
    ),
    Rule(
        name="QualityLow",
        severity="page",
        kind="sequential",
        meaning="A role's served, graded steps are under its quality floor on average.",
        question="Did the model, the prompts or the checks change when it began?",
        remedy="The role serves its declared table until this resolves or is acknowledged. "
        "Roll back what changed, or raise the role's tier.",
        patience=Patience(keep_steps=5),
    ),
    Rule(
        name="CostHigh",
        severity="page",
        kind="sequential",
        meaning="A role's cost per task, all attempts counted, is over its baseline by more than "
        "what is put up with.",
        question="Which of the four numbers rose: price, tokens, attempts or tier mix?",
        remedy="Fix that one; or, when it is meant to be so, acknowledge it: the baseline is "
        "taken again.",
        patience=Patience(keep_steps=5),
    ),
    Rule(
        name="SpendPace",
        severity="page",
        kind="exact",
        meaning="Spend runs ahead of the budget on a short and a long window at once; at 3 and 1 "
        "times the budget it is a ticket only.",
        question="Is it more tasks, or dearer ones?",
        remedy="Find the role in `tierwise roles --hours 1`; set a hard limit in [[budgets]].",
        patience=Patience(keep_ns=5 * MINUTE_NS),
    ),
    Rule(
        name="TaskCap",
        severity="ticket",
        kind="exact",
        meaning="One task cost more than one task may.",
        question="Is it a loop?",
        remedy="Stop the agent of that task; set a [[budgets]] limit per task, which refuses.",
        patience=Patience(keep_ns=5 * MINUTE_NS),
    ),
    Rule(
        name="EscalationHigh",
        severity="ticket",
        kind="sequential",
        meaning="More of a role's steps escalate than is put up with.",
        question="Does the lower tier fail its checks, or its provider?",
        remedy="Start the role a tier higher, or mend the check.",
    ),
    Rule(
        name="FeedbackMissing",
        severity="ticket",
        kind="sequential",
        meaning="Too few of a role's steps get a grade in time.",
        question="Did the judge, the checks or the feedback stop?",
        remedy="Mend whoever grades: what is not graded may hide the failures.",
    ),
    Rule(
        name="QualitySignalStale",
        severity="page",
        kind="exact",
        meaning="A role serves steps and none was graded for too long.",
        question="When did the last grade come, and from whom?",
        remedy="Mend whoever grades. Cheaper moves are blocked, and QualityLow does not resolve.",
    ),
    Rule(
        name="FeedbackAnomaly",
        severity="ticket",
        kind="exact",
        meaning="One source sends more feedback in an hour than is plausible.",
        question="Who is that source, and is it authenticated?",
        remedy="Take its key away; its words count once per decision in any case.",
        patience=Patience(keep_ns=5 * MINUTE_NS),
    ),
    Rule(
        name="PropensityMismatch",
        severity="page",
        kind="sequential",
        meaning="Arms were not chosen with the probabilities that were logged.",
        question="Do all gateways run one version and one revision?",
        remedy="Freeze learning: what is estimated from these decisions is wrong.",
    ),
    Rule(
        name="PriceChanged",
        severity="ticket",
        kind="exact",
        meaning="What a model's tokens cost is not what it was.",
        question="Was it meant?",
        remedy="Check [prices]; baselines of cost are taken again by themselves.",
        patience=Patience(keep_ns=60 * MINUTE_NS),
    ),
    Rule(
        name="ModelChanged",
        severity="ticket",
        kind="exact",
        meaning="A provider answers with a model version that was not seen before.",
        question="Did the provider announce it?",
        remedy="Watch QualityWarn of its roles; pin a version that you can name.",
        patience=Patience(keep_ns=60 * MINUTE_NS),
    ),
    Rule(
        name="StoreDegraded",
        severity="page",
        kind="exact",
        meaning="The collector cannot keep or read what it receives.",
        question="Is the disk full?",
        remedy="`GET /readyz` names the reason. Routing goes on; learning and alerts stand still.",
        patience=Patience(for_ns=20 * SECOND_NS, keep_ns=MINUTE_NS),
    ),
    Rule(
        name="TelemetryDropped",
        severity="ticket",
        kind="exact",
        meaning="Spans or log records were not kept.",
        question="Is the queue too short, or is a sender broken?",
        remedy="Look at `tierwise_collector_dropped_total` and `..._rejected_total` by reason.",
        patience=Patience(keep_ns=5 * MINUTE_NS),
    ),
    Rule(
        name="PinExpired",
        severity="ticket",
        kind="exact",
        meaning="A pin is past its end: one of policy.toml still holds, one set at run time does "
        "not.",
        question="Does its owner still want it?",
        remedy="Renew or remove `pin` of the role in policy.toml; `tierwise policy pin` sets one "
        "of run time again. Of the latter it tells for a day.",
    ),
    Rule(
        name="ProviderOutage",
        severity="page",
        kind="exact",
        meaning="At least half of a role's calls to one provider fail.",
        question="What does the provider's status page say?",
        remedy="Name a second model of another provider on the tier. Mutes CostHigh and "
        "QualityLow of the role meanwhile.",
        patience=Patience(for_ns=20 * SECOND_NS, keep_ns=5 * MINUTE_NS),
    ),
    Rule(
        name="Watchdog",
        severity="info",
        kind="always",
        meaning="Alerting works; it always fires.",
        question="None while it arrives.",
        remedy="Let an outside service page when it stops arriving.",
    ),
)

"""Why a stored decision's arm had the probability it had, in words and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from telemetry.records import Reason

CLOSE: Final = 1e-9
_CERTAIN: Final[Mapping[str, str]] = {
    Reason.DECLARED: "no revision decided, so the arm that policy.toml declares was certain",
    Reason.DIALECT: "no revision decided; the declared tier does not speak the step's dialect, so "
    "the nearest one that does was certain",
    Reason.PINNED: "the role is pinned, so its arm was certain; evaluation leaves it out",
    Reason.CALLER_PIN: "the caller named the model, so its arm was certain; evaluation leaves it "
    "out",
    Reason.SESSION: "an earlier step of the session failed its checks or stalled, so the higher "
    "start was certain, whatever was drawn",
    Reason.BUDGET: "a budget was spent, so the cheapest tier was certain, whatever was drawn",
    Reason.FALLBACK: "what was learned could not be used because of a fault (the gateway's log has "
    "it), so the declared arm was certain",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """The reason in words, and the shares it rests on where a revision decided."""

    words: str
    cell: str | None = None  # of the revision, that decided
    shares: Mapping[str, float] = field(default_factory=dict)  # by arm, as the revision has them
    evidence: Mapping[str, float] = field(default_factory=dict)


def why(decision: Mapping[str, Any], revision: Mapping[str, Any] | None) -> Why:
    """Explain a decision, as the store has it, by its revision as the console shows it.

    ``revision`` is None when nobody knows it (any more).
    """
    name = decision.get("revision")
    if name in (None, "declared"):
        return Why(words=_CERTAIN.get(str(decision.get("reason")), "no revision decided"))
    drawn = f"drawn from revision {name}"
    if revision is None:
        return Why(words=f"{drawn}, whose shares are unknown: no collector that has it was asked")
    known: Mapping[str, Mapping[str, float]] = revision.get("shares", {})
    cell = next((found for found in _cells(decision.get("cell")) if found in known), None)
    if cell is None:
        return Why(words=f"{drawn}, which has no shares for cell {decision.get('cell')}")
    shares = known[cell]
    return Why(
        words=f"{drawn}: {_share(decision, shares, cell)}",
        cell=cell,
        shares=shares,
        evidence=revision.get("evidence", {}).get(cell, {}),
    )


def _cells(cell: str | None) -> tuple[str, ...]:
    """Return where a step of ``cell`` is looked up, in this order."""
    role, _, rest = (cell or "").partition("|")
    mode = rest.rpartition("|")[0]
    return (cell or "", f"{role}|{mode}|", f"{role}||")


def _share(decision: Mapping[str, Any], shares: Mapping[str, float], cell: str) -> str:
    arm = f"{decision.get('tier_start')}/{decision.get('on_fail')}"
    given, own = decision.get("propensity"), shares.get(arm, 0.0)
    text = f"its cell {cell} gives {arm} {own:.4g}"
    if cell != decision.get("cell"):
        text += f" (it has none of its own for {decision.get('cell')})"
    if given is None or abs(given - own) <= CLOSE:
        return text
    absent = [name for name in shares if name not in decision.get("offered", ())]
    return (
        f"{text}, and {given:.4g} with what this step was not offered as such "
        f"({', '.join(absent) or 'nothing'}): it counts for the arm that does the same here, "
        "else for the declared one"
    )

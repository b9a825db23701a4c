"""What the learner found of a role, in sentences for people who do not know how it works."""

from collections.abc import Mapping
from typing import Any, Final

_STANDING: Final[Mapping[str, str]] = {
    "proven": "the mix aimed at is proven to hold the floor",
    "unproven": "no cheaper mix is proven to hold the floor yet, so the declared arm serves, less "
    "what exploration tries",
    "short": "no mix is proven to hold the floor, and the declared arm is known to miss it: the "
    "most promising mix serves",
}
_CANARIES: Final[Mapping[str, str]] = {
    "trying": "exploration tries it on {share:.1%} of the steps{end}",
    "stopped": "its trial is over and it is not proven: {share:.1%} of the steps keep it alive "
    "until it is, another version answers, or [learning].canary_labels is raised",
    "serves": "it has come through and serves in the mix aimed at",
    "declared": "the declared arm asks it, so its trial ends nothing",
}
_BLOCKS: Final[Mapping[str, str]] = {
    "mode": 'it is not moved: learn = "observe" only looks',
    "frozen": "it is not moved: somebody froze it (`tierwise policy thaw` ends that)",
    "unsafe": "it is back on its declared arm: its quality alert fires, or the learner's state is "
    "being rebuilt",
    "quality_disarmed": "nothing cheaper is served: its quality alert is not armed (`tierwise "
    "alerts armed` says what it lacks)",
    "cost_disarmed": "nothing dearer than the declared arm is served: its cost alert is not armed "
    "(`tierwise alerts armed` says what it lacks)",
    "dwell": "a cheaper mix has to wait: it moved less than [learning].dwell_seconds ago",
    "step": "the way there is gone in steps of [learning].step_max",
}


def says(entry: Mapping[str, Any]) -> list[str]:
    """Return sentences on one role of the learner's report: where it stands, why, what is missing.

    Without the role's name and without full stops.
    """
    if "idle" in entry:
        return [f"nothing to learn: {entry['idle']}"]
    found = [_STANDING[entry["standing"]]]
    found += [_BLOCKS[block] for block in entry["blocked_by"]]
    if entry["demoted"]:
        tiers = ", ".join(entry["demoted"])
        found.append(f"{tiers} became worse (an alarm) and is only probed until it is proven anew")
    found += _canaries(entry)
    if not entry["labels"]:
        found.append("nobody grades its answers, so nothing cheaper can be proven")
    elif entry["labels_without_proof"]:
        found.append(
            "some who grade its answers showed neither token nor key: their words prove nothing "
            "cheaper"
        )
    found += [*_missing(entry), *_conversations(entry)]
    return found


def _canaries(entry: Mapping[str, Any]) -> list[str]:
    """How far the trial of each new model has come, and what ended it."""
    found = []
    for tier, each in entry["canaries"].items():
        left = each["budget"] - each["labels"]
        end = f", until {left:,.0f} more are spent" if left > 0 else ""
        name = f"{tier} is new" if each["version"] is None else f"{tier} is new ({each['version']})"
        state = _CANARIES[each["state"]].format(share=each["share_aim"], end=end)
        found.append(
            f"{name}: {each['labels']:,.0f} of {each['budget']:,.0f} graded answers are spent on "
            f"it; {state}"
        )
    return found


def _missing(entry: Mapping[str, Any]) -> list[str]:
    """What would certify the cheapest arm, where it is cheaper than what is served."""
    arm = min(entry["arms"], key=lambda arm: float(arm["cost_usd"]))
    if arm["certified"] or not entry["labels"] or arm["cost_usd"] >= entry["cost_usd_now"]:
        return []
    text = (
        f"{arm['arm']}, its cheapest arm, is right in {arm['quality']:.3f} of steps, at least in "
        f"{arm['quality_lower']:.3f}; the floor is {entry['floor']:g}"
    )
    needed, tier = arm["labels_needed"], arm["arm"].partition("/")[0]
    if needed is None:
        return [f"{text}: alone it does not hold that, however many answers are graded"]
    if needed > arm["labels"]:
        more = needed - arm["labels"]
        return [f"{text}: about {more:,.0f} more graded answers that begin at {tier} would show it"]
    return [text]


def _conversations(entry: Mapping[str, Any]) -> list[str]:
    """What keeps conversations where they are, if that outweighs a cheaper arm."""
    talks, now = entry["conversations"], entry["cost_usd_now"]
    if talks is None:
        return []
    kept = [
        arm
        for arm in entry["arms"]
        if arm["cost_usd"] < now <= arm["cost_usd"] + arm["switching_usd"]
    ]
    if not kept:
        return []
    arm = min(kept, key=lambda arm: float(arm["cost_usd"]))
    return [
        f"{talks['continues']:.0%} of its steps go on with a conversation: to move them to "
        f"{arm['arm']} would lose ${arm['switching_usd']:.3g} a step of what their model has "
        f"cached, and save ${now - arm['cost_usd']:.3g}"
    ]

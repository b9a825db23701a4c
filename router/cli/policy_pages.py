"""How revisions, differences and previews look in a terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from router.cli.output import Screen

Plain = dict[str, Any]


def when(at_ns: int | None) -> str:
    """Return a time in UTC to the second; a dash for none."""
    if at_ns is None:
        return "-"
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def show_list(screen: Screen, found: Plain) -> None:
    """Show what is in force, what is held, and a page of revisions."""
    since = f" since {when(found['activated_ns'])}" if found["activated_ns"] else ""
    share = "" if found["rollout"] == 1.0 else f", for {found['rollout']:.0%} of sessions"
    screen.say(f"in force: {found['active']}{since}{share}", style="bold")
    for hold in found["holds"]:
        show_hold(screen, hold)
    if not found["revisions"]:
        screen.say("no revision yet")
        return
    table = _table("revision", "status", "author", "created", "by", "trigger", "remark")
    for one in found["revisions"]:
        remark = f"stale: {one['stale']}" if one["stale"] else one["reason"] or ""
        table.add_row(
            one["id"], one["status"], one["author"], when(one["created_ns"]), one["status_by"],
            one["trigger"], remark,
        )  # fmt: skip
    screen.show(table)


def show_hold(screen: Screen, hold: Plain) -> None:
    """Show one pin or freeze."""
    what = "frozen" if hold["kind"] == "freeze" else f"pinned to {hold['arm']}"
    role = "all roles" if hold["role"] == "*" else hold["role"]
    until = "until thawed" if hold["until_ns"] is None else f"until {when(hold['until_ns'])}"
    screen.say(f"{role}: {what} by {hold['owner']} {until}: {hold['reason']}")


def show_revision(screen: Screen, one: Plain) -> None:
    """Show one revision, whole."""
    screen.say(f"revision {one['id']}: {one['status']}", style="bold")
    screen.say(f"parent {one['parent']}, policy {one['policy_hash']}")
    screen.say(f"by {one['author']} at {when(one['created_ns'])}, trigger: {one['trigger']}")
    if one["status_by"] != one["author"] or one["reason"]:
        reason = f": {one['reason']}" if one["reason"] else ""
        screen.say(f"{one['status']} by {one['status_by']} at {when(one['status_ns'])}{reason}")
    if one["stale"]:
        screen.say(f"stale: {one['stale']}", style="yellow")
    for name, value in sorted(one["note"].items()):
        screen.say(f"  {name}: {value}")
    table = _table("cell", "arm", "share")
    for cell, arms in sorted(one["shares"].items()):
        for arm, share in sorted(arms.items()):
            table.add_row(cell, arm, f"{share:.4f}")
    screen.show(table)
    for cell, facts in sorted(one["evidence"].items()):
        told = ", ".join(f"{name} {value:.6g}" for name, value in sorted(facts.items()))
        screen.say(f"evidence {cell}: {told}")


def show_difference(screen: Screen, found: Plain) -> None:
    """Show what differs between two revisions."""
    screen.say(f"{found['before']} -> {found['after']}", style="bold")
    if not found["cells"]:
        screen.say("no share differs")
        return
    table = _table("cell", "arm", "before", "after", "steps", "usd/step", "quality", "n")
    for cell in found["cells"]:
        for arm in cell["arms"]:
            table.add_row(
                cell["cell"], arm["arm"], f"{arm['before']:.4f}", f"{arm['after']:.4f}",
                str(arm["steps"]), _number(arm["usd_per_step"]), _number(arm["quality"]),
                str(arm["graded"]),
            )  # fmt: skip
    screen.show(table)
    for cell in found["cells"]:
        screen.say(f"{cell['cell']}: {_change(cell)}", style=_warning(cell["inconclusive"]))


def show_preview(screen: Screen, found: Plain) -> None:
    """Show what a revision would do."""
    screen.say(
        f"{found['base']} -> {found['revision']}, over {found['steps']} decisions "
        f"({when(found['from_ns'])} to {when(found['to_ns'])})",
        style="bold",
    )
    usd = found["usd_change"]
    told = "unknown" if usd is None else f"{usd['value']:+.6g} ({_span(usd)})"
    screen.say(f"{found['moves']:.1%} of steps move; dollars {told} on {found['usd_now']:.6g}")
    if found["roles"]:
        table = _table("role", "steps", "moves", "usd/step", "quality (95 %)", "margin", "verdict")
        for role in found["roles"]:
            margin = role["margin"]
            table.add_row(
                role["role"], str(role["steps"]), f"{role['moves']:.1%}",
                _interval(role["usd_change"], sign=True), _interval(role["quality"]),
                "-" if margin is None else f"{margin['value']:+.3f} ({_span(margin)})",
                role["verdict"],
            )  # fmt: skip
        screen.show(table)
    for objection in found["blocked"]:
        screen.say(f"blocks: {objection}", style="yellow")
    if not found["blocked"]:
        screen.say("nothing blocks an approval")


def show_log(screen: Screen, rows: Sequence[Plain]) -> None:
    """Show rows of the audit log."""
    if not rows:
        screen.say("no change of the policy yet")
        return
    table = _table("row", "at", "actor", "action", "subject", "reason", "hash")
    for row in rows:
        table.add_row(
            str(row["sequence"]), when(row["at_ns"]), row["actor"], row["action"], row["subject"],
            row["reason"] or "", row["hash"][:16],
        )  # fmt: skip
    screen.show(table)


def _change(cell: Plain) -> str:
    parts = []
    if cell["usd_change"] is not None:
        parts.append(f"{cell['usd_change']:+.6g} USD per step")
    if cell["quality_change"] is not None:
        span = {"low": cell["quality_low"], "high": cell["quality_high"]}
        bounds = "" if span["low"] is None else f" ({_span(span)})"
        parts.append(f"quality {cell['quality_change']:+.3f}{bounds}")
    if cell["inconclusive"]:
        parts.append(f"INCONCLUSIVE: {cell['graded']} graded steps behind an arm that moves")
    return ", ".join(parts)


def _interval(found: Plain | None, *, sign: bool = False) -> str:
    if found is None:
        return "-"
    value = f"{found['value']:+.4g}" if sign else f"{found['value']:.3f}"
    return f"{value} ({_span(found)})"


def _span(found: Plain) -> str:
    return f"{found['low']:.4g} to {found['high']:.4g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _warning(inconclusive: bool) -> str | None:
    return "yellow" if inconclusive else None


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name)
    return table

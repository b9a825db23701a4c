"""A first policy.toml from what was seen: it declares what runs, and moves the simplest steps."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evals.audit.estimate import Move
from evals.audit.facts import Step
from evals.audit.kinds import Kind
from evals.audit.ladder import TIERS
from evals.audit.report import Report, Row
from evals.audit.wording import share, usd

_HEAD: Final = """\
# A first policy, written by `tierwise audit` from what runs today. Review it like code.
# `tierwise policy lint` checks it; docs/configuration.md explains every key.
schema = 1
"""
_PILOT: Final = """\
# Steps below that start on a cheaper tier than today are the audit's proposals. Grade their
# answers before you trust them: no learning is on, and an answer that fails a check goes up.
"""
_DEFAULT: Final = "default"


def policy_text(report: Report) -> str | None:
    """Return the policy; None when no model in use belongs to a provider with a known ladder."""
    if not any(report.ladder.values()):
        return None
    rows = {row.step: row for row in report.rows}
    moves = {str(move.step): move for move in (*report.estimate.moves, *report.estimate.stays)}
    named = _roles([move.step for move in moves.values()], spend=rows)
    parts = [_HEAD, _ladder(report.ladder), _PILOT]
    parts.append(_default(rows, moves, named.get(_DEFAULT)))
    for name, step in named.items():
        if name != _DEFAULT:
            parts.append(_role(name, moves[str(step)], rows[str(step)]))
    form = next((name for name, step in named.items() if step.kind is Kind.FORM), None)
    if form is not None:
        parts.append(
            "# Steps that ask for a JSON schema and name no role.\n"
            f'[[shapes]]\nrole = "{form}"\nschema = true\n'
        )
    return "\n".join(parts)


def _ladder(models: Mapping[str, Sequence[str]]) -> str:
    names = ", ".join(f'"{tier}"' for tier in TIERS)
    lines = [f"ladder = [{names}]  # tiers, cheapest first", ""]
    for tier in TIERS:
        listed = ", ".join(f'"{model}"' for model in models[tier])
        lines += [f"[tiers.{tier}]", f"models = [{listed}]", ""]
    return "\n".join(lines)


def _roles(steps: Sequence[Step], *, spend: Mapping[str, Row]) -> dict[str, Step]:
    """Return steps by the name that a policy can hold, dearest first; the first keeps a name.

    A kind without a role is only listed where the policy would move it or know it by its shape.
    """
    found: dict[str, Step] = {}
    for step in sorted(steps, key=lambda s: (-spend[str(s)].spend_usd, str(s))):
        if step.inferred and step.kind not in (Kind.SHORT, Kind.FORM):
            continue
        name = slug(step.role if step.role is not None else str(step.kind))
        if name and name not in found and set(spend[str(step)].kinds) != {Kind.EMBEDDING}:
            found[name] = step
    return found


def slug(text: str) -> str:
    """Return a role's name as a policy can hold it; empty when nothing of it can be kept.

    >>> slug("Invoice Extractor"), slug("filled form"), slug("../")
    ('invoice-extractor', 'filled_form', '')
    """
    if text in tuple(Kind):
        text = text.replace(" ", "_")
    kept = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-_.")
    return kept[:64]


def _default(rows: Mapping[str, Row], moves: Mapping[str, Move], step: Step | None) -> str:
    """Return the role of all other steps: it stays where unnamed steps run today."""
    known = [row for row in rows.values() if row.inferred and row.tier in TIERS]
    if step is not None:
        known = [rows[str(step)]]
    tier = max(
        (row.tier for row in known if row.tier is not None),
        key=lambda name: TIERS.index(name) if name in TIERS else -1,
        default=TIERS[-1],
    )
    if tier not in TIERS:
        tier = TIERS[-1]
    return (
        "[roles.default]\n"
        'description = "steps that name no role, or one that is not listed here"\n'
        f'tier = "{tier}"\n'
    )


def _role(name: str, move: Move, row: Row) -> str:
    return "\n".join([*_role_lines(name, move, row), ""])


def _role_lines(name: str, move: Move, row: Row) -> Iterator[str]:
    if move.step.inferred:
        yield f"# No telemetry names this role: let agents send x-tierwise-role: {name}"
    elif move.step.role != name:
        yield f"# In the telemetry it is called {ascii(move.step.role)[:100]}."
    yield f'[roles."{name}"]' if "." in name else f"[roles.{name}]"
    yield f'description = "{_words(row)}"'
    if move.moves:
        yield f'tier = "{move.proposed}"  # today {move.today}: {move.why}'
        yield f'range = ["{move.proposed}", "{move.today}"]  # a failed answer goes up to there'
        checks = ['"not_truncated"']
        if row.kinds.get(Kind.FORM, 0) * 2 > row.calls:
            checks.append('"json_schema"')
        yield f"checks = [{', '.join(checks)}]"
    else:
        tier = move.today if move.today in TIERS else TIERS[-1]
        yield f'tier = "{tier}"  # as today; {move.why}'


def _words(row: Row) -> str:
    spent = f", {usd(row.spend_usd)}" if row.priced else ""
    return f"{row.calls:,} calls{spent}; mechanical by shape: {share(row.mechanical)}"

"""Whether what people ask for fits the policy: its roles, their ranges, who may be moved."""

from collections.abc import Collection

from collector.recent_steps import ACTING
from collector.refusals import Refusal
from learning.arms import ladder_arms
from learning.revision import Revision, parse_arm
from telemetry.nearest import nearest_name
from telemetry.records import OnFail
from telemetry.terms import RoleTerms, Terms


def present(terms: Terms | None) -> Terms:
    """Return the present terms.

    Raises:
        Refusal: the collector knows no policy.
    """
    if terms is None:
        raise Refusal(
            "no_policy", "the collector knows no policy", hint="start it with --policy FILE"
        )
    return terms


def role_in(terms: Terms, role: str, mode: str | None = None) -> RoleTerms:
    """Return what holds for a role.

    Raises:
        Refusal: the policy has no such role.
    """
    found = terms.of(role, mode)
    if found is None:
        known = sorted({one.role for one in terms.roles})
        raise Refusal(
            "invalid_field",
            f"the policy has no role {role[:100]!r}",
            hint=f"its roles: {', '.join(known)}{nearest_name(role, known)}",
        )
    return found


def refuse_unknown(role: str | None, terms: Terms | None, *, seen: Collection[str] = ()) -> None:
    """Return if ``role`` may be asked about: nobody, one of the policy's or one that was ``seen``.

    Raises:
        Refusal: it is none of them.
    """
    if role is not None and terms is not None and role not in seen:
        role_in(terms, role)


def refuse_unfit(revision: Revision, terms: Terms) -> None:
    """Return if every cell is one that a revision moves, and every arm is in its range.

    Raises:
        Refusal: naming the first that is not.
    """
    for cell, arms in revision.shares.items():
        role, mode, _ = cell.split("|", 2)
        found = role_in(terms, role, mode or None)
        if found.learn not in ACTING:
            raise Refusal(
                "invalid_field",
                f"role {role!r} has learn = {found.learn!r}: no revision moves it",
                hint="set learn to propose or bounded in policy.toml",
            )
        allowed = {str(arm) for arm in ladder_arms(found.tiers).arms}
        if unknown := sorted(set(arms) - allowed):
            raise Refusal(
                "invalid_field",
                f"{cell}: {unknown[0]} is no arm of the role's range",
                hint=f"its arms: {', '.join(sorted(allowed))}",
            )


def arm_named(text: str, terms: RoleTerms) -> str:
    """Return the simplest arm of the role's range that does what ``text`` names.

    ``text`` is tier/on_fail, or a tier: then a failed check does what the declared table says.

    Raises:
        Refusal: it names no arm of the range.
    """
    tier, _, on_fail = text.partition("/")
    if tier not in terms.tiers:
        raise Refusal(
            "invalid_field",
            f"tier {tier[:100]!r} is not in the range of role {terms.role!r}",
            hint=f"its tiers: {', '.join(terms.tiers)}{nearest_name(tier, terms.tiers)}",
        )
    try:
        arm = parse_arm(f"{tier}/{on_fail or terms.declared.on_fail}")
    except ValueError as error:
        raise Refusal(
            "invalid_field",
            f"{on_fail[:100]!r} is not what a failed check may do",
            hint=f"one of {', '.join(OnFail)}",
        ) from error
    arms = ladder_arms(terms.tiers)
    return str(arms.arms[arms.index_of(arm)])

"""What the drift report finds: numbers of two spans of time, and one plain sentence each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from learning.shifts import EXPECTED_MIN, SAMPLE_MIN, Sample, g_test, mean_shift, psi

# changed: more than chance. noted: a fact to look at, without a test. steady: within chance.
Status = Literal["changed", "noted", "steady", "too_few"]

P_CHANGED: Final = 0.001  # many comparisons are made at once
PARTS_MAX: Final = 6  # shares named in a sentence


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing looked at in one role; ``n_before`` and ``n_now`` are what it rests on."""

    check: str
    status: Status
    n_before: int
    n_now: int
    sentence: str
    p_value: float | None = None
    psi: float | None = None
    before: Mapping[str, float | None] = field(default_factory=dict)
    now: Mapping[str, float | None] = field(default_factory=dict)


def mix(check: str, what: str, before: Mapping[str, float], now: Mapping[str, float]) -> Finding:
    """Compare shares by a G-test; ``what`` is what they are shares of."""
    keys = sorted(set(before) | set(now), key=lambda key: -(before.get(key, 0) + now.get(key, 0)))
    a, b = [before.get(key, 0.0) for key in keys], [now.get(key, 0.0) for key in keys]
    n_before, n_now = int(sum(a)), int(sum(b))
    p = g_test(a, b)
    first, second = _shares(keys, a), _shares(keys, b)
    if p is None:
        sentence = (
            f"{what}: n too small ({n_before} before, {n_now} now; each share needs about "
            f"{EXPECTED_MIN:g} on both sides)."
        )
    else:
        moved = ", ".join(
            f"{key} {_percent(first[key])} -> {_percent(second[key])}" for key in keys[:PARTS_MAX]
        )
        sentence = f"{what} {_verdict(p)}: {moved} (n {n_before} and {n_now})."
    return Finding(
        check=check, status=_status(p), n_before=n_before, n_now=n_now, sentence=sentence,
        p_value=p, psi=psi(a, b), before=first, now=second,
    )  # fmt: skip


def rate(check: str, what: str, before: tuple[int, int], now: tuple[int, int]) -> Finding:
    """Compare how often something happened, (times, of how many) on both sides, by a G-test."""
    (hits_before, n_before), (hits_now, n_now) = before, now
    p = g_test(
        [float(hits_before), float(n_before - hits_before)],
        [float(hits_now), float(n_now - hits_now)],
    )
    first, second = _ratio(hits_before, n_before), _ratio(hits_now, n_now)
    if p is None:
        sentence = f"{what}: n too small ({n_before} before, {n_now} now)."
    else:
        sentence = (
            f"{what} {_verdict(p)}: {_percent(first)} -> {_percent(second)} "
            f"(n {n_before} and {n_now})."
        )
    return Finding(
        check=check, status=_status(p), n_before=n_before, n_now=n_now, sentence=sentence,
        p_value=p, before={"rate": first}, now={"rate": second},
    )  # fmt: skip


def mean(check: str, what: str, before: Sample, now: Sample, *, unit: str = "") -> Finding:
    """Compare two means."""
    p = mean_shift(before, now)
    first = before.mean if before.n else None
    second = now.mean if now.n else None
    if p is None:
        sentence = (
            f"{what}: n too small ({before.n} before, {now.n} now; {SAMPLE_MIN} are needed on "
            "both sides)."
        )
    else:
        sentence = (
            f"{what} {_verdict(p)}: {unit}{before.mean:.4g} -> {unit}{now.mean:.4g}"
            f"{_change(before.mean, now.mean)} (n {before.n} and {now.n})."
        )
    return Finding(
        check=check, status=_status(p), n_before=before.n, n_now=now.n, sentence=sentence,
        p_value=p, before={"mean": first}, now={"mean": second},
    )  # fmt: skip


def sizes(
    check: str, what: str, before: tuple[float, int], now: tuple[float, int], *, notable: float
) -> Finding:
    """Describe (total, n) on both sides where no variance is known, so nothing can be tested.

    A change of the mean by more than the share ``notable`` is noted.
    """
    first, second = _ratio(*before), _ratio(*now)
    n_before, n_now = before[1], now[1]
    if first is None or second is None or min(n_before, n_now) < SAMPLE_MIN:
        status: Status = "too_few"
        sentence = f"{what}: n too small ({n_before} before, {n_now} now)."
    else:
        far = first > 0 and abs(second / first - 1) > notable
        status = "noted" if far else "steady"
        sentence = (
            f"{what}: {first:.4g} -> {second:.4g}{_change(first, second)} "
            f"(n {n_before} and {n_now}; described, not tested)."
        )
    return Finding(
        check=check, status=status, n_before=n_before, n_now=n_now, sentence=sentence,
        before={"mean": first}, now={"mean": second},
    )  # fmt: skip


def _status(p: float | None) -> Status:
    if p is None:
        return "too_few"
    return "changed" if p < P_CHANGED else "steady"


def _verdict(p: float) -> str:
    if p >= P_CHANGED:
        return f"did not change by more than chance (p = {p:.2g})"
    return f"changed (p = {p:.1g})" if p >= 1e-12 else "changed (p < 1e-12)"


def _shares(keys: Sequence[str], counts: Sequence[float]) -> dict[str, float | None]:
    total = sum(counts)
    return {key: count / total if total else None for key, count in zip(keys, counts, strict=True)}


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def _change(first: float, second: float) -> str:
    return f" ({second / first - 1:+.0%})" if first else ""

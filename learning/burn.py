"""Spending against a budget: how fast, over which windows, and where the month will end.

Burn is spend in a window over what the budget plans for it. An alert needs a long window, which
says that it matters, and a short one of a twelfth, which says that it still goes on. The factors
spend 2 % of a 30-day budget in an hour, 5 % in six, 10 % in a day and in three.
Burn rates of a *share* end at 1 / (1 - target), so they never page for a quality floor under
0.93; of money they have no ceiling, which is why only spend is paced.
Source: the SRE workbook's multi-window alerts, as sloth's google-30d windows hold them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A pair of windows in minutes, and the burn that both must reach."""

    factor: float
    long: int
    short: int
    pages: bool


WINDOWS = (
    Window(factor=14.4, long=60, short=5, pages=True),
    Window(factor=6.0, long=360, short=30, pages=True),
    Window(factor=3.0, long=1_440, short=120, pages=False),
    Window(factor=1.0, long=4_320, short=360, pages=False),
)
LONGEST = 4_320  # minutes


@dataclass(frozen=True, kw_only=True, slots=True)
class Burn:
    """Burn over both windows of a pair, in budgets: 1 is as planned."""

    window: Window
    long: float
    short: float

    @property
    def over(self) -> bool:
        return min(self.long, self.short) >= self.window.factor


def burns(spent: Mapping[int, float], *, now: int, usd_per_day: float) -> tuple[Burn, ...]:
    """Return the burn over each pair of windows.

    ``spent`` is USD by minute, ``now`` the minute that has just begun or passed; minutes without
    spend may be absent. Before the first spend a window counts as unspent, so a young history can
    only understate.

    >>> [burn.over for burn in burns({99: 100.0}, now=100, usd_per_day=160.0)]
    [True, False, False, False]
    """
    made = []
    for window in WINDOWS:
        rates = [
            sum(usd for minute, usd in spent.items() if now - length < minute <= now)
            / (usd_per_day * length / 1_440)
            for length in (window.long, window.short)
        ]
        made.append(Burn(window=window, long=rates[0], short=rates[1]))
    return tuple(made)


def reached_after(before: float, after: float) -> float | None:
    """Return minutes until some pair of windows is over, when burn jumps from ``before``.

    Both are steady, in budgets; ``before`` must have lasted for the longest window. None: never.

    >>> [reached_after(0.5, after) for after in (0.9, 2.0, 50.0)]
    [None, 1440.0, 16.848484848484848]
    """
    found = [
        max(
            length * max(window.factor - before, 0.0) / (after - before)
            for length in (window.long, window.short)
        )
        for window in WINDOWS
        if after >= window.factor and after > before
    ]
    return min(found, default=None)


def month_end(*, spent_usd: float, recent_usd_per_day: float, days_left: float) -> float:
    """Return USD at the end of the month if the recent pace goes on.

    >>> month_end(spent_usd=100.0, recent_usd_per_day=10.0, days_left=20.0)
    300.0
    """
    return spent_usd + recent_usd_per_day * days_left


def planned_share(windows: Sequence[Window] = WINDOWS) -> tuple[float, ...]:
    """Return which share of 30 days' budget is gone when each long window alarms.

    >>> [round(share, 3) for share in planned_share()]
    [0.02, 0.05, 0.1, 0.1]
    """
    return tuple(window.factor * window.long / (30 * 1_440) for window in windows)

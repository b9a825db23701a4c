"""What one sequential detector carries from tick to tick, as one row of the desk."""

from copy import copy

import msgspec

from collector.desk import Desk, Transaction
from learning.edetector import WEALTH_MAX, EDetector, bets

EXAMPLES_MAX = 5
TIMES_MAX = 1_000
DATING_BET = 1.0  # of the sum that dates a change


class Baseline(msgspec.Struct, kw_only=True):
    """What a task cost in the first tasks under the same terms; None until there were enough."""

    costs: list[float] = []
    from_ns: int = 0
    to_ns: int = 0
    mean: float | None = None  # USD per task, each counted up to ``clip``
    clip: float | None = None  # USD, the 99th percentile
    # role's tier -> (calls, tokens, USD); what the rise of cost is explained with
    tiers: dict[str, tuple[float, float, float]] = {}
    tasks: float = 0.0


class Watched(msgspec.Struct, kw_only=True):
    """One detector: its evidence, what it has seen and since when it grows."""

    epoch: str = ""
    limit_min: float = 0.0  # of the outcomes' limits; over several roles they differ
    limit_max: float = 0.0
    wealth: tuple[float, ...] = ()
    back: tuple[float, ...] = ()  # the same bets the other way, while alarmed
    alarmed: bool = False
    seen: int = 0  # outcomes in this epoch
    total: int = 0  # outcomes ever; what "for n steps" counts by
    # The likeliest moment of the change is where this running product was last at its start.
    dating: float = 1.0
    since_ns: int = 0
    since_seen: int = 0
    since_bad: float = 0.0
    examples: list[str] = []  # ids of the worst outcomes since then
    times_ns: list[int] = []  # of the last outcomes, as many as it takes to be armed
    baseline: Baseline | None = None
    arms: dict[str, float] = {}  # PropensityMismatch: how often each was drawn
    # QualityLow: times of the last step and of the last grade, and the steps since that grade
    step_ns: int = 0
    graded_ns: int = 0
    ungraded: int = 0
    rate: float | None = None  # QualityLow: chance to be judged that graders logged last

    @property
    def evidence(self) -> float:
        """The e-value that is compared with the threshold; 0 before the first outcome."""
        return sum(self.wealth) / len(self.wealth) if self.wealth else 0.0

    def start(self, epoch: str) -> None:
        """Begin again under other terms; an alarm stays one until outcomes prove otherwise."""
        self.epoch = epoch
        self.wealth, self.back = (), ()
        self.seen = self.since_seen = 0
        self.since_bad, self.since_ns, self.dating = 0.0, 0, 1.0
        self.examples, self.baseline, self.arms = [], None, {}
        self.rate = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One closed step or task, as a detector sees it."""

    id: str
    at_ns: int
    bad: float  # 0..1
    limit: float  # 0..1: what its mean may be
    weight: float = 1.0


class Struck:
    """Detectors that alarmed within one tick, as they stood then: some are calm again at its end.

    At the first tick over a store everything is long past, so nothing strikes.
    """

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._then: dict[tuple[str, str], Watched] = {}

    def note(self, name: str, role: str | None, watched: Watched) -> None:
        """Keep the detector as it stands; the first alarm of a tick is the one that is told."""
        if self._counts:
            self._then.setdefault((name, role or ""), copy(watched))

    def of(self, name: str, role: str | None) -> Watched | None:
        """Return the detector as it alarmed in this tick, or None."""
        return self._then.get((name, role or ""))


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """When it alarms, when it gives the all-clear, and how many times it keeps."""

    arl: float
    recovery: float
    times: int


def see(watched: Watched, outcome: Outcome, thresholds: Thresholds) -> bool:
    """Take one outcome in and say whether it raised the alarm; a later one may end it."""
    grid = bets(watched.limit_max)
    detector = EDetector(bets=grid, wealth=watched.wealth)
    detector = detector.see(outcome.bad, limit=outcome.limit, weight=outcome.weight)
    watched.wealth = detector.wealth
    watched.seen += 1
    watched.total += 1
    watched.times_ns = [*watched.times_ns, outcome.at_ns][-min(thresholds.times, TIMES_MAX) :]
    _remember(watched, outcome)
    if watched.alarmed:
        _hope(watched, outcome, thresholds)
    elif watched.evidence >= thresholds.arl:
        watched.alarmed, watched.back = True, ()
        return True
    return False


def _remember(watched: Watched, outcome: Outcome) -> None:
    bet = min(DATING_BET, max(bets(watched.limit_max)))
    factor = 1.0 + bet * outcome.weight * (outcome.bad - outcome.limit)
    watched.dating = min(max(watched.dating, 1.0) * factor, WEALTH_MAX)
    if watched.dating <= 1.0 and not watched.alarmed:
        watched.since_ns, watched.since_seen, watched.since_bad = 0, 0, 0.0
        watched.examples = []
        return
    watched.since_ns = watched.since_ns or outcome.at_ns
    watched.since_seen += 1
    watched.since_bad += outcome.bad
    if outcome.bad > outcome.limit:
        watched.examples = [*watched.examples, outcome.id][-EXAMPLES_MAX:]


def _hope(watched: Watched, outcome: Outcome, thresholds: Thresholds) -> None:
    """Bet that the mean is within its limit again; the all-clear has a run length too."""
    grid = bets(1.0 - watched.limit_min)
    back = EDetector(bets=grid, wealth=watched.back)
    back = back.see(1.0 - outcome.bad, limit=1.0 - outcome.limit, weight=outcome.weight)
    watched.back = back.wealth
    if back.evidence >= thresholds.recovery:
        clear(watched)


def clear(watched: Watched) -> None:
    """End the alarm and begin again, with what was learned of costs."""
    watched.alarmed = False
    watched.wealth, watched.back = (), ()
    watched.since_ns, watched.since_seen, watched.since_bad = 0, 0, 0.0
    watched.dating, watched.examples = 1.0, []


def one(desk: Desk | Transaction, name: str, role: str) -> Watched | None:
    """Return one detector, or None while it has seen nothing."""
    row = desk.row(
        "SELECT state FROM detectors WHERE name = $name AND role = $role",
        {"name": name, "role": role},
    )
    return None if row is None else msgspec.json.decode(row["state"], type=Watched)

"""What a judge is worth: its verdicts against those of people, on answers whose grade is known.

*Sensitivity* is the share of good answers that it passes, *specificity* the share of bad ones that
it fails. A judge that always passes has a sensitivity of 1 and is worth nothing: only both together
say something. *Kappa* is agreement beyond what chance would give (Cohen 1960).

Its biases: by *length*, how much oftener it passes bad answers of the longer half than of the
shorter; by *position*, how often it prefers what stands first when a good and a bad answer to one
question are shown in both orders.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from pydantic import Field, JsonValue, ValidationError

from evals.answers import Answer, Finish
from evals.judge import LlmJudge
from evals.steps import Step, read_step
from evals.suite import ndjson
from evals.suite_stats import RESAMPLES, Difference, Share, wilson
from telemetry.configfile import Section
from telemetry.errors import CheckCrashed, ConfigError
from telemetry.records import Dialect, Result

GOLD_MAX: Final = 5_000
KIND_MIN: Final = 20  # good and bad answers each, before anything is said
KAPPA_MIN: Final = 0.4  # of the interval's lower end; less is slight agreement at best
SILENT_MAX: Final = 0.2  # share of answers without a verdict
PAIRS_MAX: Final = 100
SEED: Final = 7
ROLE: Final = "gold"


class GoldConfig(Section):
    """One graded answer."""

    id: str | None = Field(None, max_length=200)
    question: str | None = Field(None, max_length=1_000_000)
    request: dict[str, JsonValue] | None = None  # a chat body, in place of the question
    answer: str = Field(max_length=1_000_000)
    label: Literal["pass", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gold:
    """One graded answer, ready to be judged."""

    question: str  # what tells questions apart
    answer: Answer
    good: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the judge said of one answer; None: nothing."""

    good: bool
    said: bool | None
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordered:
    """What it preferred when a good and a bad answer stood in one order, and in the other."""

    good_first: int | None  # 1 or 2; None: neither
    bad_first: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """A judge, measured."""

    answers: int
    silent: int  # without a verdict: unsure, late, or in no form
    agreement: Share
    sensitivity: Share
    specificity: Share
    kappa: Difference | None
    length_bias: Difference | None
    position_first: Share  # it chose what stood first; one half without bias
    position_consistent: Share  # the same answer in both orders
    preferred_good: Share
    spent_usd: float
    unpriced: int
    usable: bool
    reasons: tuple[str, ...]  # why it is not

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def load_gold(path: Path) -> list[Gold]:
    """Return graded answers from NDJSON.

    Raises:
        ConfigError: naming the line, and what is wrong with it.
    """
    found = []
    for number, record in ndjson(path):
        where = f"{path.name}:{number}"
        try:
            line = GoldConfig.model_validate(record)
        except ValidationError as error:
            fault = error.errors()[0]
            raise ConfigError(
                f"{where}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}",
                hint=f"keys: {', '.join(GoldConfig.model_fields)}; label is pass or fail",
            ) from error
        if (line.question is None) == (line.request is None):
            raise ConfigError(f"{where}: give one of question and request")
        found.append(_gold(line))
    if not found:
        raise ConfigError(f"{path.name}: no graded answer", hint="one JSON object a line")
    if len(found) > GOLD_MAX:
        raise ConfigError(f"{path.name}: over {GOLD_MAX} answers", hint="take a sample")
    return found


def _gold(line: GoldConfig) -> Gold:
    request = line.request or {"messages": [{"role": "user", "content": line.question}]}
    body = json.dumps(request).encode()
    step = read_step(body, role=ROLE, dialect=Dialect.CHAT)
    return Gold(
        question=step.text,
        answer=Answer(step=step, text=line.answer, finish=Finish.COMPLETE),
        good=line.label == "pass",
    )


async def measure(
    judge: LlmJudge,
    gold: Sequence[Gold],
    *,
    usd_max: float,
    progress: Callable[[], None] = lambda: None,
) -> Worth:
    """Ask ``judge`` about every answer, and about pairs in both orders, for at most ``usd_max``."""
    judged = await _in_turn(judge, [_one(judge, item) for item in gold], usd_max, progress)
    pairs = pairs_of(gold)
    ordered = await _in_turn(judge, [_both(judge, *pair) for pair in pairs], usd_max, progress)
    return worth(judged, ordered, spent_usd=judge.spent_usd, unpriced=judge.unpriced)


def pairs_of(gold: Sequence[Gold]) -> list[tuple[Gold, Gold]]:
    """Return a (good, bad) pair of answers for each question that has both."""
    kinds: dict[str, dict[bool, Gold]] = defaultdict(dict)
    for item in gold:
        kinds[item.question].setdefault(item.good, item)
    return [(found[True], found[False]) for found in kinds.values() if len(found) == 2][:PAIRS_MAX]


async def _in_turn(
    judge: LlmJudge, asks: Sequence[Any], usd_max: float, progress: Callable[[], None]
) -> list[Any]:
    """Await ``asks`` a few at a time, until the dollars are spent."""
    found: list[Any] = []
    size = judge.parameters.running_max
    for start in range(0, len(asks), size):
        part = asks[start : start + size]
        if judge.spent_usd >= usd_max:
            for ask in asks[start:]:
                ask.close()
            break
        found += await asyncio.gather(*part)
        for _ in part:
            progress()
    return found


async def _one(judge: LlmJudge, item: Gold) -> Judged:
    said: bool | None = None
    try:
        verdict = await judge.ask(item.answer)
        said = None if verdict.result is Result.ABSTAIN else verdict.result is Result.PASS
    except CheckCrashed:
        said = None
    return Judged(good=item.good, said=said, length=len(item.answer.text))


async def _both(judge: LlmJudge, good: Gold, bad: Gold) -> Ordered:
    step: Step = good.answer.step

    async def order(first: Gold, second: Gold) -> int | None:
        try:
            return await judge.prefer(step, first.answer.text, second.answer.text)
        except CheckCrashed:
            return None

    return Ordered(good_first=await order(good, bad), bad_first=await order(bad, good))


def worth(
    judged: Sequence[Judged], ordered: Sequence[Ordered], *, spent_usd: float, unpriced: int
) -> Worth:
    """Return what the verdicts say of the judge."""
    said = [item for item in judged if item.said is not None]
    good = [item for item in said if item.good]
    bad = [item for item in said if not item.good]
    sensitivity = wilson(sum(bool(item.said) for item in good), len(good))
    specificity = wilson(sum(not item.said for item in bad), len(bad))
    kappa_found = _kappa_interval(said)
    silent = len(judged) - len(said)
    reasons = _reasons(sensitivity, specificity, kappa_found, silent / max(len(judged), 1))
    choices = [one for pair in ordered for one in (pair.good_first, pair.bad_first) if one]
    decided = [pair for pair in ordered if pair.good_first and pair.bad_first]
    preferred = sum(pair.good_first == 1 for pair in ordered if pair.good_first)
    preferred += sum(pair.bad_first == 2 for pair in ordered if pair.bad_first)
    return Worth(
        answers=len(judged),
        silent=silent,
        agreement=wilson(sum(item.said == item.good for item in said), len(said)),
        sensitivity=sensitivity,
        specificity=specificity,
        kappa=kappa_found,
        length_bias=_length_bias(bad),
        position_first=wilson(sum(one == 1 for one in choices), len(choices)),
        position_consistent=wilson(
            sum(pair.good_first != pair.bad_first for pair in decided), len(decided)
        ),
        preferred_good=wilson(preferred, len(choices)),
        spent_usd=spent_usd,
        unpriced=unpriced,
        usable=not reasons,
        reasons=reasons,
    )


def kappa(said: Sequence[Judged]) -> float | None:
    """Return Cohen's kappa; None where either side says the same of every answer.

    Of 4 answers, 3 in agreement, one half passed by each: (0.75 - 0.5) / (1 - 0.5).

    >>> kappa([Judged(good=g, said=s, length=1) for g, s in ((1, 1), (1, 0), (0, 0), (0, 0))])
    0.5
    """
    if not said:
        return None
    n = len(said)
    agreed = sum(bool(item.said) == bool(item.good) for item in said) / n
    good, passed = (sum(bool(x) for x in side) / n for side in _sides(said))
    chance = good * passed + (1 - good) * (1 - passed)
    return None if chance == 1.0 else (agreed - chance) / (1 - chance)


def _sides(said: Sequence[Judged]) -> tuple[list[bool], list[bool]]:
    return [bool(item.good) for item in said], [bool(item.said) for item in said]


def _kappa_interval(said: Sequence[Judged]) -> Difference | None:
    """Return kappa with a bootstrap interval; a resample without both kinds counts as 0."""
    mean = kappa(said)
    if mean is None or len(said) < 2:
        return None
    rng = random.Random(SEED)  # noqa: S311 - resampling
    found = sorted(kappa(rng.choices(said, k=len(said))) or 0.0 for _ in range(RESAMPLES))
    return Difference(
        n=len(said),
        mean=mean,
        low=found[int(0.025 * RESAMPLES)],
        high=found[int(0.975 * RESAMPLES) - 1],
    )


def _length_bias(bad: Sequence[Judged]) -> Difference | None:
    """Return how much oftener bad answers of the longer half pass (Newcombe 1998, hybrid)."""
    if len(bad) < 2:
        return None
    middle = median(item.length for item in bad)
    longer = [bool(item.said) for item in bad if item.length > middle]
    shorter = [bool(item.said) for item in bad if item.length <= middle]
    if not longer or not shorter:
        return None
    one, two = wilson(sum(longer), len(longer)), wilson(sum(shorter), len(shorter))
    p, q = one.share or 0.0, two.share or 0.0
    low1, high1, low2, high2 = (x or 0.0 for x in (one.low, one.high, two.low, two.high))
    return Difference(
        n=len(bad),
        mean=p - q,
        low=p - q - ((p - low1) ** 2 + (high2 - q) ** 2) ** 0.5,
        high=p - q + ((high1 - p) ** 2 + (q - low2) ** 2) ** 0.5,
    )


def _reasons(
    sensitivity: Share, specificity: Share, found: Difference | None, silent: float
) -> tuple[str, ...]:
    """Return why the judge may not be relied on; nothing when it may."""
    reasons = []
    for share, kind in ((sensitivity, "good"), (specificity, "bad")):
        if share.n < KIND_MIN:
            reasons.append(f"{share.n} {kind} answers were judged; {KIND_MIN} are needed")
    if specificity.n and not specificity.hits:
        reasons.append("it always passes: not one bad answer was failed")
    if sensitivity.n and not sensitivity.hits:
        reasons.append("it always fails: not one good answer was passed")
    if (sensitivity.low or 0.0) + (specificity.low or 0.0) <= 1.0:
        reasons.append("sensitivity and specificity together may be no better than a coin's")
    if found is None or found.low < KAPPA_MIN:
        reasons.append(f"kappa may be under {KAPPA_MIN:g}: agreement may be little over chance")
    if silent > SILENT_MAX:
        reasons.append(f"no verdict on {silent * 100:.0f} % of the answers")
    return tuple(reasons)

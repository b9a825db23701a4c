"""The report as headed sections of sentences and tables, ready for any renderer."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.audit.estimate import Move
from evals.audit.kinds import MEANINGS as KINDS
from evals.audit.kinds import MECHANICAL
from evals.audit.report import Report
from evals.audit.texts import MEANINGS as WAYS
from evals.audit.wording import count, share, short, usd

ROWS_MAX = 30  # of a table; JSON has them all
MODELS_MAX = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading, sentences, perhaps a table, and notes beneath it."""

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    words: int = 1  # leading columns that are words; the others are numbers


def sections(report: Report) -> list[Section]:
    """Return the sections that have something to say, in reading order."""
    if not report.calls:
        return [
            Section(title="Nothing to audit", lines=("No model call was found.",)),
            _reading(report),
        ]
    return [
        _verdict(report),
        _steps(report),
        *_growth(report),
        _mechanical(report),
        _code(report),
        _repeats(report),
        _policy(report),
        _reading(report),
    ]


def _verdict(report: Report) -> Section:
    facts, estimate, worth = report.facts, report.estimate, report.worth
    money = (
        "what they cost is unknown"
        if not estimate.priced_calls
        else (
            f"{usd(report.spend_usd)}, known for {share(estimate.priced_calls)} of the calls and "
            f"{share(estimate.priced_tokens)} of the tokens"
        )
    )
    lines = [
        f"{count(report.calls, 'model call')} in {count(facts.tasks, 'task')}"
        f"{_stretch(facts.days)}: {money}.",
        f"Is routing worth it? {str(worth.word).capitalize()}: {worth.because}.",
    ]
    notes = list(worth.arithmetic)
    if abs(facts.weighted_calls - report.calls) > 0.5:
        notes.append(
            f"senders sampled: these calls stand for about {facts.weighted_calls:,.0f}; all sums "
            "here are of the calls themselves"
        )
    return Section(title="In short", lines=tuple(lines), notes=tuple(notes))


def _steps(report: Report) -> Section:
    rows = [
        (
            short(row.step),
            row.tier or "-",
            _models(row.models),
            f"{row.calls:,}",
            count(row.input_tokens),
            count(row.output_tokens),
            count(row.cache_read_tokens),
            usd(row.spend_usd) if row.priced else "-",
            share(row.share) if row.priced else "-",
            share(row.mechanical),
            "-" if row.quality is None else f"{row.quality:.2f} ({row.graded:,})",
        )
        for row in report.rows
    ]
    notes = []
    if any(row.inferred for row in report.rows):
        notes.append(
            "Steps in brackets have no role in the telemetry; they are kinds, guessed from the "
            "shape of each call: "
            + "; ".join(
                f"{kind}: {meaning}"
                for kind, meaning in KINDS.items()
                if any(row.step == f"({kind})" for row in report.rows)
            )
            + "."
        )
    if any(0 < row.priced < 1 for row in report.rows):
        notes.append("Where a step has calls without a known price, its spend leaves them out.")
    return _table(
        "Steps",
        ("step", "tier", "models", "calls", "tokens in", "out", "cached", "spend",
         "share", "mechanical", "quality (n)"),
        rows, words=3, notes=notes,
    )  # fmt: skip


def _growth(report: Report) -> list[Section]:
    rows = [
        (
            short(row.step),
            f"{row.growth.tasks:,}",
            f"{row.growth.turns / row.growth.tasks:,.1f}",
            f"{row.growth.first_tokens:,.0f}",
            f"{row.growth.last_tokens:,.0f}",
            f"{row.growth.per_turn_tokens:+,.0f}",
        )
        for row in report.rows
        if row.growth is not None
    ]
    if not rows:
        return []
    return [
        _table(
            "Growth of context",
            ("step", "tasks", "turns a task", "first input", "last input", "tokens a turn"),
            rows,
            notes=["Tasks with more than one turn of the step; a task is a conversation, else a "
                   "trace."],
        )
    ]  # fmt: skip


def _mechanical(report: Report) -> Section:
    title = "Mechanical work on a frontier model"
    meaning = "; ".join(f"{kind}: {KINDS[kind]}" for kind in sorted(MECHANICAL))
    if not report.mechanical:
        return Section(title=title, lines=(f"None found ({meaning}).",))
    spend = sum(found.spend_usd or 0.0 for found in report.mechanical)
    part = spend / report.spend_usd if report.spend_usd else None
    told = f"{usd(spend)}, {share(part)} of all known spend." if spend else "Its cost is unknown."
    rows = [
        (short(x.step), x.kind, _models(x.models), f"{x.calls:,}", usd(x.spend_usd))
        for x in report.mechanical
    ]
    return _table(
        title, ("step", "kind", "models", "calls", "spend"), rows, words=3,
        lines=[told],
        notes=[f"By shape alone ({meaning}); a short answer can be a hard one."],
    )  # fmt: skip


def _code(report: Report) -> Section:
    title = "Answers that need no model"
    if not report.texts:
        return Section(title=title, lines=(UNSEEN,))
    seen = f"{report.texts:,} of {report.calls:,} calls show their text."
    if not report.code_steps:
        return Section(title=title, lines=(f"None found. {seen}",))
    rows = [
        (
            short(x.step), x.found.way, "write a function" if x.whole else "too few to say",
            f"{x.found.calls:,}", share(x.share), f"{x.found.answers:,}",
            usd(x.found.usd),
        )
        for x in report.code_steps
    ]  # fmt: skip
    ways = sorted({x.found.way for x in report.code_steps})
    return _table(
        title,
        ("step", "way", "so", "calls", "of its calls", "answers", "spend"),
        rows, words=3, lines=[seen],
        notes=[
            *(f"{way}: {WAYS[way]}." for way in ways),
            *(f"Look at {x.found.example} for a {x.found.way} of {short(x.step)}."
              for x in report.code_steps[:ROWS_MAX]),
            "The tier `code` runs such a function before any model is asked.",
        ],
    )  # fmt: skip


def _repeats(report: Report) -> Section:
    title = "Asked again"
    if not report.texts:
        return Section(title=title, lines=(UNSEEN,))
    if not report.repeated:
        return Section(title=title, lines=("No prompt came twice.",))
    rows = [
        (
            short(x.step), f"{x.found.duplicates:,}", usd(x.found.duplicates_usd),
            f"{x.found.rephrasings:,}", usd(x.found.rephrasings_usd),
        )
        for x in report.repeated
    ]  # fmt: skip
    return _table(
        title, ("step", "the same prompt", "spend", "rephrased in its task", "spend"), rows,
        notes=[
            "The first of each is not counted, nor are retries, escalations and failed calls. "
            "Sampling the same prompt on purpose looks the same.",
            "Rephrased: the same telling words, numbers and names in other order or wording. "
            "Deeper rewordings are not found.",
        ],
    )  # fmt: skip


def _policy(report: Report) -> Section:
    estimate = report.estimate
    title = "What the proposed policy would cost"
    if not estimate.moves:
        return Section(title=title, lines=("It moves nothing; it only declares what runs today.",))
    lines = [
        f"Today: {usd(estimate.today_usd)}. Saved at most {usd(estimate.saving_upper_usd)} "
        f"({share(_part(estimate.saving_upper_usd, estimate.today_usd))}), should every moved "
        f"answer be as good as it was. Saved for certain: {usd(estimate.saving_lower_usd)} "
        f"({share(_part(estimate.saving_lower_usd, estimate.today_usd))}).",
        f"Quality evidence covers {share(estimate.proven_share)} of the spend that moves. Should "
        f"every unproven answer fail and run again, the policy adds {usd(estimate.risk_usd)}.",
    ]
    rows = [_move_row(move) for move in estimate.moves]
    notes = [f"{short(str(move.step))}: {move.why}." for move in estimate.moves[:ROWS_MAX]]
    notes += [
        "At most: the same tokens at the lower tier's prices, caches as warm as now. For certain: "
        "only steps with graded answers on that tier, at the 95 % lower bound of their quality, "
        "each failure run again where it runs today, no cache hits.",
        "Break-even: the share of moved answers that may fail before nothing is saved.",
    ]
    if estimate.priced_calls is not None and estimate.priced_calls < 1:
        unpriced = ", ".join(f"{short(name)} ({n:,})" for name, n in [*report.unpriced.items()][:5])
        notes.append(f"On neither side, for want of a price or of usage: {unpriced}.")
    return _table(
        title,
        ("step", "from", "to", "calls", "today", "saved at most", "for certain", "break-even"),
        rows, words=3, lines=lines, notes=notes,
    )  # fmt: skip


def _move_row(move: Move) -> tuple[str, ...]:
    return (
        short(str(move.step)), move.today or "-", move.proposed or "-",
        f"{move.calls:,}", usd(move.today_usd), usd(move.saving_upper_usd),
        usd(move.saving_lower_usd), share(move.break_even),
    )  # fmt: skip


def _reading(report: Report) -> Section:
    reading = report.facts.reading
    forms = ", ".join(f"{count:,} x {form}" for form, count in reading.forms.items())
    lines = [f"{reading.records:,} records from {', '.join(reading.sources)}."]
    if forms:
        lines.append(f"Formats: {forms}.")
    if reading.dialects:
        told = ", ".join(f"{name} {count:,}" for name, count in reading.dialects.items())
        lines.append(f"Calls by dialect: {told}.")
    if reading.duplicates:
        lines.append(
            f"{reading.duplicates:,} records stood there more than once; each counts once."
        )
    if reading.uncoerced:
        lines.append(
            f"{reading.uncoerced:,} values are not what they claim (negative counts, words for "
            "numbers); they are unknown here."
        )
    if reading.unrooted:
        lines.append(
            f"{reading.unrooted:,} calls without a role have ancestors that are not in the dump."
        )
    if reading.biased:
        lines.append(
            f"{reading.biased:,} spans came through biased sampling; shares are of what was kept."
        )
    rows = [(f"call not counted: {why}", f"{n:,}") for why, n in reading.aside.items()]
    rows += [(why, f"{n:,}") for why, n in sorted(reading.refused.items(), key=lambda p: -p[1])]
    notes = [f"for example {example}" for example in reading.examples]
    if not rows:
        return Section(title="What was read", lines=tuple(lines))
    return _table("What was read", ("not used", "records"), rows, lines=lines, notes=notes)


def _table(
    title: str,
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    words: int = 1,
    lines: list[str] | None = None,
    notes: list[str] | None = None,
) -> Section:
    notes = list(notes or ())
    if len(rows) > ROWS_MAX:
        notes.insert(0, f"{len(rows) - ROWS_MAX:,} more rows are in the JSON report.")
    # A column that knows nothing says nothing.
    told = [n for n in range(len(header)) if n < words or any(row[n] != "-" for row in rows)]
    return Section(
        title=title,
        lines=tuple(lines or ()),
        header=tuple(header[n] for n in told),
        rows=tuple(tuple(row[n] for n in told) for row in rows[:ROWS_MAX]),
        notes=tuple(notes),
        words=words,
    )


UNSEEN = (
    "Unknown: no prompt text is in the dump. Turn content recording on for a sample of the traffic "
    "(docs/audit.md says how) and audit that."
)


def _models(names: tuple[str, ...]) -> str:
    told = ", ".join(short(name) for name in names[:MODELS_MAX])
    return told + (f" +{len(names) - MODELS_MAX}" if len(names) > MODELS_MAX else "")


def _part(amount: float, whole: float) -> float | None:
    return amount / whole if whole else None


def _stretch(days: float | None) -> str:
    if days is None:
        return ""
    if days >= 1:
        return f" over {days:,.1f} days"
    hours = days * 24
    return f" over {hours:,.1f} hours" if hours >= 1 else f" over {hours * 60:,.1f} minutes"

"""Counts what was loaded into the facts that the audit's arithmetic looks at."""

from collections.abc import Mapping
from typing import Any

from collector.dumps import queries
from collector.store import Rows, Store
from evals.audit.facts import (
    Facts,
    Group,
    Growth,
    Needless,
    Reading,
    Repeats,
    Step,
    StepFacts,
)
from evals.audit.kinds import Kind
from telemetry.records import Tokens

Row = Mapping[str, Any]


def facts_of(store: Store, reading: Reading) -> Facts:
    """Return the facts of all calls in ``store``; ``reading`` gets what counts for nothing."""
    roles = [row["role"] for row in store.read(queries.ROLES)]
    models = [row["model"] for row in store.read(queries.MODELS)]
    groups = store.read(queries.GROUPS, {"roles": roles, "models": models})
    summary = store.read(queries.SUMMARY)[0]
    reading.dialects = {row["dialect"]: row["calls"] for row in store.read(queries.DIALECTS)}
    reading.aside = {row["reason"]: row["calls"] for row in store.read(queries.ASIDES)}
    reading.unrooted = store.read(queries.ORPHANS)[0]["calls"]
    return Facts(
        groups=tuple(_group(row) for row in groups),
        steps=_steps(store, {"roles": roles}),
        reading=reading,
        tasks=summary["tasks"],
        first_ns=summary["first_ns"],
        last_ns=summary["last_ns"],
        weighted_calls=summary["weighted"],
    )


def _group(row: Row) -> Group:
    kind = Kind(row["kind"])
    return Group(
        step=Step(role=row["role"], kind=kind if row["role"] is None else None),
        kind=kind,
        provider=row["provider"],
        model=row["model"],
        named=row["named"],
        tier=row["tier"],
        calls=row["calls"],
        errors=row["errors"],
        tokens=Tokens(
            input=row["input_tokens"],
            output=row["output_tokens"],
            cache_read=row["cache_read_tokens"],
            cache_write=row["cache_write_tokens"],
            reasoning=row["reasoning_tokens"],
        ),
        metered=row["metered"],
        cost_usd=row["cost_usd"],
        costed=row["costed"],
        graded=row["graded"],
        quality_sum=row["quality_sum"],
        quality_squares=row["quality_squares"],
    )


def _step(row: Row) -> Step:
    kind = row["step_kind"]
    return Step(role=row["role"], kind=None if kind is None else Kind(kind))


def _steps(store: Store, bound: Mapping[str, Any]) -> dict[Step, StepFacts]:
    growth = {_step(row): _growth(row) for row in store.read(queries.GROWTH, bound)}
    texts = {_step(row): row["calls"] for row in store.read(queries.TEXTS, bound)}
    if not texts:
        return {step: StepFacts(texts=0, growth=grown) for step, grown in growth.items()}
    repeats = _repeats(
        store.read(queries.DUPLICATES, bound), store.read(queries.REPHRASINGS, bound)
    )
    needless: dict[Step, list[Needless]] = {}
    for row in store.read(queries.PLAIN_WAYS, bound):
        needless.setdefault(_step(row), []).append(_needless(row, way=row["way"]))
    for row in store.read(queries.LOOKUPS, bound):
        needless.setdefault(_step(row), []).append(_needless(row, way="lookup"))
    return {
        step: StepFacts(
            texts=texts.get(step, 0),
            growth=growth.get(step),
            repeats=repeats.get(step),
            needless=tuple(needless.get(step, ())),
        )
        for step in growth.keys() | texts.keys()
    }


def _growth(row: Row) -> Growth:
    return Growth(
        tasks=row["tasks"],
        turns=row["turns"],
        first_tokens=row["first_tokens"],
        last_tokens=row["last_tokens"],
        per_turn_tokens=row["per_turn_tokens"],
    )


def _repeats(duplicates: Rows, rephrasings: Rows) -> dict[Step, Repeats]:
    again = {_step(row): (row["calls"], row["usd"]) for row in duplicates}
    reworded = {_step(row): (row["calls"], row["usd"]) for row in rephrasings}
    found = {}
    for step in again.keys() | reworded.keys():
        calls, usd = again.get(step, (0, 0.0))
        others, others_usd = reworded.get(step, (0, 0.0))
        found[step] = Repeats(
            duplicates=calls, duplicates_usd=usd, rephrasings=others, rephrasings_usd=others_usd
        )
    return found


def _needless(row: Row, *, way: str) -> Needless:
    return Needless(
        way=way,
        calls=row["calls"],
        answers=row["answers"],
        usd=row["usd"],
        example=row["example"],
    )

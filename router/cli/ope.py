"""`tierwise ope`: what another policy would have earned, from the decisions that are logged."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from collector.reader import Reader
from learning.arms import Chain, chain
from learning.revision import Revision, fitted, parse, parse_arm
from router.cli import exits, options
from router.cli.output import Screen
from router.cli.stored import opened
from router.policy import Policy
from router.roles import DEFAULT
from router.route import Route
from router.settings import load
from router.targets import Targets
from telemetry.errors import ConfigError
from telemetry.records import Arm, Dialect

if TYPE_CHECKING:
    from evals.logged import Group, Target, Worth

PAGE = 10_000  # the most that the console returns at once
UNITS = {"m": 60, "h": 3_600, "d": 86_400}


def ope(  # noqa: PLR0913 - each parameter is a flag
    *,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    revision: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A revision of the learner, by id or as a JSON file."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Only decisions since 90m, 24h, 7d or 2026-05-01T08:00."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Exported decisions, not the store; repeatable."),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="Newest decisions of the store.")
    ] = 100_000,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Estimate the quality and cost of a policy that was not in force, with 95 % intervals.

    Only decisions drawn by chance can tell: where the log never tried what the policy wants, the
    answer is "not enough data" and the exit code 1. docs/replay.md says how to read it.
    """
    from evals.logged import logged, worth  # noqa: PLC0415 - only here

    screen = Screen(json=json)
    derived = None
    if revision is not None:
        derived = _revision(revision, lambda: opened(config, console=console, store=store))
    target = _target(config, policy, derived)
    start = None if since is None else instant(since, now=time.time())
    if file:
        table = _exported(file, since=start)
    else:
        with opened(config, console=console, store=store) as reader:
            table = _stored(reader, since=start, rows=rows)
        if len(table) == rows:
            screen.note(f"only the newest {rows:,} decisions are read; --since takes fewer")
    steps, left = logged(table)
    worths, fixed = worth(steps, target)
    left["fixed by the policy"] = fixed
    left = +left
    screen.result(
        {"decisions": len(table), "left_out": dict(left), "worths": [asdict(one) for one in worths]}
    )
    _show(screen, worths, decisions=len(table), left=left)
    sure = worths and all(one.estimates and not one.estimates[2].refused for one in worths[:2])
    raise typer.Exit(exits.OK if sure else exits.WRONG)


def instant(text: str, *, now: float) -> float:
    """Return the unix time that an age (90m, 24h, 7d) or an ISO date means; UTC where none says.

    Raises:
        ConfigError: it is neither.
    """
    age = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if age:
        return now - int(age[1]) * UNITS[age[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--since: {text!r} is neither an age nor a date", hint="such as 24h or 2026-05-01"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _stored(reader: Reader, *, since: float | None, rows: int) -> list[dict[str, Any]]:
    """Read the newest decisions of the store, page by page.

    Decisions that arrive meanwhile push others onto the next page, hence once more into sight.
    """
    from evals.logged import COLUMNS  # noqa: PLC0415 - only here

    names = ("decision_id", *COLUMNS)
    where = "" if since is None else f" WHERE started_at >= make_timestamp({int(since * 1e6)})"
    table: dict[str, dict[str, Any]] = {}
    for start in range(0, rows, PAGE):
        size = min(PAGE, rows - start)
        found = reader.sql(
            f"SELECT {', '.join(names)} FROM v_decisions{where} "  # noqa: S608 - constants only
            f"ORDER BY started_at DESC, decision_id LIMIT {size} OFFSET {start}",
            rows_max=size,
        )
        for row in found.rows:
            table[str(row[0])] = dict(zip(names, row, strict=True))
        if len(found.rows) < size:
            break
    return list(table.values())


def _exported(files: list[Path], *, since: float | None) -> list[dict[str, Any]]:
    """Read pages of `tierwise export decisions`.

    Raises:
        ConfigError: a file is not there, or is no such page.
    """
    import duckdb  # noqa: PLC0415 - large, and only here

    from evals.logged import COLUMNS  # noqa: PLC0415 - only here

    table: list[dict[str, Any]] = []
    wanted = ", ".join(COLUMNS)
    where = "" if since is None else f" WHERE start_ns >= {int(since * 1e9)}"
    with duckdb.connect() as database:  # in memory: only a reader of files here
        for path in files:
            kind = "read_parquet" if path.suffix == ".parquet" else "read_json"
            try:
                found = database.execute(
                    f"SELECT {wanted} FROM {kind}($path){where}",  # noqa: S608 - constants only
                    {"path": str(path)},
                )
                table += [dict(zip(COLUMNS, row, strict=True)) for row in found.fetchall()]
            except duckdb.Error as error:
                raise ConfigError(
                    f"{path}: {str(error).splitlines()[0]}",
                    hint="give pages that `tierwise export decisions` wrote",
                ) from error
    return table


def _target(config: Path, policy: Path, derived: Revision | None) -> "Target":
    """Return the shares of arms that the policy, or a revision over it, gives a group of steps.

    Raises:
        ConfigError: a file is wrong.
    """
    settings, file = load(config, policy)
    today = datetime.now(UTC).date()
    targets = Targets(settings, os.environ, today=today)
    compiled = Policy.build(file, targets, today=today, directory=policy.absolute().parent)

    def target(group: "Group") -> Mapping[Chain, float] | None:
        route = _route(compiled, group)
        if route is None or route.pin is not None:
            return None
        shares = {route.declared: 1.0}
        for cell in _cells(group):
            if derived is not None and route.learns and cell in derived.shares:
                given = {parse_arm(arm): share for arm, share in derived.shares[cell].items()}
                shares = dict(fitted(given, route.arms, declared=route.declared) or shares)
                break
        return _by_chain(shares, route.tiers)

    return target


def _by_chain(shares: Mapping[Arm, float], tiers: tuple[str, ...]) -> dict[Chain, float]:
    """Shares by the tiers that the arms walk."""
    found: dict[Chain, float] = {}
    for arm, share in shares.items():
        path = chain(arm, tiers=tiers)
        found[path] = found.get(path, 0.0) + share
    return found


def _route(policy: Policy, group: "Group") -> Route | None:
    """What the policy allows steps of the group; None when it refuses them."""
    role = group.role if group.role in policy.roles else DEFAULT
    mode = group.mode if (role, group.mode) in policy.rules else None
    try:
        return policy.table.get((role, mode, Dialect(group.dialect)))
    except ValueError:
        return None


def _cells(group: "Group") -> Iterator[str]:
    """The cells of a revision that may speak of the group, the most exact first."""
    if group.cell:
        yield group.cell
    yield f"{group.role}|{group.mode or ''}|"
    yield f"{group.role}||"


def _revision(name: str, reading: Callable[[], AbstractContextManager[Reader]]) -> Revision:
    """Read a revision from a JSON file, or by its id from the collector's book.

    Raises:
        ConfigError: there is none of that name.
    """
    path = Path(name)
    if path.is_file():
        try:
            return parse(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(
                f"--revision: {name}: {error}", hint="give a revision as the collector made it"
            ) from error
    with reading() as reader:
        found = reader.revision(name)
    if found is None:
        raise ConfigError(
            f"--revision: {name!r} is no file, and the collector has no such revision",
            hint="give a revision's id, 16 hex digits, or the file that holds it",
        )
    return Revision(
        policy_hash=found["policy_hash"],
        parent=found["parent"],
        shares=found["shares"],
        evidence=found["evidence"],
    )


def _show(
    screen: Screen, worths: list["Worth"], *, decisions: int, left: Mapping[str, int]
) -> None:
    others = ", ".join(f"{count:,} {why}" for why, count in left.items())
    screen.say(f"{decisions:,} decisions" + (f"; left out: {others}" if others else ""))
    table = Table(box=None, pad_edge=False)
    for title in ("role", "measure", "known", "logged", "estimator", "target", "95 %", "effective"):
        table.add_column(title, justify="right" if title in {"known", "effective"} else "left")
    for one in worths:
        for found in one.estimates if one.role is None else one.estimates[2:]:
            table.add_row(
                one.role or "all",
                one.measure,
                f"{one.known:,} of {one.decisions:,}",
                _number(one.logged, one.measure),
                found.estimator,
                _number(None if found.refused else found.value, one.measure),
                "not enough data"
                if found.refused
                else f"{_number(found.low, one.measure)} to {_number(found.high, one.measure)}",
                f"{found.effective_rows:,.0f}",
            )
    screen.show(table, keys=2)
    reasons = {
        f"{one.role or 'all'}, {one.measure}: {found.refused}"
        for one in worths
        for found in one.estimates
        if found.refused
    }
    for reason in sorted(reasons):
        screen.say(f"  {reason}")
    if not any(one.known for one in worths):
        screen.say("not enough data: no decision has a known quality or cost")


def _number(value: float | None, measure: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if measure == "quality" else f"${value:.4g}"

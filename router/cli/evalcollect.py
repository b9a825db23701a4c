"""`tierwise eval collect`: a suite's cases from steps whose answers failed."""

import re
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from collector.reader import Reader
from evals.suite_collect import collect as cases_of
from router.cli import exits, options
from router.cli.drift import seconds_of
from router.cli.output import Screen
from router.cli.stored import opened
from telemetry.errors import ConfigError
from telemetry.nearest import nearest_name
from telemetry.records import Dialect

CASES_MAX: Final = 5_000
_ROLE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COLUMNS: Final = (
    "decision_id", "role", "tier", "quality", "quality_source", "error_type", "request",
)  # fmt: skip
# Of a step that failed, the request as the first attempt sent it. SELECT statements take no bound
# values over the API; only numbers and a role that was matched against its pattern are spliced in.
_FAILED: Final = """
FROM decisions d LEFT JOIN (
  SELECT c.decision_id, min_by(t.request, c.attempt) AS request
  FROM texts t JOIN calls c ON c.trace_id = t.trace_id AND c.span_id = t.span_id
  WHERE t.start_ns >= {since} AND t.request IS NOT NULL AND c.decision_id IS NOT NULL
  GROUP BY c.decision_id
) t USING (decision_id)
WHERE d.start_ns >= {since} AND d.dialect = '{dialect}'
  AND (d.quality < {below} OR d.error_type IS NOT NULL) {role}
"""


def collect(  # noqa: PLR0913 - a flag is a parameter
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the cases go, as NDJSON.")],
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="How far back, such as 24h, 7d, 4w.")
    ] = "7d",
    below: Annotated[
        float, typer.Option(min=0, max=1, help="Steps of less quality than this.")
    ] = 0.5,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help="Only this role.")] = None,
    dialect: Annotated[
        Dialect, typer.Option(help="Only steps of this dialect: a suite has one.")
    ] = Dialect.CHAT,
    limit: Annotated[
        int, typer.Option(min=1, max=CASES_MAX, help="At most so many, the worst first.")
    ] = 200,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Write the requests of failed and low-scored steps as cases of a suite.

    Only where their text was recorded: that is off unless tierwise.toml turns it on, in the gateway
    and in the collector.
    """
    screen = Screen(json=json)
    failed = _FAILED.format(
        since=time.time_ns() - seconds_of(since) * 1_000_000_000,
        dialect=dialect.value,
        below=below,
        role="" if role is None else _only(role),
    )
    with opened(config, console=console, store=store) as reader:
        steps, recorded = _count(reader, failed)
        rows = _rows(reader, failed, limit=limit) if recorded else []
        if role is not None and not steps:
            _must_be_seen(reader, role)
    found = cases_of(rows)
    told: dict[str, Any] = {
        "failed": steps, "recorded": recorded, "written": len(found.lines), "cut": found.cut,
        "repeated": found.repeated, "file": str(out) if found.lines else None,
    }  # fmt: skip
    if found.lines:
        _write(out, found.lines)
    screen.result(told)
    screen.say(f"{steps:,} steps failed or scored under {below:g}; {recorded:,} have their text")
    if found.lines:
        screen.say(f"{len(found.lines)} cases are in {out}; name it as a suite's cases_file, and")
        screen.say("give the suite the checks that their answers must pass")
    if found.cut or found.repeated:
        screen.say(f"left out: {found.cut} recorded only in part, {found.repeated} asked the same")
    if steps and not recorded:
        screen.say(
            "no text was recorded: set content = true under [telemetry] and under [collector] of "
            "tierwise.toml, and mind who may read the store",
            style="bold red",
        )
    if not found.lines:
        raise typer.Exit(exits.WRONG if steps else exits.OK)


def _only(role: str) -> str:
    """Return the condition on a role as it is spliced into a query."""
    if not _ROLE.fullmatch(role):
        raise ConfigError(
            f"--role {role!r} is no role's name", hint="`tierwise roles` lists those with calls"
        )
    return f"AND d.role = '{role}'"


def _must_be_seen(reader: Reader, role: str) -> None:
    found = reader.sql("SELECT DISTINCT role FROM decisions WHERE role IS NOT NULL", rows_max=1_000)
    seen = sorted(str(name) for (name,) in found.rows)
    if role not in seen:
        raise ConfigError(
            f"--role: no step of role {role!r} is stored",
            hint=f"roles with steps: {', '.join(seen) or 'none'}{nearest_name(role, seen)}",
        )


def _count(reader: Reader, failed: str) -> tuple[int, int]:
    sql = f"SELECT count(*), count(t.request) {failed}"
    ((steps, recorded),) = reader.sql(sql, rows_max=1).rows
    return int(steps), int(recorded)


def _rows(reader: Reader, failed: str, *, limit: int) -> list[dict[str, Any]]:
    columns = ", ".join(f"t.{name}" if name == "request" else f"d.{name}" for name in _COLUMNS)
    sql = (
        f"SELECT {columns} {failed} AND t.request IS NOT NULL "
        f"ORDER BY d.quality NULLS FIRST, d.start_ns DESC LIMIT {limit}"
    )
    rows = reader.sql(sql, rows_max=limit).rows
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]


def _write(path: Path, lines: tuple[str, ...]) -> None:
    try:
        path.write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(
            f"--out {path}: {error.strerror or error}", hint="name a file that can be written"
        ) from error

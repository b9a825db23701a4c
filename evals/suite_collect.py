"""Cases from live failures: what was asked when an answer failed, ready to be asked again."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

LEFT_OUT: Final = ("model", "stream", "stream_options", "metadata")


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """Lines of NDJSON, and what could not become one."""

    lines: tuple[str, ...]
    cut: int  # the request was recorded, but not whole
    repeated: int  # the same request stands among the lines already


def collect(rows: Iterable[Mapping[str, Any]]) -> Collected:
    """Return one case for each row that holds a whole request, once per request.

    A row has decision_id, role, tier, quality, quality_source, error_type and request, the body as
    it was recorded. A case has no expected answer: the one that was given was not good enough.
    """
    lines: list[str] = []
    seen: set[str] = set()
    cut = repeated = 0
    for row in rows:
        try:
            body = json.loads(row["request"])
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            cut += 1
            continue
        request = {key: value for key, value in body.items() if key not in LEFT_OUT}
        known = json.dumps(request, sort_keys=True)
        if known in seen:
            repeated += 1
            continue
        seen.add(known)
        case = {"id": row["decision_id"], "request": request, "about": about(row)}
        lines.append(json.dumps(case, ensure_ascii=False))
    return Collected(lines=tuple(lines), cut=cut, repeated=repeated)


def about(row: Mapping[str, Any]) -> str:
    """Return in words why a case was collected.

    >>> about({"role": "writer", "tier": "small", "quality": 0.0, "quality_source": "json",
    ...        "error_type": None})
    'role writer, answered by small: quality 0 by json'
    """
    words = f"role {row['role']}, answered by {row['tier'] or 'nobody'}"
    if row["quality"] is not None:
        return f"{words}: quality {row['quality']:g} by {row['quality_source'] or 'nobody named'}"
    return f"{words}: {row['error_type'] or 'failed'}"

"""The policy's evaluators, read again when the policy file changes."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field

from collector.rows import EvaluationRow
from telemetry.configfile import Section, parse, read
from telemetry.errors import ConfigError
from telemetry.evaluators import EvaluatorConfig, quality

LOOK_SECONDS: Final = 2.0

log = logging.getLogger("tierwise.collector")


class _Evaluators(Section):
    """The one table of the policy that the collector reads; the gateway checks the others."""

    model_config = ConfigDict(extra="ignore")

    evaluators: dict[str, EvaluatorConfig] = Field(default_factory=dict)


class Normaliser:
    """Puts every evaluation on 0..1."""

    def __init__(self, path: Path | None) -> None:
        """Read the evaluators of the policy at ``path``; none when it is None.

        Raises:
            ConfigError: the file is missing or its evaluators are wrong.
        """
        self._path = path
        self._stamp = _stamp(path)
        self._looked_at = 0.0
        self._evaluators = {} if path is None else _load(path)

    def look(self, monotonic: float) -> None:
        """Refresh, but not more often than every two seconds."""
        if monotonic - self._looked_at >= LOOK_SECONDS:
            self._looked_at = monotonic
            self.refresh()

    def refresh(self) -> None:
        """Read the file again if it changed; a faulty one leaves the evaluators as they were."""
        if self._path is None:
            return
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._evaluators = _load(self._path)
        except ConfigError as error:
            log.error("the policy's evaluators stay as they were: %s", error)

    def fill(self, rows: Iterable[EvaluationRow]) -> None:
        """Set the score of each row from its raw score or label."""
        for row in rows:
            row.score = self.quality(row.name, score=row.score_raw, label=row.label)

    def quality(self, name: str, *, score: float | None, label: str | None) -> float | None:
        """Return the quality that an evaluator's words mean, or None when they do not say."""
        return quality(self._evaluators.get(name), score=score, label=label)


def _stamp(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _load(path: Path) -> dict[str, EvaluatorConfig]:
    return parse(read(path), _Evaluators, name=path.name).evaluators

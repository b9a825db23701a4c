"""What evaluators' words mean, by the policy that holds."""

from collections.abc import Callable, Iterable, Mapping

from collector.rows import EvaluationRow
from telemetry.evaluators import EvaluatorConfig, quality
from telemetry.terms import Terms

Evaluators = Mapping[str, EvaluatorConfig]


def evaluators_of(terms: Terms | None) -> Evaluators:
    """Return the evaluators that a policy declares; none where there is no policy."""
    return {} if terms is None else terms.evaluators


class Normaliser:
    """Puts every evaluation on 0..1; ``evaluators`` says which scales and labels hold now."""

    def __init__(self, evaluators: Callable[[], Evaluators] = dict) -> None:
        self._evaluators = evaluators

    def fill(self, rows: Iterable[EvaluationRow]) -> None:
        """Set the score of each row from its raw score or label."""
        evaluators = self._evaluators()
        for row in rows:
            row.score = quality(evaluators.get(row.name), score=row.score_raw, label=row.label)

    def quality(self, name: str, *, score: float | None, label: str | None) -> float | None:
        """Return the quality that an evaluator's words mean, or None when they do not say."""
        return quality(self._evaluators().get(name), score=score, label=label)

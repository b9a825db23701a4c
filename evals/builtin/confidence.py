"""A check of how sure the model was of its own words."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from evals.answers import Answer
from evals.checks import BuiltIn, CheckSection
from telemetry.records import Result, Verdict

Logprob = Annotated[float, Field(le=0, allow_inf_nan=False)]


class MinLogprobSection(CheckSection):
    """Limits, as natural logarithms; each one given must hold."""

    mean: Logprob | None = Field(None, description="least mean over all tokens")
    token: Logprob | None = Field(None, description="least of any single token")

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.mean is None and self.token is None:
            raise ValueError("give at least one of mean, token")
        return self


class MinLogprob(BuiltIn):
    """The tokens' logprobs are not under a limit; without logprobs it abstains.

    Its verdicts have no score: how sure a model is of itself is not how good it is.
    """

    name = "min_logprob"
    Parameters = MinLogprobSection

    def check(self, answer: Answer) -> Verdict:
        """Return the verdict on all output tokens."""
        values = [token.logprob for token in answer.logprobs or ()]
        if not values or not all(value <= 0 for value in values):
            return self.abstained("the answer has no logprobs")
        mean, least = sum(values) / len(values), min(values)
        if self.parameters.mean is not None and mean < self.parameters.mean:
            return self._unscored(Result.FAIL, f"mean logprob {mean:.3f}")
        if self.parameters.token is not None and least < self.parameters.token:
            return self._unscored(Result.FAIL, f"least logprob {least:.3f}")
        return self._unscored(Result.PASS, f"mean logprob {mean:.3f}, least {least:.3f}")

    def _unscored(self, result: Result, reason: str) -> Verdict:
        return Verdict(check=self.name, version=self.version, result=result, reason=reason)

"""One attempt of the tier `code`: ask the operator's function instead of a model."""

from typing import Final

from evals.codetier import CodeAnswer, CodeFunction
from evals.rendering import render
from evals.steps import Step
from router.attempt import Answered, Way
from router.exchange import Held, Trial
from router.usage import Reading
from telemetry.errors import CodeCrashed
from telemetry.records import Tokens

_STREAM: Final = ((b"content-type", b"text/event-stream; charset=utf-8"),)
_WHOLE: Final = ((b"content-type", b"application/json"),)


class Abstained:
    """The function has no answer to this step; the next tier is asked."""


async def ask(way: Way, trial: Trial, function: CodeFunction, step: Step) -> Answered | Abstained:
    """Return the function's answer in the caller's dialect, judged; a crash abstains."""
    exchange = way.exchange
    try:
        answer = await function.answer(step)
    except CodeCrashed as error:
        trial.error_type = f"code_{error.kind}"
        answer = None
    else:
        if answer is None:
            trial.error_type = "abstained"
    trial.reading = _reading(exchange.decision_id, trial, answer)
    if answer is None:
        exchange.settle(trial)
        return Abstained()
    verdict = await way.judge.answer(trial, answer.as_answer(step))
    body = render(
        answer,
        step,
        model=trial.target.model,
        stream=way.asked.stream,
        answer_id=exchange.decision_id.replace("-", ""),
        created_seconds=exchange.gateway.clock.now_ns() // 1_000_000_000,
    )
    trial.status = 200
    exchange.keep_text(trial, body)
    exchange.settle(trial)
    return Answered(
        held=Held(
            status=200,
            headers=_STREAM if way.asked.stream else _WHOLE,
            pieces=(body,),
            stream=way.asked.stream,
            attempt=exchange.attempts[-1],
            verdict=verdict,
        )
    )


def _reading(decision_id: str, trial: Trial, answer: CodeAnswer | None) -> Reading:
    """Return what is known of the answer: no model was asked, so no token was spent."""
    reading = Reading(tokens=Tokens(input=0, output=0))
    if answer is not None:
        reading.response_id = decision_id
        reading.response_model = trial.target.model
        reading.finish_reasons = ["tool_calls" if answer.tool_calls else "stop"]
        reading.finished = True
    return reading

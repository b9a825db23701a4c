"""The domain's records: what a step asked, what was decided, what was tried, what became of it.

Every record is frozen and whole: it crosses rooms and processes as it is. ``None`` is unknown and
0 is zero, here and everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Dialect(StrEnum):
    """The wire format a step is spoken in; a provider declares which ones it speaks."""

    CHAT = "chat"  # OpenAI chat completions
    RESPONSES = "responses"  # OpenAI Responses
    MESSAGES = "messages"  # Anthropic Messages
    EMBEDDINGS = "embeddings"  # OpenAI embeddings


class RoleSource(StrEnum):
    """Where a step's role was read; the first of these that names one wins."""

    HEADER = "header"
    ALIAS = "alias"
    METADATA = "metadata"
    BAGGAGE = "baggage"
    KEY = "key"
    SHAPE = "shape"
    DEFAULT = "default"


class Reason(StrEnum):
    """Why a decision chose its arm."""

    DECLARED = "declared"  # the policy's table says so
    LEARNED = "learned"  # the active revision says so
    EXPLORED = "explored"  # drawn from the exploration budget
    PINNED = "pinned"  # the role's pin
    CALLER_PIN = "caller_pin"  # the caller named a model and may
    SESSION = "session"  # an earlier step of the session failed its checks or stalled
    DIALECT = "dialect"  # no tier nearer to the chosen one speaks the step's dialect
    BUDGET = "budget"  # a spent budget sends the step to the cheapest tier
    FALLBACK = "fallback"  # our own code failed; the declared tier answers


class OnFail(StrEnum):
    """What an arm does with an answer that fails its checks."""

    ACCEPT = "accept"
    STEP = "step"  # one tier up
    TOP = "top"  # straight to the top of the role's range


class Cause(StrEnum):
    """Why an attempt was made."""

    START = "start"
    RETRY = "retry"  # the same model again
    FAILOVER = "failover"  # the tier's next model, because the one before it was down
    ESCALATION = "escalation"  # one tier up, because a check or the tier's last model failed


class Result(StrEnum):
    """What a check says of an answer."""

    PASS = "pass"
    FAIL = "fail"
    ABSTAIN = "abstain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Cheap facts about a request, read from its body; shape rules and learners look at these."""

    body_bytes: int
    messages_count: int
    tools_count: int
    tool_choice_forced: bool
    schema: bool  # asks for structured output with a JSON schema
    choices_count: int | None  # size of the closed answer set, when the schema is one enum
    images: bool
    code: bool  # the last user text holds a code fence or a diff
    output_tokens_max: int | None
    continues: bool = False  # goes on with a conversation, whose prefix a model may have cached


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What a session's earlier steps of one role came to, as far as this process saw them."""

    raised: int = 0  # place on the ladder of the tier that further steps start at; 0: none
    fails: int | None = None  # steps in a row whose answers failed; None: none was judged


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """All a decision may look at."""

    role: str
    role_source: RoleSource
    role_unknown: str | None = None  # the name asked for, when the policy has no such role
    dialect: Dialect
    stream: bool = False
    session: str | None = None
    mode: str | None = None  # collaboration mode: single, plan-execute, debate ...
    plan: str | None = None
    key: str | None = None  # the client key's name, never its secret
    budget: str | None = None  # the budget scope that the key's spend counts towards
    caller_pin: str | None = None  # a model of the policy that the caller named
    shape: Shape | None = None  # absent when no rule and no learner asked for it
    history: History | None = None  # absent without a session, and when no learner asked for it


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """What a decision chooses: the tier to start at and what a failed check does."""

    tier: str
    on_fail: OnFail = OnFail.STEP

    def __str__(self) -> str:
        return f"{self.tier}/{self.on_fail}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One choice, whole: enough to explain it, to join late outcomes to it and to weigh it."""

    decision_id: str
    at_ns: int  # unix time
    context: Context
    offered: tuple[Arm, ...]
    arm: Arm
    propensity: float
    policy_hash: str
    revision: str
    reason: Reason
    cell: str | None = None  # what its outcome teaches; None: nothing learns from it
    shadow_of: str | None = None  # the decision whose step it runs again; nobody gets its answer

    def __post_init__(self) -> None:
        assert 0.0 < self.propensity <= 1.0, f"propensity {self.propensity} is outside (0, 1]"
        assert self.arm in self.offered, f"{self.arm} was not offered"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Usage of one call, in tokens; input includes cached and output includes reasoning tokens."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None  # part of input
    cache_write: int | None = None  # part of input
    reasoning: int | None = None  # part of output


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One check's word on one answer; ``score`` is in 0..1.

    ``chance`` in (0, 1] is the probability with which the answer was chosen to be judged; None for
    a check that judges every answer.
    """

    check: str
    version: str
    result: Result
    score: float | None = None
    reason: str = ""
    chance: float | None = None

    def __post_init__(self) -> None:
        assert self.score is None or 0.0 <= self.score <= 1.0, f"score {self.score} not in 0..1"
        assert self.chance is None or 0.0 < self.chance <= 1.0, f"chance {self.chance} not in 0..1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One call to one model."""

    number: int  # from 1
    cause: Cause
    tier: str
    model: str  # as the policy names it: provider/name
    provider: str  # as OTel names it: openai, anthropic ...
    request_model: str  # as the provider names it
    server_address: str
    server_port: int | None
    span_id: str  # 16 hex digits
    started_ns: int
    ended_ns: int
    first_chunk_seconds: float | None = None
    status: int | None = None  # HTTP status, absent when no answer came
    error_type: str | None = None
    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    cost_source: str | None = None  # provider, or local for our price table
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a decision: the whole chain."""

    decision_id: str
    trace_id: str  # 32 hex digits
    span_id: str  # of the route span
    parent_span_id: str | None
    sampled: bool  # the caller's wish; exporters other than the collector honour it
    ended_ns: int
    attempts: tuple[Attempt, ...]
    delivered: int | None = None  # number of the attempt that answered the caller; None: the last
    status: int  # what the caller got
    error_code: str | None = None
    quality: float | None = None
    quality_source: str | None = None
    replan: bool = False  # the plan should be revised: its escalations are spent, or the top failed
    overhead_seconds: float | None = None  # our own share of the latency
    features: tuple[float, ...] = ()  # of a step that teaches; learning.features names them

    @property
    def answering(self) -> Attempt | None:
        """The attempt whose answer the caller got; None when none was made."""
        if not self.attempts:
            return None
        return self.attempts[-1 if self.delivered is None else self.delivered - 1]

    @property
    def cost_usd(self) -> float | None:
        """Cost of all attempts; unknown as soon as one of them is unknown."""
        return total_cost_usd(self.attempts)


def total_cost_usd(attempts: Iterable[Attempt]) -> float | None:
    """Return what all attempts cost; unknown as soon as one of them is unknown."""
    total = 0.0
    for attempt in attempts:
        if attempt.cost_usd is None:
            return None
        total += attempt.cost_usd
    return total

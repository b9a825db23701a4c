"""Every span attribute, log event and metric that tierwise writes; the only file that spells them.

A name is a string that also knows its type, where it stands and what it means, so the table in
docs/telemetry.md is generated from here. Standard names follow OpenTelemetry's GenAI semantic
conventions; cost follows the proposed ``gen_ai.usage.cost.*`` and repeats the older key that
dashboards read today.
"""

from typing import Final, Literal, Self

Kind = Literal["string", "int", "double", "boolean", "string[]"]
Place = Literal["route", "attempt", "both", "event", "resource"]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"
SCOPE: Final = "tierwise"
SERVICE: Final = "tierwise"


class Attribute(str):
    """An attribute's name, with its type, the spans it stands on and its meaning."""

    __slots__ = ("kind", "meaning", "place")

    kind: Kind
    place: Place
    meaning: str

    def __new__(cls, name: str, kind: Kind, place: Place, meaning: str) -> Self:
        self = super().__new__(cls, name)
        self.kind = kind
        self.place = place
        self.meaning = meaning
        ATTRIBUTES.append(self)
        return self


ATTRIBUTES: Final[list[Attribute]] = []

# fmt: off
OPERATION = Attribute("gen_ai.operation.name", "string", "attempt", "`chat` or `embeddings`")
PROVIDER = Attribute("gen_ai.provider.name", "string", "attempt", "the provider, as OpenTelemetry names it")
REQUEST_MODEL = Attribute("gen_ai.request.model", "string", "attempt", "the model asked of the provider")
REQUEST_STREAM = Attribute("gen_ai.request.stream", "boolean", "attempt", "present and true when a stream was asked for")
RESPONSE_MODEL = Attribute("gen_ai.response.model", "string", "attempt", "the model version that the provider says answered")
RESPONSE_ID = Attribute("gen_ai.response.id", "string", "attempt", "the provider's id of the answer")
FINISH_REASONS = Attribute("gen_ai.response.finish_reasons", "string[]", "attempt", "why the answer ended, in the provider's words")
TIME_TO_FIRST_CHUNK = Attribute("gen_ai.response.time_to_first_chunk", "double", "attempt", "seconds to the first byte of a streamed answer")
INPUT_TOKENS = Attribute("gen_ai.usage.input_tokens", "int", "attempt", "all input tokens, cached ones included")
OUTPUT_TOKENS = Attribute("gen_ai.usage.output_tokens", "int", "attempt", "all output tokens, reasoning included")
CACHE_READ_TOKENS = Attribute("gen_ai.usage.cache_read.input_tokens", "int", "attempt", "input tokens served from the provider's cache")
CACHE_WRITE_TOKENS = Attribute("gen_ai.usage.cache_write.input_tokens", "int", "attempt", "input tokens written to the provider's cache")
REASONING_TOKENS = Attribute("gen_ai.usage.reasoning.output_tokens", "int", "attempt", "output tokens spent on reasoning")
COST_AMOUNT = Attribute("gen_ai.usage.cost.amount", "double", "attempt", "cost of this call")
COST_CURRENCY = Attribute("gen_ai.usage.cost.currency", "string", "attempt", "always `USD`")
COST_SOURCE = Attribute("gen_ai.usage.cost.source", "string", "attempt", "`local` for our price table, `provider` when the provider said it")
COST_LEGACY = Attribute("gen_ai.usage.cost", "double", "attempt", "the same cost under the key that dashboards read today")
AGENT_NAME = Attribute("gen_ai.agent.name", "string", "attempt", "the role")
CONVERSATION_ID = Attribute("gen_ai.conversation.id", "string", "attempt", "the session")
ERROR_TYPE = Attribute("error.type", "string", "both", "what went wrong, low in cardinality; absent on success")
SERVER_ADDRESS = Attribute("server.address", "string", "attempt", "the provider's host")
SERVER_PORT = Attribute("server.port", "int", "attempt", "the provider's port")
HTTP_STATUS = Attribute("http.response.status_code", "int", "both", "HTTP status of the answer")

ROLE = Attribute("tierwise.role", "string", "both", "the role that asked")
ROLE_SOURCE = Attribute("tierwise.role.source", "string", "route", "where the role was read: header, alias, metadata, baggage, key, shape, default")
ROLE_UNKNOWN = Attribute("tierwise.role.unknown", "string", "route", "the role asked for, when the policy has no such role")
TIER = Attribute("tierwise.tier", "string", "both", "the tier of the attempt; on the route span, of the answer that was delivered")
TIER_START = Attribute("tierwise.tier.start", "string", "route", "the tier the decision chose to start at")
ON_FAIL = Attribute("tierwise.on_fail", "string", "route", "what the chosen arm does with a failed check: accept, step, top")
OFFERED = Attribute("tierwise.decision.offered", "string[]", "route", "the arms that were offered, as tier/on_fail")
MODEL = Attribute("tierwise.model", "string", "both", "the model as the policy names it")
DIALECT = Attribute("tierwise.dialect", "string", "route", "the step's wire format: chat, responses, messages, embeddings")
COST_USD = Attribute("tierwise.cost.usd", "double", "both", "cost of the attempt; on the route span, of the whole chain; absent when unknown")
QUALITY_SCORE = Attribute("tierwise.quality.score", "double", "both", "quality in 0..1 when it is known in line")
QUALITY_SOURCE = Attribute("tierwise.quality.source", "string", "both", "which check or judge gave the score")
DECISION_ID = Attribute("tierwise.decision.id", "string", "both", "joins late outcomes to the decision")
PROPENSITY = Attribute("tierwise.decision.propensity", "double", "route", "exact probability with which the arm was chosen, in (0, 1]")
REASON = Attribute("tierwise.decision.reason", "string", "route", "why the arm was chosen")
EXPLORE = Attribute("tierwise.explore", "boolean", "route", "present and true when the arm was drawn from the exploration budget")
PINNED = Attribute("tierwise.pinned", "boolean", "route", "present and true when a pin chose")
ATTEMPT = Attribute("tierwise.attempt", "int", "attempt", "number of the attempt, from 1")
ATTEMPTS = Attribute("tierwise.attempts", "int", "route", "how many attempts the chain took")
CAUSE = Attribute("tierwise.attempt.cause", "string", "attempt", "why it was made: start, retry, failover, escalation")
ESCALATED_FROM = Attribute("tierwise.escalated_from", "string", "both", "the tier the chain came from, when it moved")
POLICY_HASH = Attribute("tierwise.policy.hash", "string", "both", "content hash of the declared policy")
REVISION = Attribute("tierwise.revision", "string", "both", "the active revision, or `declared`")
CELL = Attribute("tierwise.cell", "string", "route", "role, mode and kind of step that its outcome teaches; absent when the role does not learn")
FEATURES = Attribute("tierwise.features", "string", "route", "numbers about the step, comma-separated, in the order that docs/learning.md gives; absent when the role does not learn")
MODE = Attribute("tierwise.mode", "string", "both", "collaboration mode")
PLAN = Attribute("tierwise.plan", "string", "both", "the plan that the step belongs to")
KEY = Attribute("tierwise.key", "string", "route", "name of the client key")
BUDGET = Attribute("tierwise.budget", "string", "route", "budget scope of the client key")
OVERHEAD = Attribute("tierwise.overhead_ms", "double", "route", "milliseconds that tierwise itself added before the first byte")
SHADOW = Attribute("tierwise.shadow", "string", "both", "id of the decision whose step was run again to compare; the answer reached nobody, and the spend is counted apart")
INPUT_MESSAGES = Attribute("gen_ai.input.messages", "string", "attempt", "the request's body; only when the operator records content")
OUTPUT_MESSAGES = Attribute("gen_ai.output.messages", "string", "attempt", "the answer's body; only when the operator records content")
EVALUATION_NAME = Attribute("gen_ai.evaluation.name", "string", "event", "the check or judge")
EVALUATION_SCORE = Attribute("gen_ai.evaluation.score.value", "double", "event", "its score in 0..1, when it has one")
EVALUATION_LABEL = Attribute("gen_ai.evaluation.score.label", "string", "event", "pass, fail or abstain")
EVALUATION_EXPLANATION = Attribute("gen_ai.evaluation.explanation", "string", "event", "why, in a few words")
EVALUATION_VERSION = Attribute("tierwise.check.version", "string", "event", "version of the check")
EVALUATION_CHANCE = Attribute("tierwise.evaluation.chance", "double", "event", "probability with which this answer was chosen to be judged; on every word of a role's graders, absent on checks, which judge every answer")
# fmt: on

ROUTE_SPAN: Final = "route"  # followed by the role
REPLAN_EVENT: Final = (
    "tierwise.replan"  # a span event of the route span: the plan should be revised
)
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"  # a log event, child of the attempt it judges

# The provider of what the code tier answers: no model is called, so no gen_ai.* stands on its span.
CODE_PROVIDER: Final = "tierwise"

# Metrics of the conventions, as every exporter sends them today.
TOKEN_USAGE: Final = "gen_ai.client.token.usage"
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TOKEN_TYPE: Final = "gen_ai.token.type"
# Bucket boundaries that the conventions recommend.
TOKEN_BUCKETS: Final = (
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
)  # fmt: skip
DURATION_BUCKETS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip

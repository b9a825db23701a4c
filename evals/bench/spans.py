"""Ready-made OTLP bodies for load: one batch is encoded, its ids and times are patched per copy."""

import gzip
import random
import struct
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROLES: Final = ("planner", "worker", "extractor", "critic", "summariser", "reviewer")
TIERS: Final = ("small", "mid", "frontier")
_SECOND: Final = 1_000_000_000


class Template:
    """A batch of model calls with 22 attributes each, and where its ids and times stand."""

    def __init__(self, spans: int, *, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - load, not secrets
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "agent"
        scope = resource.scope_spans.add()
        scope.scope.name = "opentelemetry.instrumentation.genai.openai"
        marks = []
        for _ in range(spans):
            mark = (rng.randbytes(16), rng.randbytes(8), rng.getrandbits(62), rng.getrandbits(62))
            marks.append(mark)
            _add_call(scope.spans.add(), mark, rng)
        self._body = bytearray(request.SerializeToString())
        self._places = [
            (
                self._body.index(trace_id),
                self._body.index(span_id),
                self._body.index(struct.pack("<Q", start)),
                self._body.index(struct.pack("<Q", end)),
            )
            for trace_id, span_id, start, end in marks
        ]

    def body(self, rng: random.Random, *, start_ns: int) -> bytes:
        """Return the batch, gzipped, with new ids and with starts in the second after the given."""
        body = self._body
        for trace_at, span_at, start_at, end_at in self._places:
            start = start_ns + rng.randrange(_SECOND)
            body[trace_at : trace_at + 16] = rng.randbytes(16)
            body[span_at : span_at + 8] = rng.randbytes(8)
            body[start_at : start_at + 8] = struct.pack("<Q", start)
            body[end_at : end_at + 8] = struct.pack("<Q", start + rng.randrange(10 * _SECOND))
        return gzip.compress(body, compresslevel=1)


def _add_call(made: Span, mark: tuple[bytes, bytes, int, int], rng: random.Random) -> None:
    trace_id, span_id, start, end = mark
    made.trace_id, made.span_id = trace_id, span_id
    made.parent_span_id = rng.randbytes(8)
    made.name, made.kind = "chat gpt-4o", Span.SPAN_KIND_CLIENT
    made.start_time_unix_nano, made.end_time_unix_nano = start, end
    values: dict[str, str | int | float] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": f"chatcmpl-{rng.randbytes(8).hex()}",
        "gen_ai.response.time_to_first_chunk": rng.random(),
        "gen_ai.agent.name": rng.choice(ROLES),
        "gen_ai.conversation.id": rng.randbytes(8).hex(),
        "gen_ai.usage.input_tokens": rng.randrange(5_000),
        "gen_ai.usage.output_tokens": rng.randrange(500),
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": rng.randrange(50),
        "gen_ai.usage.cost.amount": rng.random(),
        "gen_ai.usage.cost.currency": "USD",
        "tierwise.tier": rng.choice(TIERS),
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.request.max_tokens": 500,
        "gen_ai.request.temperature": 0.5,
        "deployment.environment": "production",
        "http.response.status_code": 200,
    }
    attributes = made.attributes
    for key, value in values.items():
        target = attributes.add(key=key).value
        if isinstance(value, str):
            target.string_value = value
        elif isinstance(value, int):
            target.int_value = value
        else:
            target.double_value = value
    reasons = attributes.add(key="gen_ai.response.finish_reasons").value.array_value
    reasons.values.add().string_value = "stop"

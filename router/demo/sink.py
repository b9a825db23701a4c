"""A small OTLP receiver: the demo's money table is read from the spans that arrive here."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import names

BODY_BYTES_MAX = 16 * 1_048_576
SPANS_MAX = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptSpan:
    """What the demo reads of one attempt's span; None is unknown."""

    decision_id: str
    role: str
    tier: str
    model: str
    response_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class Sink:
    """The spans that arrived: attempts whole, of routes the decision's id."""

    def __init__(self) -> None:
        self.attempts: list[AttemptSpan] = []
        self.routes: list[str] = []
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        """Take one export; refuse it when more spans came than a demo makes."""
        if len(self.attempts) > SPANS_MAX:
            return web.Response(status=503)
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource_spans in export.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._sort(_values(span.attributes))
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def ignore(self, request: web.Request) -> web.Response:
        """Take logs and metrics without reading them."""
        await request.read()
        return web.Response(body=b"", content_type="application/x-protobuf")

    def _sort(self, values: dict[str, Any]) -> None:
        decision_id = str(values.get(names.DECISION_ID, ""))
        if names.ATTEMPT not in values:
            self.routes.append(decision_id)
            return
        self.attempts.append(
            AttemptSpan(
                decision_id=decision_id,
                role=str(values.get(names.ROLE, "")),
                tier=str(values.get(names.TIER, "")),
                model=str(values.get(names.MODEL, "")),
                response_id=values.get(names.RESPONSE_ID),
                input_tokens=values.get(names.INPUT_TOKENS),
                output_tokens=values.get(names.OUTPUT_TOKENS),
                cost_usd=values.get(names.COST_USD),
            )
        )


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Sink]:
    """Receive OTLP over HTTP on a free port of 127.0.0.1."""
    sink = Sink()
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/v1/traces", sink.take)
    app.router.add_post("/v1/logs", sink.ignore)
    app.router.add_post("/v1/metrics", sink.ignore)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        sink.port = runner.addresses[0][1]
        yield sink
    finally:
        await runner.cleanup()


def _values(attributes: Iterable[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind) if kind else None
    return values

"""OTLP over gRPC on the same event loop; messages stay bytes until the decoder's thread."""

from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as ProtoAny  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from collector.access import STRANGER, TOKEN, Access
from collector.decode import BadBody
from collector.gunzip import TooLarge
from collector.intake import Busy, Export, Intake, Signal
from collector.meters import Meters
from collector.otlp_http import LATER, SMALLER, WHOLE, response

_SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.TRACES,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
STREAMS_MAX: Final = 256


class _Service:
    """The one method of one of OTLP's three services."""

    def __init__(self, signal: Signal, intake: Intake, access: Access, meters: Meters) -> None:
        self._signal = signal
        self._intake = intake
        self._access = access
        self._meters = meters

    async def export(self, body: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        if not self._access.allows(str(metadata.get("authorization", "")).encode()):
            told = f"{STRANGER}; {TOKEN}"
            await self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, told)
        try:
            accepted = await self._intake.take(Export(signal=self._signal, body=body))
        except Busy as error:
            told = f"{error}; {LATER}"
            context.set_trailing_metadata((("grpc-status-details-bin", _retry(told)),))
            await self._refuse(context, grpc.StatusCode.UNAVAILABLE, told)
        except TooLarge as error:
            await self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, f"{error}; {SMALLER}")
        except BadBody as error:
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"{error}; {WHOLE}")
        else:
            self._meters.requests.labels(self._signal.value, "grpc", "OK").inc()
            return response(self._signal, accepted, json=False)
        raise AssertionError("abort always raises")

    async def _refuse(self, context: Any, code: grpc.StatusCode, message: str) -> None:
        self._meters.requests.labels(self._signal.value, "grpc", code.name).inc()
        await context.abort(code, message)


def _retry(message: str) -> bytes:
    """Return the status details that tell a sender to come back in a second."""
    detail = ProtoAny()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=1)))
    status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message=message, details=[detail])
    return bytes(status.SerializeToString())


def grpc_server(
    intake: Intake, *, access: Access, meters: Meters, body_bytes_max: int
) -> grpc.aio.Server:
    """Return a server of the three services, not yet bound to an address."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", body_bytes_max),
            ("grpc.max_concurrent_streams", STREAMS_MAX),
            ("grpc.so_reuseport", 0),
        ]
    )
    for name, signal in _SERVICES.items():
        service = _Service(signal, intake, access, meters)
        method = grpc.unary_unary_rpc_method_handler(service.export)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"Export": method}),)
        )
    return server

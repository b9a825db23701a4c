import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from telemetry.clock import SystemClock
from telemetry.endpoints import Target
from telemetry.otlp import Signal
from telemetry.transport import Reply, Verdict, accepted, open_transport, retry_after
from tests.telemetry.sinks import http_sink

NOW_NS = 1_800_000_000_000_000_000  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0667", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now_ns=NOW_NS) == seconds


def test_a_partial_success_of_each_signal_is_read() -> None:
    response = logs_service_pb2.ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = 4
    response.partial_success.error_message = "too old"
    reply = accepted(Signal.LOGS, response.SerializeToString())
    assert reply == Reply(Verdict.ACCEPTED, rejected=4, message="too old")


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff" * 20])
def test_an_accepting_answer_with_an_odd_body_is_accepted(body: bytes) -> None:
    assert accepted(Signal.TRACES, body) == Reply(Verdict.ACCEPTED)


async def test_an_endpoint_that_hangs_is_tried_again_after_its_timeout() -> None:
    async with http_sink() as sink:
        sink.hold.clear()
        target = Target(
            name="sink", addresses={Signal.TRACES: f"{sink.url}/v1/traces"}, timeout_seconds=0.2
        )
        transport = open_transport(target, clock=SystemClock())
        try:
            reply = await transport.send(Signal.TRACES, b"")
        finally:
            await transport.close()
    assert reply.verdict is Verdict.RETRY
    assert "Timeout" in reply.message


class Exhausted(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Answers RESOURCE_EXHAUSTED, with or without RetryInfo."""

    def __init__(self, seconds: int | None) -> None:
        self._seconds = seconds

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: Any, context: Any) -> Any:
        if self._seconds is not None:
            info = Packed()
            delay = Duration(seconds=self._seconds)
            info.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            status = status_pb2.Status(code=8, details=[info])
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()),)
            )
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")


@pytest.mark.parametrize(("seconds", "verdict"), [(None, Verdict.REFUSED), (3, Verdict.RETRY)])
async def test_an_exhausted_grpc_endpoint_is_tried_again_only_when_it_says_when(
    seconds: int | None, verdict: Verdict
) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Exhausted(seconds),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = Target(
        name="g", protocol="grpc", addresses={Signal.TRACES: f"http://127.0.0.1:{port}"}
    )
    transport = open_transport(target, clock=SystemClock())
    try:
        async with asyncio.timeout(10):
            reply = await transport.send(Signal.TRACES, b"")
    finally:
        await transport.close()
        await server.stop(0)
    assert (reply.verdict, reply.retry_after_seconds) == (verdict, seconds)

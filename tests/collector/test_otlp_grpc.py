import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.collector.conftest import Running, Start
from tests.collector.otlp import Trace
from tests.collector.test_otlp_http import count


async def export(running: Running, trace: Trace, **metadata: str) -> ExportTraceServiceResponse:
    async with grpc.aio.insecure_channel(running.grpc) as channel:
        stub = TraceServiceStub(channel)  # type: ignore[no-untyped-call]
        found: ExportTraceServiceResponse = await stub.Export(
            trace.request, metadata=tuple(metadata.items()), timeout=10,
            compression=grpc.Compression.Gzip,
        )  # fmt: skip
        return found


async def test_spans_are_stored_and_bad_ones_counted(start: Start) -> None:
    running = await start()
    trace = Trace()
    trace.call()
    trace.call(span_id=b"\0" * 8)
    found = await export(running, trace)
    assert found.partial_success.rejected_spans == 1
    assert count(running) == 1


async def test_a_wrong_token_is_unauthenticated(start: Start) -> None:
    running = await start(token="s3cret")
    trace = Trace()
    trace.call()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(running, trace, authorization="Bearer no")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await export(running, trace, authorization="Bearer s3cret")
    assert count(running) == 1


async def test_a_message_over_the_limit_is_refused_for_good(start: Start) -> None:
    running = await start(body_mb_max=1)
    trace = Trace()
    trace.call({"x": "y" * 2_000_000})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(running, trace)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_garbage_is_an_invalid_argument(start: Start) -> None:
    running = await start()
    async with grpc.aio.insecure_channel(running.grpc) as channel:
        call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_full_queue_says_unavailable_and_when_to_come_back(start: Start) -> None:
    running = await start(queue_spans=1_024)
    running.intake._hold(1_024)
    trace = Trace()
    trace.call()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(running, trace)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    retry = RetryInfo()
    Status.FromString(details).details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1
    running.intake._hold(-1_024)
    await export(running, trace)
    assert count(running) == 1
